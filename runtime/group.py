"""Group commit: calls that any thread or event loop makes at the same time share one transaction."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import psycopg

from runtime.connections import Connection

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Call = tuple[Item, asyncio.Future[Result]]
Answer = tuple[asyncio.Future[Result], Result | Exception]
LARGEST = 256  # items in one transaction


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
        run: Callable[[Connection, Sequence[Item]], Sequence[Result | Exception]],
    ) -> None:
        self._name = name
        self._connect = connect
        self._run = run
        self._waiting: SimpleQueue[Call[Item, Result] | None] = SimpleQueue()
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

    def do(self, item: Item) -> asyncio.Future[Result]:
        """Done once it is committed; fails with what `run` raises for this item alone. For callers in an event loop."""
        if self._thread is None:
            raise psycopg.InterfaceError(f"{self._name} is closed")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.put((item, future))
        return future

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
                answers = [(future, _away(error)) for _, future in (*calls, *waiting)]
                self._disconnect()
                log.warning("%s: %d calls failed: %s", self._name, len(answers), error)
            _answer(answers)
        self._disconnect()

    def _take(self, most: int | None, wait: bool = True) -> tuple[list[Call[Item, Result]], bool]:
        """All that waits, at most `most`; and whether there will be more."""
        calls: list[Call[Item, Result]] = []
        try:
            while most is None or len(calls) < most:
                call = self._waiting.get(block=wait and not calls)
                if call is None:
                    return calls, False
                calls.append(call)
        except Empty:
            pass
        return calls, True

    def _answers(self, calls: Sequence[Call[Item, Result]]) -> list[Answer[Result]]:
        """Halves a group that is refused until what is refused stands alone. Raises when the connection is gone."""
        connection = self._connected()
        try:
            results = self._run(connection, [item for item, _ in calls])
            return [(future, result) for (_, future), result in zip(calls, results, strict=True)]
        except Exception as error:
            if connection.closed or connection.broken:
                raise
            connection.rollback()
            if len(calls) == 1:
                return [(calls[0][1], error)]
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


def _answer(answers: Sequence[Answer[Any]]) -> None:
    """One wake-up for each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Answer[Any]]] = {}
    for future, answer in answers:
        loops.setdefault(future.get_loop(), []).append((future, answer))
    for loop, its in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, its)
        except RuntimeError:  # the loop has been closed: nobody waits there any more
            continue


def _resolve(answers: Sequence[Answer[Any]]) -> None:
    for future, answer in answers:
        if future.done():  # cancelled
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
