"""What Postgres, the truth, knows of given runs: the status of their tickets and what they did."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

ENDED = {"completed", "failed", "cancelled", "paused"}  # paused: ended until a person decides

_CALLS = """
SELECT (SELECT count(*) FROM jsonb_array_elements(coalesce(run_data -> 'messages', '[]')) AS message
        WHERE message ->> 'role' = 'assistant' AND NOT coalesce((message ->> 'from_history')::boolean, false)),
       (SELECT coalesce(jsonb_agg(jsonb_build_array(tool -> 'tool_name', tool -> 'tool_call_error')), '[]')
        FROM jsonb_array_elements(coalesce(run_data -> 'tools', '[]')) AS tool)
FROM agno.agno_runs
WHERE run_id = ANY(%s)
"""


@dataclass
class Calls:
    runs: int = 0
    model_calls: int = 0
    tool_calls: Counter[str] = field(default_factory=Counter)
    tool_errors: int = 0


class Runs:
    """A connection that is opened when needed and again when it broke."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._connection: psycopg.Connection[Any] | None = None

    def statuses(self, run_ids: Sequence[str]) -> Counter[str]:
        """Status -> number of tickets. Raises psycopg.Error while Postgres cannot be asked."""
        rows = self._fetch("SELECT status, count(*) FROM public.tickets WHERE id = ANY(%s) GROUP BY 1", run_ids)
        return Counter(dict(rows))

    def calls(self, run_ids: Sequence[str]) -> Calls:
        """What the runs did, as their last attempt stored it. Raises psycopg.Error."""
        total = Calls()
        for model_calls, tools in self._fetch(_CALLS, run_ids):
            total.runs += 1
            total.model_calls += model_calls
            total.tool_calls.update(name for name, _ in tools)
            total.tool_errors += sum(failed is True for _, failed in tools)
        return total

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch(self, query: str, run_ids: Sequence[str]) -> list[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
        try:
            return self._connection.execute(query.encode(), [list(run_ids)]).fetchall()
        except psycopg.OperationalError:
            self.close()
            raise
