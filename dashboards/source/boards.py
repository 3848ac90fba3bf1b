"""A dashboard: its variables, its panels in their order, and the annotations that every one has."""

import json
from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
)

from dashboards.source import sql
from dashboards.source.panels import SOURCE, Panel
from dashboards.source.query import target

TAG = "agents"
# Where the links to other programs go. The dashboard page puts its own addresses in their place.
PHOENIX_URL = "http://127.0.0.1:6006"
RUNTIME_URL = "http://127.0.0.1:7777"

Variable = Builder[VariableModel]


def board(
    uid: str,
    title: str,
    description: str,
    panels: Sequence[Panel],
    *,
    variables: Sequence[Variable] = (),
    since: str = "now-1h",
    refresh: str = "30s",
) -> Dashboard:
    """`since` and `refresh` are what the dashboard is opened with."""
    built = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            builders.DashboardLink("Dashboards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    for variable in (*variables, constant("phoenix_url", PHOENIX_URL), constant("runtime_url", RUNTIME_URL)):
        built.with_variable(variable)
    for number, panel in enumerate(panels, start=1):
        if not isinstance(panel, builders.Row):
            built.with_panel(panel.id(number))
        else:
            built.with_row(panel.id(number))
    dashboard = built.build()
    assert dashboard.annotations is not None
    dashboard.annotations.list_val = [GRAFANAS_OWN.build(), Reloads()]
    return dashboard


def text(dashboard: Dashboard) -> str:
    """As it is committed."""
    return json.dumps(dashboard, cls=JSONEncoder, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def one(name: str, label: str, values: str) -> builders.QueryVariable:
    """One of what the query answers; the first, when nothing was chosen."""
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(_asked(values))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(False)
        .include_all(False)
    )


def chosen(name: str, label: str, values: str) -> builders.QueryVariable:
    """Some of what the query answers, or all of it."""
    every = VariableOption(text="All", value="$__all", selected=True)
    return one(name, label, values).multi(True).include_all(True).current(every)


def constant(name: str, value: str) -> builders.ConstantVariable:
    return builders.ConstantVariable(name).value(value)


def typed(name: str, label: str) -> builders.TextBoxVariable:
    return builders.TextBoxVariable(name).label(label).default_value("").hide(VariableHide.DONT_HIDE)


def _asked(query: str) -> dict[str, object]:
    """A variable names its datasource beside its query."""
    return {key: value for key, value in target(query.strip()).items() if key != "datasource"}


AGENT = chosen("agent", "Agent", sql.AGENTS)
ONE_AGENT = one("agent", "Agent", sql.AGENTS)
KIND = chosen("kind", "Kind", sql.names(sql.RUNS))
MODEL = chosen("model", "Model", sql.names(sql.CALLS))
TOOL = chosen("tool", "Tool", sql.names(sql.TOOLS))
ENVIRONMENT = chosen("environment", "Environment", sql.ENVIRONMENTS)
INTERVAL = (
    builders.CustomVariable("interval")
    .label("Interval")
    .values("auto : 0, 1 min : 60, 5 min : 300, 1 h : 3600, 1 day : 86400")
    .current(VariableOption(text="auto", value="0", selected=True))
    .options(
        [
            VariableOption(text=name, value=value, selected=value == "0")
            for name, value in (("auto", "0"), ("1 min", "60"), ("5 min", "300"), ("1 h", "3600"), ("1 day", "86400"))
        ]
    )
)


GRAFANAS_OWN = (
    builders.AnnotationQuery()
    .name("Alerts and annotations")
    .datasource(DataSourceRef(type_val="grafana", uid="-- Grafana --"))
    .built_in(1)
    .enable(True)
    .hide(True)
    .icon_color("rgba(0, 211, 255, 1)")
    .type("dashboard")
)


class Reloads(AnnotationQuery):
    """Whenever the agents were read anew. (The SDK's annotations know no query of a plugin.)"""

    def __init__(self) -> None:
        super().__init__(name="Reloads", datasource=SOURCE, enable=True, icon_color="blue")

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "target": target(sql.RELOADS.strip())}
