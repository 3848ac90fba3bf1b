"""The events of streaming runs, on their way from the lanes to those who watch them over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from agno.os.event_streams.in_memory import InMemoryEventStream
from agno.run.base import RunStatus

_WATCH_SECONDS = 2.0
_ENDED = {
    "completed": RunStatus.completed,
    "failed": RunStatus.error,
    "cancelled": RunStatus.cancelled,
    "paused": RunStatus.paused,
}
_HOPPING = (
    "register_run",
    "set_run_status",
    "get_run_status",
    "complete_run",
    "reopen_run",
    "begin_attempt",
    "cleanup_run",
    "reset_run_events",
    "add_event",
    "replay",
    "get_last_index",
    "get_event_count",
)
FindTicket = Callable[[str], Awaitable[dict[str, Any] | None]]


class Events(InMemoryEventStream):
    """agno's stream in memory, all of it on the server's loop: what a lane publishes is put there.

    Events stay in the process that executes the run. Whoever watches a run that another process executes sees no
    events, and the end of the stream when its ticket has ended (`find_ticket`).
    """

    def __init__(self, find_ticket: FindTicket) -> None:
        """On the server's loop."""
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._find_ticket = find_ticket

    async def tail(self, run_id: str, last_event_index: int | None = None) -> AsyncIterator[tuple[int, str]]:
        watching = asyncio.create_task(self._watch(run_id))
        try:
            async for event in super().tail(run_id, last_event_index):
                yield event
        finally:
            watching.cancel()

    async def _watch(self, run_id: str) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            with suppress(Exception):  # Postgres is away: look again
                ticket = await self._find_ticket(run_id)
                if ticket is not None and ticket["status"] in _ENDED:
                    await self.complete_run(run_id, _ENDED[ticket["status"]])


def _hopping(name: str) -> Callable[..., Awaitable[Any]]:
    original: Callable[..., Any] = getattr(InMemoryEventStream, name)

    async def method(self: Events, *args: Any, **kwargs: Any) -> Any:
        call = original(self, *args, **kwargs)
        if asyncio.get_running_loop() is self._loop:
            return await call
        try:
            there = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:  # the server has ended
            call.close()
            raise
        return await asyncio.wrap_future(there)

    return method


for _name in _HOPPING:
    setattr(Events, _name, _hopping(_name))
