"""The types that Grafana reads provisioning files into, as far as we use them; Grafana's do not refuse unknown keys.

After Grafana 11.6, pkg/services/provisioning (datasources/types.go, dashboards/types.go, alerting/*_types.go). Settings
of receivers are those of grafana/alerting, receivers/*/config.go, and jsonData is the plugins'.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Env = Annotated[str, Field(pattern=r"^\$(\w+|\{\w+\})$")]
Whole = int | Env
Duration = Annotated[str, Field(pattern=r"^(\d+(d|h|m|s|ms))+$")]
Uid = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,40}$")]
VARIABLE = re.compile(r"(?<!\$)\$(?:\{(\w+)\}|([A-Za-z]\w*))")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LogColumns(Strict):
    defaultDatabase: str
    defaultTable: str
    otelEnabled: bool
    otelVersion: Literal["latest", "1.30.0", "1.29.0"]
    filterTimeColumn: str = ""
    timeColumn: str = ""
    levelColumn: str = ""
    messageColumn: str = ""
    selectContextColumns: bool = False
    contextColumns: list[str] = []
    showLogLinks: bool = False


class TraceColumns(Strict):
    defaultDatabase: str
    defaultTable: str
    otelEnabled: bool
    otelVersion: Literal["latest", "1.30.0", "1.29.0"]
    traceIdColumn: str
    spanIdColumn: str
    operationNameColumn: str
    parentSpanIdColumn: str
    serviceNameColumn: str
    durationColumn: str
    durationUnit: Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]
    startTimeColumn: str
    tagsColumn: str
    serviceTagsColumn: str
    kindColumn: str = ""
    statusCodeColumn: str = ""
    statusMessageColumn: str = ""
    stateColumn: str = ""
    instrumentationLibraryNameColumn: str = ""
    instrumentationLibraryVersionColumn: str = ""
    flattenNested: bool = False
    traceEventsColumnPrefix: str = ""
    traceLinksColumnPrefix: str = ""
    showTraceLinks: bool = False
    traceTimestampTableSuffix: str = ""


class ClickHouseJson(Strict):
    """src/types/config.ts of the plugin, 4.20."""

    host: str
    port: Whole
    protocol: Literal["native", "http"]
    secure: bool = False
    username: str
    defaultDatabase: str
    defaultTable: str = ""
    dialTimeout: str = "10"
    queryTimeout: str = "60"
    validateSql: bool = False
    enableRowLimit: bool = False
    logs: LogColumns
    traces: TraceColumns


class PostgresJson(Strict):
    database: str
    sslmode: Literal["disable", "require", "verify-ca", "verify-full"] | Env
    postgresVersion: int
    timescaledb: bool = False
    maxOpenConns: int = 100
    maxIdleConns: int = 100
    connMaxLifetime: int = 14400


class Exemplar(Strict):
    name: str
    datasourceUid: str = ""
    url: str = ""
    urlDisplayLabel: str = ""


class PrometheusJson(Strict):
    httpMethod: Literal["POST", "GET"]
    prometheusType: Literal["Prometheus", "Cortex", "Mimir", "Thanos"]
    exemplarTraceIdDestinations: list[Exemplar] = []


class Secure(Strict):
    password: Env


class Datasource(Strict):
    name: str
    uid: Uid
    orgId: Whole = 1
    access: Literal["proxy"]
    isDefault: bool = False
    editable: Literal[False]
    url: str = ""
    user: str = ""


class ClickHouse(Datasource):
    type: Literal["grafana-clickhouse-datasource"]
    jsonData: ClickHouseJson
    secureJsonData: Secure


class Postgres(Datasource):
    type: Literal["grafana-postgresql-datasource"]
    jsonData: PostgresJson
    secureJsonData: Secure


class Prometheus(Datasource):
    type: Literal["prometheus"]
    jsonData: PrometheusJson


class Datasources(Strict):
    apiVersion: Literal[1]
    datasources: list[Annotated[ClickHouse | Postgres | Prometheus, Field(discriminator="type")]]


class ProviderOptions(Strict):
    path: str
    foldersFromFilesStructure: bool = False


class Provider(Strict):
    name: str
    type: Literal["file"]
    orgId: Whole = 1
    folder: str
    disableDeletion: bool = False
    updateIntervalSeconds: int
    allowUiUpdates: bool
    options: ProviderOptions


class Dashboards(Strict):
    apiVersion: Literal[1]
    providers: list[Provider]


class Webhook(Strict):
    url: Annotated[str, Field(min_length=1)]
    httpMethod: Literal["POST", "PUT"] = "POST"
    authorization_scheme: str = ""
    authorization_credentials: Env | None = None
    username: str = ""
    password: Env | None = None
    maxAlerts: Whole = 0
    title: str
    message: str


class Slack(Strict):
    url: Env
    title: str
    text: str


class WebhookReceiver(Strict):
    uid: Uid
    type: Literal["webhook"]
    disableResolveMessage: bool = False
    settings: Webhook


class SlackReceiver(Strict):
    uid: Uid
    type: Literal["slack"]
    disableResolveMessage: bool = False
    settings: Slack


class ContactPoint(Strict):
    orgId: Whole
    name: str
    receivers: list[Annotated[WebhookReceiver | SlackReceiver, Field(discriminator="type")]]


class Policy(Strict):
    """The root of the tree: it matches everything, so it has no matchers."""

    orgId: Whole
    receiver: str
    group_by: Annotated[list[str], Field(min_length=1)]
    group_wait: Duration
    group_interval: Duration
    repeat_interval: Duration
    routes: list[dict[str, Any]] = []


class Template(Strict):
    orgId: Whole
    name: str
    template: Annotated[str, Field(pattern=r"\{\{ define ")]


class TimeRange(Strict):
    from_: Annotated[int, Field(alias="from")]
    to: int


class Query(Strict):
    refId: Annotated[str, Field(pattern=r"^[A-Z]\w*$")]
    queryType: str = ""
    relativeTimeRange: TimeRange | None = None
    datasourceUid: str
    model: dict[str, Any]

    @model_validator(mode="after")
    def check(self) -> "Query":
        if self.model.get("refId", self.refId) != self.refId:
            raise ValueError(f"the model's refId is {self.model['refId']!r}, not {self.refId!r}")
        if self.datasourceUid == "__expr__":
            if self.model.get("type") not in ("math", "reduce", "threshold", "resample", "classic_conditions", "sql"):
                raise ValueError(f"no expression has the type {self.model.get('type')!r}")
        elif not self.model.get("rawSql") and not self.model.get("expr"):
            raise ValueError("the model has neither rawSql nor expr")
        elif self.relativeTimeRange is None:
            raise ValueError("a query of a datasource needs a relativeTimeRange")
        return self


class Rule(Strict):
    uid: Uid
    title: Annotated[str, Field(min_length=1, max_length=190)]
    condition: str
    data: Annotated[list[Query], Field(min_length=1)]
    dashboardUid: str | None = None
    panelId: int | None = None
    noDataState: Literal["NoData", "Alerting", "OK", "KeepLast"]
    execErrState: Literal["Error", "Alerting", "OK", "KeepLast"]
    for_: Annotated[Duration, Field(alias="for")]
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    isPaused: bool = False

    @model_validator(mode="after")
    def check(self) -> "Rule":
        known = [query.refId for query in self.data]
        if len(set(known)) < len(known) or self.condition not in known:
            raise ValueError(f"the condition {self.condition!r} is not one of {known}, or one of them is there twice")
        for query in self.data:
            expression = str(query.model.get("expression", "")) if query.datasourceUid == "__expr__" else ""
            wanted = set(re.findall(r"\$\{?(\w+)", expression)) or ({expression} - {""})
            if wanted - set(known):
                raise ValueError(f"{query.refId} is made of {sorted(wanted - set(known))}, which are not there")
        if (self.dashboardUid is None) != (self.panelId is None):
            raise ValueError("dashboardUid and panelId go together")
        for name, text in self.labels.items():
            if VARIABLE.search(text):
                raise ValueError(f"the label {name} is expanded from the environment: write $$ for $")
        for name, text in self.annotations.items():
            if "${" in text:
                raise ValueError(f"the annotation {name} has ${{, which newer Grafanas expand from the environment")
        return self


class Group(Strict):
    orgId: Whole
    name: str
    folder: str
    interval: Annotated[str, Field(pattern=r"^(\d*0s|\d+m|\d+h)$")]  # the scheduler's step is 10 s
    rules: Annotated[list[Rule], Field(min_length=1)]


class Alerting(Strict):
    apiVersion: Literal[1]
    groups: list[Group] = []
    contactPoints: list[ContactPoint] = []
    policies: list[Policy] = []
    templates: list[Template] = []
