"""Panels, in the few forms that the dashboards use. A width is in the grid's 24 columns; a height in its rows of 30 px.

What queries answer: a time series is `time` and numbers (each a series), or `time`, a text that names the series and a
number; a stat is one row of numbers; bars are a name and a number; a heatmap is `time` and a number per bucket, from
the lowest bound up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import bargauge as bargauges
from grafana_foundation_sdk.builders import common as common_options
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import logs as logs_panels
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders import timeseries as time_series
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)

from dashboards.source.query import DATASOURCE, LOGS, TABLE, TIME_SERIES, TRACES, target

SOURCE = DataSourceRef(type_val=DATASOURCE["type"], uid=DATASOURCE["uid"])

# The same thing has the same colour on every dashboard.
COLOURS = {
    "completed": "green",
    "Ok": "green",
    "ok": "green",
    "accepted": "green",
    "approved": "green",
    "exported": "green",
    "miss": "green",
    "error": "red",
    "Error": "red",
    "failed": "red",
    "dropped": "orange",
    "rejected": "orange",
    "queued": "orange",
    "invalid": "yellow",
    "paused": "yellow",
    "conflict": "purple",
    "throttled": "text",
    "cancelled": "text",
    "expired": "text",
    "duplicate": "blue",
    "hit": "blue",
    "running": "blue",
    "p50": "blue",
    "p95": "orange",
    "p99": "purple",
}

Panel = Any  # a builder of the SDK: each form has its own, and they have no common type
Columns = Mapping[str, Sequence[DynamicConfigValue]]
Steps = Sequence[tuple[float | None, str]]


class Query(Dataquery):
    """A query of the ClickHouse plugin, which has no type in the SDK."""

    def __init__(self, sql: str, result: int) -> None:
        self.sql = "\n".join(line.rstrip() for line in sql.strip().splitlines())
        self.result = result

    def build(self) -> "Query":
        return self

    def to_json(self) -> dict[str, object]:
        return target(self.sql, self.result)


def unit(name: str, decimals: int | None = None) -> list[DynamicConfigValue]:
    """Of a column. Grafana's names: s, ms, bytes, short, percentunit, currencyUSD, dateTimeFromNow."""
    return [
        DynamicConfigValue("unit", name),
        *([] if decimals is None else [DynamicConfigValue("decimals", decimals)]),
    ]


def link(title: str, url: str, *, new_tab: bool = False) -> DynamicConfigValue:
    return DynamicConfigValue("links", [{"title": title, "url": url, "targetBlank": new_tab}])


def wide(pixels: int) -> DynamicConfigValue:
    return DynamicConfigValue("custom.width", pixels)


HIDDEN = DynamicConfigValue("custom.hidden", True)


def coloured(*steps: tuple[float | None, str]) -> list[DynamicConfigValue]:
    """The cell's background, by the steps that its value has reached."""
    return [
        DynamicConfigValue("custom.cellOptions", {"type": "color-background", "mode": "basic"}),
        stepped(*steps),
    ]


def stepped(*steps: tuple[float | None, str]) -> DynamicConfigValue:
    """The colour of a value, by the steps that it has reached."""
    found = [{"value": value, "color": colour} for value, colour in steps]
    return DynamicConfigValue("thresholds", {"mode": "absolute", "steps": found})


def mapped(**colours: str) -> list[DynamicConfigValue]:
    """The cell's text, in the colour of its value."""
    options = {value: {"color": colour, "index": n} for n, (value, colour) in enumerate(colours.items())}
    return [
        DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        DynamicConfigValue("mappings", [{"type": "value", "options": options}]),
    ]


STATUS = mapped(**{status: COLOURS[status] for status in ("completed", "error", "cancelled", "paused")})
ERROR_RATE = [*unit("percentunit", 1), *coloured((None, "transparent"), (0.05, "orange"), (0.2, "red"))]
TO_AGENT = link("This agent", "/d/agent?var-agent=${__value.raw}&${__url_time_range}")
# Ids are long: tables show a part, or the name of what opens, and hide the column that the link is made of.
RUN = "substring(run_id, 1, 8) AS run, run_id"
OPENS = "'Phoenix' AS phoenix, 'AgentOS' AS agentos, trace_id"
TO_RUN: Columns = {
    "run": [link("This run", "/d/run?var-run_id=${__data.fields.run_id}"), wide(90)],
    "run_id": [HIDDEN],
}
TO_TRACE: Columns = {
    "phoenix": [
        link("In Phoenix", "${phoenix_url}/redirects/traces/${__data.fields.trace_id}", new_tab=True),
        wide(80),
    ],
    "agentos": [link("In AgentOS", "${runtime_url}/api/runs/${__data.fields.run_id}", new_tab=True), wide(80)],
    "trace_id": [HIDDEN],
}


def timeseries(
    title: str,
    description: str,
    sql: str,
    *,
    unit: str,
    width: int,
    empty: str,
    height: int = 8,
    by: str | None = None,
    bars: bool = False,
    right: Mapping[str, str] | None = None,
) -> Panel:
    """`by`: the column whose text names the series. `right`: series with an axis of their own, and its unit."""
    panel = _common(time_series.Panel(), title, description, Query(sql, TIME_SERIES), width, height, empty)
    panel.unit(unit).min(0).line_width(1.5).fill_opacity(0).show_points(common.VisibilityMode.AUTO)
    panel.legend(
        common_options.VizLegendOptions()
        .show_legend(True)
        .placement(common.LegendPlacement.BOTTOM)
        .display_mode(common.LegendDisplayMode.LIST)
    )
    panel.tooltip(common_options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    if by:
        panel.display_name(f"${{__field.labels.{by}}}")
    if bars:
        panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(85).line_width(0)
        panel.stacking(common_options.StackingConfig().mode(common.StackingMode.NORMAL))
    for name, colour in COLOURS.items():
        if by in ("outcome", "status", "decision", "state") or f" AS {name}" in sql:
            panel.override_by_name(name, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})])
    for name, other in (right or {}).items():
        panel.override_by_name(
            name, [DynamicConfigValue("unit", other), DynamicConfigValue("custom.axisPlacement", "right")]
        )
    return panel


def stat(
    title: str,
    description: str,
    sql: str,
    *,
    unit: str,
    width: int,
    empty: str = "none",
    height: int = 4,
    decimals: int | None = None,
    steps: Steps = ((None, "text"),),
    units: Columns | None = None,
) -> Panel:
    panel = _common(stats.Panel(), title, description, Query(sql, TABLE), width, height, empty)
    panel.unit(unit).graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.VALUE)
    panel.reduce_options(common_options.ReduceDataOptions().values(False).calcs(["lastNotNull"]))
    panel.thresholds(_thresholds(steps)).color_scheme(builders.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    if decimals is not None:
        panel.decimals(decimals)
    for name, properties in (units or {}).items():
        panel.override_by_name(name, list(properties))
    return panel


def table(
    title: str,
    description: str,
    sql: str,
    *,
    width: int,
    empty: str,
    columns: Columns,
    height: int = 9,
) -> Panel:
    panel = _common(tables.Panel(), title, description, Query(sql, TABLE), width, height, empty)
    panel.cell_height(common.TableCellHeight.SM)
    for name, properties in columns.items():
        panel.override_by_name(name, list(properties))
    return panel


def bars(
    title: str,
    description: str,
    sql: str,
    *,
    unit: str,
    width: int,
    empty: str,
    height: int = 8,
    colour: str = "blue",
) -> Panel:
    panel = _common(bargauges.Panel(), title, description, Query(sql, TABLE), width, height, empty)
    panel.unit(unit).min(0).orientation(common.VizOrientation.HORIZONTAL)
    panel.display_mode(common.BarGaugeDisplayMode.BASIC).thresholds(_thresholds([(None, colour)]))
    return panel.reduce_options(common_options.ReduceDataOptions().values(True).calcs(["lastNotNull"]))


def heatmap(title: str, description: str, sql: str, *, width: int, empty: str, height: int = 8) -> Panel:
    panel = _common(heatmaps.Panel(), title, description, Query(sql, TIME_SERIES), width, height, empty)
    panel.calculate(False).cell_gap(1).show_value(common.VisibilityMode.NEVER).unit("short")
    panel.rows_frame(heatmaps.RowsHeatmapOptions().layout(common.HeatmapCellLayout.LE).value("runs"))
    colours = heatmaps.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    return panel.color(colours).y_axis(heatmaps.YAxisConfig().axis_placement(common.AxisPlacement.LEFT))


def waterfall(title: str, description: str, sql: str, *, width: int, empty: str, height: int) -> Panel:
    panel = builders.Panel().type("traces")  # the SDK has no builder for it
    return _common(panel, title, description, Query(sql, TRACES), width, height, empty)


def logs(title: str, description: str, sql: str, *, width: int, empty: str, height: int = 8) -> Panel:
    panel = _common(logs_panels.Panel(), title, description, Query(sql, LOGS), width, height, empty)
    return panel.show_time(True).wrap_log_message(True).enable_log_details(True)


def _common(panel: Any, title: str, description: str, query: Query, width: int, height: int, empty: str) -> Any:
    panel.title(title).description(description).span(width).height(height)
    return panel.datasource(SOURCE).with_target(query).no_value(empty)


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    return (
        builders.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )
