"""Tickets: claimed and completed, beside agno's own store and pgqueuer; accepted, deduplicated and committed.

Starts its own Postgres, with fsync on. Every ticket carries 500 bytes, and every second one belongs to a session whose
tickets run in order; but beside pgqueuer, which knows no sessions, none does (claim_complete_in_sessions says what they
cost). Needs pgqueuer: `uv sync --group bench`.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
from agno.db.postgres import PostgresDb
from agno.db.schemas.jobs import QueuedJob

from benchmarks.figures import Figure
from runtime.deliveries import Deliveries, Delivery
from runtime.migrate import migrate
from runtime.queue import Queue
from runtime.settlements import Settlement
from stack import postgres
from stack.alone import running, temporary_home

DEPTH = 20_000
FEW, MANY = 1_000, 100_000
BATCH = 100  # tickets in a claim
SENDERS = 64
ROUNDS, QUICK_ROUNDS = 7, 3
TICKETS, AGNO_TICKETS, ACCEPTS = 2_000, 20, 5_000  # in a round
TEXT = "the agent looks up a reservation and finds that the flight was cancelled " * 7
LEASE = 60

# In sessions: half of the tickets have none to wait for, a twentieth are all of one, the others of one in twenty
_FILL = """
WITH new AS (
    SELECT n, (%(first)s + n)::text AS id,
           CASE WHEN NOT %(sessions)s THEN NULL WHEN n %% 20 = 1 THEN 'busy' WHEN n %% 2 = 1 THEN 'session-' || n / 20
           END AS lane
    FROM generate_series(1, %(tickets)s) AS n
)
INSERT INTO tickets (id, component_type, component_id, session_id, payload, lane, head)
SELECT id, 'agent', 'echo', coalesce(lane, id),
       jsonb_build_object('input', %(text)s::text, 'serialize_session', lane IS NOT NULL), lane,
       lane IS NULL OR (row_number() OVER (PARTITION BY lane ORDER BY n) = 1
       AND NOT EXISTS (SELECT FROM tickets AS h WHERE h.lane = new.lane AND h.head
                       AND h.status IN ('queued', 'running', 'paused')))
FROM new ORDER BY n
"""
_FILL_AGNO = """
INSERT INTO agno.agno_jobs (id, component_type, job_type, component_id, session_id, payload, status, attempt,
                            max_attempts, available_at, created_at)
SELECT id, component_type, job_type, component_id, session_id, payload || jsonb_build_object('session_seq', seq),
       status, attempt, max_attempts, 0, extract(epoch FROM created_at)
FROM tickets
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=BATCH, help="tickets in a claim (default %(default)s)")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    gc.collect()
    gc.freeze()  # as the runtime's processes do, for all of them
    with temporary_home() as home:
        postgres.prepare(home)
        with running(home, "postgres"):
            urls = {}
            for name in ("plain", "sessions", "few", "many", "accepts"):
                postgres.create_database(home, name)
                urls[name] = home.database_url.removesuffix("agents") + name
                migrate(urls[name])
            yield from claims(urls["plain"], urls["sessions"], rounds, arguments.batch)
            yield flatness(urls["few"], urls["many"], rounds, arguments.batch)
            yield from accepts(urls["accepts"], rounds)


def claims(plain_url: str, sessions_url: str, rounds: int, batch: int) -> Iterator[Figure]:
    """Claim and complete with 20,000 queued in each store; tickets a second."""
    fill(plain_url, DEPTH, sessions=False)
    fill(sessions_url, DEPTH)
    agno = PostgresDb(db_url=sessions_url.replace("postgresql://", "postgresql+psycopg://"), db_schema="agno")
    agno.ensure_jobs_table()
    with psycopg.connect(sessions_url) as connection:
        connection.execute(_FILL_AGNO)
    with asyncio.Runner() as runner, closing(opened(plain_url)) as plain, closing(opened(sessions_url)) as sessions:
        pgqueuer = runner.run(make_pgqueuer(plain_url))
        runner.run(fill_pgqueuer(pgqueuer, DEPTH))
        vacuum(plain_url)
        vacuum(sessions_url)

        def rate(tickets: int, work: Callable[[int], Awaitable[None]]) -> float:
            began = time.perf_counter()
            runner.run(work(tickets))  # type: ignore[arg-type]
            return tickets / (time.perf_counter() - began)

        measured: dict[str, list[float]] = {name: [] for name in ("plain", "pgqueuer", "in sessions", "agno")}
        for number in range(rounds):
            measured["pgqueuer"].append(rate(TICKETS, lambda n: use_pgqueuer(pgqueuer, n, batch)))
            measured["plain"].append(rate(TICKETS, lambda n: use_ours(plain, n, batch)))
            measured["agno"].append(rate(AGNO_TICKETS, lambda n: use_agno(agno, n)))
            measured["in sessions"].append(rate(TICKETS, lambda n: use_ours(sessions, n, batch)))
            runner.run(fill_pgqueuer(pgqueuer, TICKETS))
            fill(plain_url, TICKETS, sessions=False)
            fill(sessions_url, TICKETS)
            progress("claim and complete", number, {name: values[-1] for name, values in measured.items()})
        runner.run(pgqueuer.driver._connection.close())
    agno.db_engine.dispose()
    rates = {name: round(statistics.median(values), 1) for name, values in measured.items()}
    for figure, ours, peer in (
        ("claim_complete_vs_agno", "in sessions", "agno"),
        ("claim_complete_vs_pgqueuer", "plain", "pgqueuer"),
        ("claim_complete_in_sessions", "in sessions", "plain"),
    ):
        yield Figure("queue", figure, rates[ours], "ticket/s", rounds, rates[peer])


def flatness(few_url: str, many_url: str, rounds: int, batch: int) -> Figure:
    """Milliseconds to claim and complete a batch with 100,000 queued, and with 1,000."""
    fill(few_url, FEW)
    fill(many_url, MANY)
    vacuum(few_url)
    vacuum(many_url)
    measured: dict[str, list[float]] = {few_url: [], many_url: []}
    with asyncio.Runner() as runner, closing(opened(few_url)) as few, closing(opened(many_url)) as many:
        for number in range(rounds * 4):
            for url, queue in ((few_url, few), (many_url, many)):
                began = time.perf_counter()
                runner.run(use_ours(queue, FEW // 4, batch))
                measured[url].append((time.perf_counter() - began) * 1000 / (FEW // 4 / batch))
                fill(url, FEW // 4)
            progress("1,000 and 100,000 queued", number, {"few": measured[few_url][-1], "many": measured[many_url][-1]})
    slow, fast = statistics.median(measured[many_url]), statistics.median(measured[few_url])
    return Figure("queue", "claim_100k_vs_1k", round(slow, 2), "ms", rounds * 4, round(fast, 2))


def accepts(url: str, rounds: int) -> Iterator[Figure]:
    """Deliveries a second from 64 senders, each of which waits for its answer; half of them within sessions."""
    rates: list[float] = []
    times: list[float] = []
    with closing(opened(url)) as queue:
        for number in range(rounds + 1):  # the first one warms up
            seconds, took = asyncio.run(send(Deliveries(queue, 7), ACCEPTS))
            if number:
                rates.append(ACCEPTS / seconds)
                times += took
            progress("accept", number, {"ours": ACCEPTS / seconds})
            with psycopg.connect(url) as connection:
                connection.execute("TRUNCATE tickets, deliveries")
    yield Figure("queue", "accepts_per_second", round(statistics.median(rates), 1), "accept/s", rounds)
    for percent in (50, 99):
        value = statistics.quantiles(times, n=100)[percent - 1] * 1000
        yield Figure("queue", f"accept_p{percent}_ms", round(value, 2), "ms", len(times))


async def send(deliveries: Deliveries, number: int) -> tuple[float, list[float]]:
    waiting = iter(range(number))
    took: list[float] = []

    async def sender() -> None:
        for n in waiting:
            run_id = str(uuid4())
            session = f"session-{n % 500}" if n % 2 else run_id
            payload = {"input": TEXT, "kwargs": {"metadata": {"order": n}}, "serialize_session": bool(n % 2)}
            job = QueuedJob(run_id, "agent", "echo", session, payload=payload, max_attempts=3).to_dict()
            delivery = Delivery("webhook", f"msg_{run_id}", "0" * 64, "echo", run_id, session, "1" * 32)
            began = time.perf_counter()
            accepted = await deliveries.accept(delivery, job)
            took.append(time.perf_counter() - began)
            assert accepted.new

    began = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    return time.perf_counter() - began, took


async def use_ours(queue: Queue, tickets: int, batch: int) -> None:
    done = 0
    while done < tickets:
        jobs = queue.claim("benchmark", min(batch, tickets - done), LEASE)
        assert jobs, "nothing can be claimed"
        settlements = [Settlement(job["id"], "completed", "benchmark", job["attempt"]) for job in jobs]
        settled = [queue.settlements.group.do(settlement) for settlement in settlements]
        assert all([await each for each in settled])
        done += len(jobs)


async def use_agno(agno: PostgresDb, tickets: int) -> None:
    for _ in range(tickets):
        job = agno.claim_job("benchmark", LEASE)
        assert job is not None
        assert agno.complete_job(job["id"], "benchmark", job["attempt"], "completed")


async def use_pgqueuer(queries: Any, tickets: int, batch: int) -> None:
    """What its queue manager does: dequeue a batch, log a batch."""
    from pgqueuer.ports.repository import EntrypointExecutionParameter

    entrypoints = {"echo": EntrypointExecutionParameter(0)}
    manager = uuid4()
    done = 0
    while done < tickets:
        jobs = await queries.dequeue(min(batch, tickets - done), entrypoints, manager, None, timedelta(seconds=LEASE))
        assert jobs
        await queries.log_jobs([(job, "successful", None) for job in jobs])
        done += len(jobs)


async def make_pgqueuer(url: str) -> Any:
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))
    await queries.install()
    return queries


async def fill_pgqueuer(queries: Any, tickets: int) -> None:
    await queries.enqueue(["echo"] * tickets, [TEXT.encode()] * tickets, [0] * tickets)


def opened(url: str) -> Queue:
    queue = Queue(url, max_depth=2 * MANY)
    queue.open()
    return queue


def fill(url: str, tickets: int, sessions: bool = True) -> None:
    with psycopg.connect(url) as connection:
        (first,) = connection.execute("SELECT coalesce(max(seq), 0) FROM tickets").fetchone() or (0,)
        values = {"first": first, "tickets": tickets, "text": TEXT, "sessions": sessions}
        connection.execute(_FILL, values)


def vacuum(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def progress(what: str, number: int, values: dict[str, float]) -> None:
    text = ", ".join(f"{name} {value:,.1f}" for name, value in values.items())
    print(f"{what}, round {number + 1}: {text}", file=sys.stderr)
