"""The two kinds of process: one that serves and one that only works. Both end within a known time after SIGTERM."""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from socket import socket

import uvicorn
from fastapi import FastAPI

from runtime.protocol import Bounded, bounded
from runtime.settings import Settings
from runtime.worker import UNWIND_SECONDS

FLUSH_SECONDS = 10.0  # telemetry, when all else has ended
_MARGIN_SECONDS = 5.0
_MESSAGE_BYTES = 1_048_576  # of a WebSocket
_DESCRIPTORS = 65_536
log = logging.getLogger(__name__)


def serve(app: FastAPI, settings: Settings) -> None:
    """Until SIGTERM or SIGINT. The exit code is 0 then, and 3 when it could not start."""

    def refused(reason: str) -> None:
        app.state.context.telemetry.instruments.request_refused(reason)

    config = uvicorn.Config(
        app,
        host=settings.runtime_host,
        port=settings.runtime_port,
        http=bounded(settings.max_connections, refused),
        ws_max_size=_MESSAGE_BYTES,
        access_log=False,
        log_config=None,
        server_header=False,
    )
    server = _Server(config, settings.drain_seconds)
    _prepare()
    with suppress(KeyboardInterrupt, SystemExit):
        server.run()
    _end(0 if server.started else 3)


def work(app: FastAPI, settings: Settings) -> None:
    """The lifespan of `app` without a server, until SIGTERM or SIGINT."""
    _prepare()
    asyncio.run(_work(app, settings.drain_seconds))
    _end(0)


def _prepare() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # often 1024 to begin with, which is for select()
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again when it is done
    # How long a thread may compute before another gets its turn. With Python's 5 ms and 8 runs that compute, the
    # server's thread waits 40 ms each time that it has waited for anything: p99 of /health 270 ms, with 0.5 ms 80 ms.
    sys.setswitchinterval(0.0005)
    # What is there when work begins stays; to look through it for garbage would stop everything for a tenth of a second
    gc.collect()
    gc.freeze()


class _Server(uvicorn.Server):
    """Goes on answering while runs end: whoever asks for /health, or for a run, learns that it is still there."""

    def __init__(self, config: uvicorn.Config, drain_seconds: int) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, Bounded):  # else it has become a WebSocket
                    connection.expire(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        began = time.monotonic()
        _end_within(self._drain_seconds + UNWIND_SECONDS + FLUSH_SECONDS + _MARGIN_SECONDS)
        draining = asyncio.create_task(self.config.app.state.queue_worker.stop())  # type: ignore[union-attr]
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=0.1)
        # What is left of the time is for requests
        self.config.timeout_graceful_shutdown = max(1, int(self._drain_seconds - (time.monotonic() - began)))
        await super().shutdown(sockets)


async def _work(app: FastAPI, drain_seconds: int) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, over.set)
    async with app.router.lifespan_context(app):
        log.info("executing runs")
        await over.wait()
        log.info("Shutting down")
        _end_within(drain_seconds + UNWIND_SECONDS + FLUSH_SECONDS + _MARGIN_SECONDS)


def _end_within(seconds: float) -> None:
    """When something hangs that should end."""

    def end() -> None:
        time.sleep(seconds)
        log.error("not ended after %d s", seconds)
        _end(1)

    threading.Thread(target=end, name="end", daemon=True).start()


def _end(code: int) -> None:
    """At once. A tool's thread that never returns does not keep the process, and Python's own way to end, which stops
    threads wherever they are, aborts the process when one is within C++ code."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
