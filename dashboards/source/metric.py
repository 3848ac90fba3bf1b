"""An instrument in a query. Names are looked up, so that one that is gone ends generation."""

from dataclasses import dataclass
from types import MappingProxyType

from telemetry.catalogue import BY_NAME

_TABLES = MappingProxyType(
    {
        "counter": "otel_metrics_sum",
        "up_down_counter": "otel_metrics_sum",
        "observable_gauge": "otel_metrics_gauge",
        "histogram": "otel_metrics_histogram",
    }
)


@dataclass(frozen=True)
class Metric:
    """An instrument of the catalogue. Raises KeyError for a name, an attribute or a value that it does not have."""

    name: str

    def __post_init__(self) -> None:
        BY_NAME[self.name]

    @property
    def table(self) -> str:
        """Where its points are."""
        return _TABLES[BY_NAME[self.name].kind]

    def attribute(self, key: str) -> str:
        """Its value, as SQL."""
        if key not in BY_NAME[self.name].attributes:
            raise KeyError(f"{self.name} has no attribute {key}")
        return f"Attributes['{key}']"

    def value(self, key: str, value: str) -> str:
        """One of the attribute's declared values, as SQL."""
        self.attribute(key)
        if value not in BY_NAME[self.name].values[key]:
            raise KeyError(f"{self.name}: {key} is never {value}")
        return text(value)

    def points(self, seconds: float, where: str = "") -> str:
        """FROM and WHERE: the points of the last `seconds`."""
        return f"FROM {self.table} WHERE MetricName = {text(self.name)} AND TimeUnix >= {ago(seconds)}" + where


def text(value: str) -> str:
    """As a literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def ago(seconds: float) -> str:
    return f"now() - INTERVAL {seconds:.0f} SECOND"
