"""`python -m benchmarks.served VARIANT PORT DB ...`: an AgentOS with sessions in Postgres, and a probe of its loop.

Not the runtime, since the others cannot be put into it: an app that is the same for all but for what instruments it.
FastAPI's own spans are off, and the interpreter is set, as the runtime does both. DB is "sync", as the runtime's, whose
queries hold the event loop, or "async".
"""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from agno.db.postgres import AsyncPostgresDb, PostgresDb
from agno.os import AgentOS
from fastapi import FastAPI

from benchmarks.instrumentations import VARIANTS, Where
from benchmarks.instrumented import make_agent

PROBE_SECONDS = 0.002


class Probe:
    """A task that sleeps and sees how late it wakes: so long was the loop held by something else."""

    def __init__(self) -> None:
        self.latest = 0.0

    async def watch(self) -> None:
        while True:
            due = time.perf_counter() + PROBE_SECONDS
            await asyncio.sleep(PROBE_SECONDS)
            self.latest = max(self.latest, time.perf_counter() - due)


def main() -> None:
    name, port, kind, *where = sys.argv[1:]
    variant = VARIANTS["nothing" if name == "agno_tracing" else name]
    flush = variant.install(variant.prepare(Where(*where)))
    url = where[2].replace("postgresql://", "postgresql+psycopg://")
    db = (AsyncPostgresDb if kind == "async" else PostgresDb)(db_url=url, db_schema="agno")
    probe = Probe()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(probe.watch())
        yield
        watching.cancel()

    quiet = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
    base = FastAPI(telemetry=quiet, lifespan=lifespan)

    @base.get("/begin")
    async def begin() -> None:
        probe.latest = 0.0

    @base.get("/end")
    async def end() -> float:
        """The longest time by which the loop was late since `/begin`, in seconds; when all is flushed."""
        latest = probe.latest
        await asyncio.to_thread(flush)
        return latest

    agent_os = AgentOS(
        agents=[make_agent(db=db)], db=db, base_app=base, tracing=name == "agno_tracing", telemetry=False
    )
    app = agent_os.get_app()
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, log_config=None)


if __name__ == "__main__":
    main()
