"""Cancelling a run, wherever it is executed: on a lane of this process, or in another process."""

import asyncio
import logging

import psycopg
from agno.run.cancellation_management.in_memory_cancellation_manager import InMemoryRunCancellationManager

from runtime.connections import CONNECT

CHANNEL = "cancellations"  # the payload is a run id
log = logging.getLogger(__name__)


class Cancellations(InMemoryRunCancellationManager):
    """agno's manager for several loops and processes. A run sees that it is cancelled between its calls.

    agno's own guards its dictionary with an asyncio lock, which holds for one loop only; the lock of threads holds for
    all. A cancellation of a run that is not executed here is told to the other processes.
    """

    def __init__(self, database_url: str) -> None:
        super().__init__()
        self._database_url = database_url

    async def acancel_run(self, run_id: str) -> bool:
        known = self.cancel_run(run_id)
        if not known:
            await asyncio.to_thread(self._tell, run_id)
        return known

    async def aregister_run(self, run_id: str) -> None:
        self.register_run(run_id)

    async def ais_cancelled(self, run_id: str) -> bool:
        return self.is_cancelled(run_id)

    async def acleanup_run(self, run_id: str) -> None:
        self.cleanup_run(run_id)

    async def araise_if_cancelled(self, run_id: str) -> None:
        self.raise_if_cancelled(run_id)

    async def aget_active_runs(self) -> dict[str, bool]:
        return self.get_active_runs()

    async def aregister_member_run(self, team_run_id: str, member_run_id: str) -> None:
        self.register_member_run(team_run_id, member_run_id)

    async def aget_member_run_ids(self, team_run_id: str) -> set[str]:
        return self.get_member_run_ids(team_run_id)

    async def acleanup_member_runs(self, team_run_id: str) -> None:
        self.cleanup_member_runs(team_run_id)

    def _tell(self, run_id: str) -> None:
        try:
            with psycopg.connect(self._database_url, autocommit=True, **CONNECT) as connection:
                connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, run_id))
        except psycopg.Error as error:
            log.warning("other processes were not told to cancel run %s: %s", run_id, type(error).__name__)
