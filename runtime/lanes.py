"""Lanes: daemon threads with an event loop each, on which one run at a time is executed, far from the server's loop."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from typing import Any, ParamSpec, TypeVar

from runtime import clients

P = ParamSpec("P")
T = TypeVar("T")
Execution = Callable[[], Coroutine[Any, Any, Any]]
log = logging.getLogger(__name__)
_here = threading.local()


def is_lane() -> bool:
    """Whether the calling thread executes a run, so that nobody but the run waits when it blocks."""
    return getattr(_here, "is_lane", False)


class Lane:
    """`run` executes a coroutine on the lane's loop; `cancel` cancels it. A lane whose code never returns is left
    behind: its thread does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(Threads(name))
        self._task: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    def run(self, execution: Execution, ended: Callable[[BaseException | None], None]) -> None:
        """From any thread. `ended` is called on the lane with what the execution raised (None: nothing)."""
        # A context of its own: no run inherits what an earlier one or the caller had set.
        self._loop.call_soon_threadsafe(self._begin, execution, ended, context=Context())

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self, seconds: float) -> bool:
        """Whether the thread has ended within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _begin(self, execution: Execution, ended: Callable[[BaseException | None], None]) -> None:
        def done(task: asyncio.Task[Any]) -> None:
            self._task = None
            ended(asyncio.CancelledError() if task.cancelled() else task.exception())

        self._task = self._loop.create_task(execution())
        self._task.add_done_callback(done)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _live(self) -> None:
        _here.is_lane = True
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._tidy())
        finally:
            self._loop.close()

    async def _tidy(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await clients.close_of_this_loop()
        await self._loop.shutdown_asyncgens()


class Threads(ThreadPoolExecutor):
    """What asyncio.to_thread uses. Its threads are daemons, unlike the standard executor's, which are waited for when
    the process ends: one tool that never returns would keep it alive for ever. A thread is added when none is idle."""

    def __init__(self, name: str) -> None:
        super().__init__(1)  # asyncio insists on the class; nothing of its own is used
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = 0
        self._changing = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        with self._changing:
            self._idle -= 1
            missing = self._idle < 0
            if missing:
                self._idle += 1
        self._calls.put(call)
        if missing:
            threading.Thread(target=self._work, name=f"{self._name}-call", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits for nobody."""

    def _work(self) -> None:
        _here.is_lane = True
        while True:
            self._calls.get()()
            with self._changing:
                self._idle += 1
