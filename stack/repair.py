"""`stack verify --repair`: spans that ClickHouse lacks are sent to it again, out of Postgres."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console

from stack.errors import StackError
from stack.evidence import MARGIN, StoreDown, Stores
from telemetry.reconcile import Reconciler

DELAY = timedelta(seconds=5)  # what is younger is still on its way
PATIENCE = 60.0  # seconds for a comparison of the runtime's to end


@dataclass(frozen=True)
class Repair:
    """Spans that ClickHouse lacked, were sent again, that it still lacks, and that only it has."""

    missing: int
    replayed: int
    left: int
    surplus: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self, console: Console) -> None:
        said = [f"ClickHouse lacked {_spans(self.missing)} that Postgres has; {self.replayed} sent again."]
        if self.left:
            said.append(f"It did not take {_spans(self.left)}: its log, and the runtime's, say why.")
        if self.surplus:
            said.append(f"Only ClickHouse has {_spans(self.surplus)}; that is told, not repaired.")
        console.print(" ".join(said), style="bold", highlight=False, soft_wrap=True)


def repair(stores: Stores, since: datetime, patience: float = PATIENCE) -> Repair:
    """Compares what began at `since` or later. Raises StoreDown, or StackError while the runtime does the same."""
    reconciler = Reconciler(stores.database_url, stores.clickhouse_url, stores.service)
    try:
        found = reconciler.repair(since - MARGIN, DELAY, patience)
    except psycopg.Error as error:
        raise StoreDown(f"Postgres cannot be read: {str(error).splitlines()[0]}") from error
    except ClickHouseError as error:
        raise StoreDown(f"ClickHouse cannot be repaired: {str(error).splitlines()[0][:300]}") from error
    if found is None:
        raise StackError("the runtime is comparing the same stores now", "try again, or let it repair them")
    return Repair(found.missing, found.replayed, found.left, found.surplus)


def _spans(number: int) -> str:
    return f"{number} span{'s' if number != 1 else ''}"
