"""Makes dashboards/machine.json, the Grafana page of one machine: python configs/grafana/make_dashboard.py"""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import GraphDrawStyle, VisibilityMode
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    VariableHide,
    VariableRefresh,
    VariableSort,
)

FILE = Path(__file__).parent / "dashboards" / "machine.json"
SOURCE = DataSourceRef(type_val="influxdb", uid="forewarn")
PLACE = " AND ".join(f'"{part}" =~ /^${{{part}:regex}}$/' for part in ("site", "area", "line", "machine"))


class InfluxQuery(Builder[Dataquery], Dataquery):
    """One InfluxQL query as Grafana's InfluxDB data source keeps it."""

    def __init__(self, name: str, query: str, alias: str) -> None:
        self._fields = {
            "refId": name,
            "datasource": {"type": "influxdb", "uid": "forewarn"},
            "rawQuery": True,
            "resultFormat": "time_series",
            "query": f"{query} AND $timeFilter GROUP BY time($__interval) fill(null)",
            "alias": alias,
        }

    def build(self) -> Dataquery:
        """Return itself: it is what it builds."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the fields that Grafana reads."""
        return self._fields


def choose_part(name: str, above: str) -> dashboard.QueryVariable:
    """Return the drop-down of one part of a machine's path, narrowed by the parts above it."""
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(f'SHOW TAG VALUES FROM "telemetry" WITH KEY = "{name}"{above}')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def make_panel(title: str, description: str) -> timeseries.Panel:
    """Return an empty chart in the house's manner: thin lines, gaps stay gaps."""
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
        .span_nulls(False)
    )


def make_dashboard() -> dashboard.Dashboard:
    """Return the page: the score against its limit, every tag against what the model expects, who strays."""
    page = (
        dashboard.Dashboard("Machine")
        .uid("forewarn-machine")
        .tags(["forewarn"])
        .refresh("5s")
        .time("now-15m", "now")
        .tooltip(1)
    )
    above: list[str] = []
    for part in ("site", "area", "line", "machine"):
        page = page.with_variable(choose_part(part, " WHERE " + " AND ".join(above) if above else ""))
        above.append(f'"{part}" =~ /^${{{part}:regex}}$/')
    page = page.with_variable(
        dashboard.QueryVariable("tag")
        .label("Tag")
        .datasource(SOURCE)
        .query('SHOW FIELD KEYS FROM "telemetry"')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .hide(VariableHide.DONT_HIDE)
    )
    score = make_panel("Score and limit", "Higher is stranger; above the limit it counts.").height(8).span(24)
    score = score.with_target(InfluxQuery("A", f'SELECT max("score") FROM "score" WHERE {PLACE}', "score"))
    score = score.with_target(InfluxQuery("B", f'SELECT max("limit") FROM "score" WHERE {PLACE}', "limit"))
    tags = make_panel("$tag", "What the machine says, and what the model expects given its other tags.")
    tags = tags.height(7).span(12).repeat("tag").max_per_row(2)
    tags = tags.with_target(InfluxQuery("A", f'SELECT mean("$tag") FROM "telemetry" WHERE {PLACE}', "$tag"))
    tags = tags.with_target(
        InfluxQuery("B", f'SELECT mean("$tag") FROM "expected" WHERE {PLACE}', "expected")
    )
    strays = (
        make_panel("Contributions", "How many sigmas each tag is from its expectation.").height(8).span(24)
    )
    strays = strays.unit("sigma").with_target(
        InfluxQuery("A", f'SELECT mean(/./) FROM "contribution" WHERE {PLACE}', "$col")
    )
    return (
        page.with_panel(score)
        .with_panel(strays)
        .with_panel(make_drift_panel())
        .with_panel(make_coverage_panel())
        .with_panel(tags)
    )


def make_drift_panel() -> timeseries.Panel:
    """Return the chart of how far each tag has moved from what was learned: a point a day."""
    words = "Population stability index: below 0.1 as learned, from 0.25 on the model should learn anew."
    panel = make_panel("Drift", words).height(7).span(12)
    panel = panel.show_points(VisibilityMode.ALWAYS).span_nulls(True).interval("1h")
    return panel.with_target(InfluxQuery("A", f'SELECT last(/./) FROM "drift" WHERE {PLACE}', "$col"))


def make_coverage_panel() -> timeseries.Panel:
    """Return the chart of how many of the tags the judgement rests on."""
    words = "Share of the tags that a judgement rests on; below 60 % the machine cannot be judged."
    panel = make_panel("Tags in use", words).height(7).span(12).unit("percentunit").min(0).max(1)
    return panel.with_target(
        InfluxQuery("A", f'SELECT min("coverage") FROM "score" WHERE {PLACE}', "coverage")
    )


def render_dashboard() -> str:
    """Return the JSON that Grafana provisions."""
    return json.dumps(make_dashboard().build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(render_dashboard())
