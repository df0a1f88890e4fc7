"""Makes what is missing in an InfluxDB server: database or bucket, retention, roll-ups."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from cloud.stores import StoreNeedsMending, influxql, rollups
from cloud.stores.influx_server import InfluxServer, ServerVersion
from cloud.stores.rollups import Step

DAY_S = 86_400
DAY_NS = DAY_S * 1_000_000_000


class SetupSettings(Protocol):
    """What is to be there."""

    @property
    def org(self) -> str: ...
    @property
    def bucket(self) -> str: ...
    @property
    def retention_days(self) -> int | None: ...
    @property
    def rollups(self) -> Sequence[Step]: ...


def set_up(server: InfluxServer, settings: SetupSettings) -> list[str]:
    """Make what is missing and return what was done, a line each; raise `StoreUnavailable`."""
    version = server.find_version()
    done = [describe(server, version)]
    match version.generation:
        case 1:
            return done + _set_up_1(server, settings)
        case 2:
            return done + _set_up_2(server, settings)
        case 3:
            return done + _set_up_3(server, settings)


def describe(server: InfluxServer, version: ServerVersion) -> str:
    """Return who answers, for a person."""
    return f"{server.name} is version {version.words or 'unknown (taken for 2.x)'}"


def recompute(server: InfluxServer, settings: SetupSettings, start_ns: int, end_ns: int) -> list[str]:
    """Compute the roll-ups of the days that touch start_ns <= t < end_ns anew; return what was done."""
    version = server.find_version()
    if version.generation == 3 or not settings.rollups:
        return ["there are no roll-ups to recompute"]
    first, days = start_ns // DAY_NS, 0
    for day in range(first, max(first, (end_ns - 1) // DAY_NS) + 1):
        for step in settings.rollups:
            _recompute_day(server, settings, step, day, version)
        days += 1
    return [f"roll-ups {', '.join(settings.rollups)} computed anew for {days} days"]


def _recompute_day(
    server: InfluxServer, settings: SetupSettings, step: Step, day: int, version: ServerVersion
) -> None:
    if version.generation == 1:
        span = f"WHERE time >= {day * DAY_NS} AND time < {(day + 1) * DAY_NS} "
        server.ask(rollups.select_into(settings.bucket, step, span), "POST")
        return
    start, stop = (
        datetime.fromtimestamp(at * DAY_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (day, day + 1)
    )
    flux = rollups.write_flux(settings.bucket, step, start, stop)
    question = {"query": flux, "type": "flux"}
    server.call("POST", "/api/v2/query", {"org": settings.org}, question, decode=False)


def _set_up_1(server: InfluxServer, settings: SetupSettings) -> list[str]:
    bucket, done = settings.bucket, []
    if bucket not in _list_column(server, influxql.SHOW_DATABASES, "name"):
        server.ask(influxql.create_database(bucket), "POST")
        done.append(f"database {bucket} is made")
    done += _set_policy_1(server, bucket, "autogen", settings.retention_days)
    for step in settings.rollups:
        done += _set_policy_1(server, bucket, rollups.name_policy(step), None)
    there = _list_column(server, influxql.SHOW_CONTINUOUS_QUERIES, "name", of=bucket)
    for schedule in rollups.SCHEDULES:
        wanted, found = schedule.step in settings.rollups, schedule.name in there
        if wanted and not found:
            server.ask(rollups.create_continuous(bucket, schedule), "POST")
            done.append(
                f"continuous query {schedule.name} is made: each {schedule.every}, {schedule.over} back"
            )
        elif found and not wanted:
            server.ask(influxql.drop_continuous(bucket, schedule.name), "POST")
            done.append(f"continuous query {schedule.name} is removed")
    return done or ["all was there"]


def _set_policy_1(server: InfluxServer, bucket: str, name: str, days: int | None) -> list[str]:
    policies = server.ask(influxql.show_policies(bucket))
    durations = {
        str(row[0]): _read_hours(str(row[1])) for series in policies for row in series.values if len(row) > 1
    }
    wanted, words = (days or 0) * 24, f"{days} days" if days else "for ever"
    if durations.get(name) == wanted:
        return []
    server.ask(influxql.set_policy(bucket, name, days, exists=name in durations), "POST")
    return [f"retention policy {name} keeps values {words}"]


def _read_hours(duration: str) -> int:
    """Read InfluxDB's `720h0m0s`."""
    return int(duration.partition("h")[0]) if "h" in duration else 0


def _list_column(server: InfluxServer, query: str, column: str, of: str | None = None) -> set[str]:
    found = set()
    for series in server.ask(query):
        if (of is None or series.name == of) and column in series.columns:
            at = series.columns.index(column)
            found |= {str(row[at]) for row in series.values}
    return found


def _set_up_2(server: InfluxServer, settings: SetupSettings) -> list[str]:
    orgs = server.call("GET", "/api/v2/orgs", {"org": settings.org}).get("orgs", [])
    if not orgs:
        raise StoreNeedsMending(f"{server.name} has no organisation {settings.org}: correct store.org")
    org, bucket = str(orgs[0]["id"]), settings.bucket
    bucket_id, done = _set_bucket_2(server, org, bucket, settings.retention_days)
    done += _map_2(server, org, bucket_id, bucket, "autogen")
    for step in settings.rollups:
        policy = rollups.name_policy(step)
        rollup_id, made = _set_bucket_2(server, org, f"{bucket}/{policy}", None)
        done += made + _map_2(server, org, rollup_id, bucket, policy)
    for schedule in rollups.SCHEDULES:
        if schedule.step in settings.rollups:
            done += _set_task_2(server, org, schedule.name, rollups.write_task(bucket, schedule))
    return done or ["all was there"]


def _set_bucket_2(server: InfluxServer, org: str, name: str, days: int | None) -> tuple[str, list[str]]:
    rules = [{"type": "expire", "everySeconds": days * DAY_S}] if days else []
    found = server.call("GET", "/api/v2/buckets", {"orgID": org, "name": name}).get("buckets", [])
    words = f"keeps values {f'{days} days' if days else 'for ever'}"
    if not found:
        bucket = {"orgID": org, "name": name, "retentionRules": rules}
        made = server.call("POST", "/api/v2/buckets", body=bucket)
        return str(made["id"]), [f"bucket {name} is made: it {words}"]
    kept = {rule.get("everySeconds", 0) for rule in found[0].get("retentionRules", [])} - {0}
    if kept == ({days * DAY_S} if days else set()):
        return str(found[0]["id"]), []
    server.call("PATCH", f"/api/v2/buckets/{found[0]['id']}", body={"retentionRules": rules})
    return str(found[0]["id"]), [f"bucket {name} {words} now"]


def _map_2(server: InfluxServer, org: str, bucket_id: str, database: str, policy: str) -> list[str]:
    """See that InfluxQL finds the bucket; later versions do so by themselves."""
    found = server.call("GET", "/api/v2/dbrps", {"orgID": org, "bucketID": bucket_id}).get("content", [])
    if any(one.get("database") == database for one in found):
        return []
    names: dict[str, Any] = {"orgID": org, "bucketID": bucket_id, "database": database}
    server.call(
        "POST", "/api/v2/dbrps", body=names | {"retention_policy": policy, "default": policy == "autogen"}
    )
    return [f"InfluxQL finds {database}.{policy}"]


def _set_task_2(server: InfluxServer, org: str, name: str, flux: str) -> list[str]:
    found = server.call("GET", "/api/v2/tasks", {"orgID": org, "name": name}).get("tasks", [])
    if not found:
        server.call("POST", "/api/v2/tasks", body={"orgID": org, "flux": flux, "status": "active"})
        return [f"task {name} is made"]
    if found[0].get("flux", "").strip() == flux.strip():
        return []
    server.call("PATCH", f"/api/v2/tasks/{found[0]['id']}", body={"flux": flux})
    return [f"task {name} is brought up to date"]


def _set_up_3(server: InfluxServer, settings: SetupSettings) -> list[str]:
    path, done = "/api/v3/configure/database", []
    there = server.call("GET", path, {"format": "json"})
    if not any(settings.bucket in one.values() for one in there if isinstance(one, dict)):
        body = {"db": settings.bucket}
        if settings.retention_days:
            body["retention_period"] = f"{settings.retention_days}d"
        server.call("POST", path, body=body)
        done.append(f"database {settings.bucket} is made")
    if settings.rollups:
        done.append("no roll-ups: InfluxDB 3 has neither tasks nor continuous queries")
    return done or ["all was there"]
