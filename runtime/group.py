"""Group commit: calls that any thread or event loop makes at the same time share one transaction."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import psycopg

from runtime.connections import Connection

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
LARGEST = 256  # items in one transaction


@dataclass(slots=True, eq=False)
class _Call(Generic[Item]):
    item: Item
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop = field(init=False)

    def __post_init__(self) -> None:
        self.loop = self.future.get_loop()


class Group(Generic[Item, Result]):
    """One daemon thread with one connection.

    While a transaction is under way, what comes waits and is the next one. `run` is given a connection and the items in
    the order in which they came; it commits them in one transaction and answers a result, or an exception, for each.
    When it raises, it has committed nothing; only when the connection broke is that unknown. `connect` raises one of
    UNAVAILABLE within seconds, and then so do the calls, also those that wait.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        run: Callable[[Connection, Sequence[Item]], Sequence[Result]],
    ) -> None:
        self._name = name
        self._connect = connect
        self._run = run
        self._waiting: SimpleQueue[_Call[Item] | None] = SimpleQueue()
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()

    def close(self, seconds: float = 5) -> None:
        """What waits is still done. A call after this raises InterfaceError."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(seconds)

    async def do(self, item: Item) -> Result:
        """Answers once it is committed. Raises what `run` raises for this item alone."""
        if self._thread is None:
            raise psycopg.InterfaceError(f"{self._name} is closed")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Call(item, future))
        return await future

    def _work(self) -> None:
        go_on = True
        while go_on:
            calls, go_on = self._take(LARGEST)
            if not calls:
                continue
            try:
                answers = self._answers(calls)
            except Exception as error:  # Postgres is away: those that wait would wait as long again
                waiting, still = self._take(None, wait=False)
                go_on = go_on and still
                answers = [(call, _away(error)) for call in (*calls, *waiting)]
                self._disconnect()
                log.warning("%s: %d calls failed: %s", self._name, len(answers), error)
            _answer(answers)
        self._disconnect()

    def _take(self, most: int | None, wait: bool = True) -> tuple[list[_Call[Item]], bool]:
        """All that waits, at most `most`; and whether there will be more."""
        calls: list[_Call[Item]] = []
        try:
            while most is None or len(calls) < most:
                call = self._waiting.get(block=wait and not calls)
                if call is None:
                    return calls, False
                calls.append(call)
        except Empty:
            pass
        return calls, True

    def _answers(self, calls: Sequence[_Call[Item]]) -> list[tuple[_Call[Item], Result | Exception]]:
        """Halves a group that is refused until what is refused stands alone. Raises when the connection is gone."""
        connection = self._connected()
        try:
            return list(zip(calls, self._run(connection, [call.item for call in calls]), strict=True))
        except Exception as error:
            if connection.closed or connection.broken:
                raise
            connection.rollback()
            if len(calls) == 1:
                return [(calls[0], error)]
        middle = len(calls) // 2
        return [*self._answers(calls[:middle]), *self._answers(calls[middle:])]

    def _connected(self) -> Connection:
        if self._connection is None or not self._connection.is_alive():
            self._disconnect()
            self._connection = self._connect()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _away(error: Exception) -> psycopg.OperationalError:
    """An exception for each: one that several raise grows a traceback by each."""
    return psycopg.OperationalError(str(error) or type(error).__name__)


def _answer(answers: Sequence[tuple[_Call[Any], Any]]) -> None:
    """One wake-up for each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for call, answer in answers:
        loops.setdefault(call.loop, []).append((call.future, answer))
    for loop, its in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, its)
        except RuntimeError:  # the loop has been closed: nobody waits there any more
            continue


def _resolve(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in answers:
        if future.done():  # cancelled
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
