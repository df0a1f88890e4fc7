"""What changed settings ask of a running gateway."""

from pathlib import Path
from typing import Any

from edge.reloading import plan_reload
from edge.settings import EdgeSettings


def make(machines: dict[str, dict[str, Any]], **more: Any) -> EdgeSettings:
    """Return settings with these machines; what is not said is the same for all."""
    tag = {"name": "current", "table": "holding", "address": 0, "type": "float32"}
    plain: dict[str, Any] = {"kind": "modbus", "host": "127.0.0.1", "tags": [tag]}
    return EdgeSettings.model_validate(
        {
            "gateway": "pi-01",
            "machines": [
                {"path": f"site/area/line/{name}", **plain, **said} for name, said in machines.items()
            ],
            **more,
        }
    )


def names(paths: Any) -> list[str]:
    """Return the machines' own names."""
    return [str(path).rpartition("/")[2] for path in paths]


def test_only_what_changed_begins_anew() -> None:
    """One stays, one changes, one goes, one comes; the order in the file does not matter."""
    old = make({"stays": {}, "changes": {}, "goes": {}})
    new = make({"comes": {}, "changes": {"interval_s": 0.5}, "stays": {}})
    plan = plan_reload(old, new)
    assert names(plan.ended) == ["changes", "goes"]
    assert names(machine.path for machine in plan.begun) == ["comes", "changes"]
    assert (plan.kept, plan.restart_keys) == (1, [])


def test_a_tags_rule_is_a_change_of_its_machine() -> None:
    """The smallest change in a tag counts."""
    tag = {"name": "current", "table": "holding", "address": 0, "type": "float32", "deadband": 1}
    plan = plan_reload(make({"pump": {}, "fan": {}}), make({"pump": {"tags": [tag]}, "fan": {}}))
    assert (names(plan.ended), plan.kept) == (["pump"], 1)


def test_the_same_settings_ask_for_nothing() -> None:
    """A file that was only touched."""
    plan = plan_reload(make({"pump": {}}), make({"pump": {}}))
    assert (plan.ended, plan.begun, plan.kept, plan.restart_keys) == ([], [], 1, [])


def test_what_cannot_change_while_running_is_named() -> None:
    """Broker, outbox, name: said, and left for a restart."""
    new = make({"pump": {}}, gateway="pi-02", broker={"port": 1884}, outbox={"path": Path("other.sqlite")})
    assert plan_reload(make({"pump": {}}), new).restart_keys == ["gateway", "broker", "outbox"]
