"""agno's contract of a durable queue, asked of its two stores and of ours."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from agno.db.postgres import PostgresDb
from agno.db.schemas.jobs import QueuedJob
from agno.job_queue.config import QueueConfig
from agno.job_queue.store import InMemoryQueueStore
from agno.os.job_queue import resolve_queue_store
from agno.os.routers.job_queue.schema import QueueJobSchema

from runtime.queue import Queue
from stack.home import Home
from tests.integration.conftest import fresh_database

Job = dict[str, Any]
LEASE = 60  # seconds: nothing is stale; 0: everything is


class Now:
    """A store whose methods answer at once."""

    def __init__(self, store: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.store, name)
        return lambda *args, **kwargs: self._loop.run_until_complete(method(*args, **kwargs))


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture(scope="module")
def database(migrated_server: Home) -> Iterator[str]:
    with fresh_database(migrated_server, "migrated") as url:
        yield url


@pytest.fixture(scope="module")
def ours(database: str) -> Iterator[Queue]:
    queue = Queue(database)
    queue.open()
    yield queue
    queue.close()


@pytest.fixture(scope="module")
def agnos(database: str) -> Iterator[PostgresDb]:
    db = PostgresDb(db_url=database.replace("postgresql://", "postgresql+psycopg://"), db_schema="agno")
    db.ensure_jobs_table()
    yield db
    db.db_engine.dispose()


@pytest.fixture(params=["agno's in memory", "agno's in Postgres", "ours"])
def store(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Now:
    if request.param == "agno's in memory":
        return Now(InMemoryQueueStore(), loop)
    database = request.getfixturevalue("database")
    db = request.getfixturevalue("ours" if request.param == "ours" else "agnos")
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE tickets" if request.param == "ours" else "TRUNCATE agno.agno_jobs")
    return Now(resolve_queue_store(QueueConfig(durable=True, db=db), None), loop)


def job(name: str, session: str | None = None, at: int = 0, **more: Any) -> Job:
    """Accepted `at` seconds after the others; of a session whose tickets run in order, if one is named."""
    payload = {"input": name, **({"serialize_session": True} if session else {})}
    fields = {"component_type": "agent", "component_id": "echo", "payload": payload, **more}
    now = int(time.time()) - 1000 + at
    return QueuedJob(id=name, session_id=session or f"of-{name}", created_at=now, available_at=now, **fields).to_dict()


def enqueue(store: Now, *jobs: Job) -> None:
    for each in jobs:
        assert store.enqueue_job(each)["accepted"]


def claim(store: Now, worker: str = "w", lease: int = LEASE) -> Job:
    claimed: Job | None = store.claim_job(worker, lease)
    assert claimed is not None
    return claimed


def claimed_ids(store: Now, lease: int = LEASE) -> list[str]:
    found = []
    while (claimed := store.claim_job("w", lease)) is not None:
        found.append(claimed["id"])
    return found


def finish(store: Now, claimed: Job, status: str = "completed", error: str | None = None) -> bool:
    done: bool = store.complete_job(claimed["id"], claimed["locked_by"], claimed["attempt"], status, error)
    return done


def test_a_ticket_is_what_was_accepted(store: Now) -> None:
    sent = job("a", user_id="u", idempotency_key="k", max_attempts=3, deployment_id="d", payload={"input": {"x": [1]}})
    answer = store.enqueue_job(sent, max_depth=5)
    assert (answer["accepted"], answer["reason"], answer["job"]["id"]) == (True, None, "a")
    stored = store.get_job("a", strict=True)
    kept = ("component_type", "component_id", "session_id", "user_id", "payload", "max_attempts", "idempotency_key")
    assert {name: stored[name] for name in kept} == {name: sent[name] for name in kept}
    assert (stored["status"], stored["attempt"], stored["deployment_id"], stored["job_type"]) == (
        "queued",
        0,
        "d",
        "run",
    )
    assert all(type(stored[name]) is int for name in ("created_at", "available_at"))
    assert [stored[name] for name in ("locked_by", "locked_at", "error", "completed_at")] == [None] * 4
    assert QueueJobSchema(**stored).id == "a"
    assert store.get_job("nobody", strict=True) is None
    assert store.serializes_sessions if isinstance(store.store, Queue) else True


def test_a_key_is_accepted_once_for_each_user(store: Now) -> None:
    enqueue(store, job("a", idempotency_key="k", user_id="u"), job("b", idempotency_key="k", user_id="v"))
    enqueue(store, job("c", idempotency_key="k"), job("d", idempotency_key="other", user_id="u"))
    for user, first in (("u", "a"), ("v", "b"), (None, "c")):
        again = store.enqueue_job(job("again", idempotency_key="k", user_id=user))
        assert (again["accepted"], again["reason"], again["job"]["id"]) == (False, "duplicate", first)
    enqueue(store, job("e", idempotency_key=""), job("f", idempotency_key=""))
    assert store.get_job("f")["idempotency_key"] is None
    assert store.count_queued_jobs() == 6


def test_a_full_queue_refuses_what_is_new_and_knows_what_is_not(store: Now) -> None:
    assert store.enqueue_job(job("a", idempotency_key="k"), max_depth=2)["accepted"]
    assert store.enqueue_job(job("b", "s"), max_depth=2)["accepted"]
    assert store.enqueue_job(job("c"), max_depth=2) == {"accepted": False, "reason": "queue_full", "job": None}
    assert store.enqueue_job(job("again", idempotency_key="k"), max_depth=2)["job"]["id"] == "a"
    claim(store)
    assert store.enqueue_job(job("c"), max_depth=2)["accepted"], "a running ticket does not wait"
    assert store.enqueue_job(job("d"), max_depth=0)["accepted"], "0: no limit"


def test_an_id_is_never_used_again(store: Now) -> None:
    enqueue(store, job("a"))
    claim(store)
    with pytest.raises(Exception, match=r"exists|duplicate"):
        store.enqueue_job(job("a"))
    assert store.get_job("a")["status"] == "running"


def test_claimed_in_the_order_of_acceptance(store: Now) -> None:
    enqueue(store, job("b", at=1), job("a", at=2), job("c", at=3))
    first = claim(store, "one")
    assert (first["id"], first["status"], first["locked_by"], first["attempt"]) == ("b", "running", "one", 1)
    assert abs(first["locked_at"] - time.time()) < 5
    assert claimed_ids(store) == ["a", "c"]
    assert store.claim_job("w", LEASE) is None


def test_a_deployment_s_tickets_are_its_own(store: Now) -> None:
    blue, green = ({"deployment_id": name, "max_attempts": 2} for name in ("blue", "green"))
    enqueue(store, job("any", at=1, max_attempts=2), job("blue", at=2, **blue), job("green", at=3, **green))
    assert claimed_ids(store) == ["any"]
    assert store.claim_job("w", LEASE, "green")["id"] == "green"
    assert store.claim_job("w", LEASE, "green") is None
    assert store.claim_job("w", LEASE, "blue")["id"] == "blue"
    assert store.claim_job("w", 0)["id"] == "any", "the others' leases are stale, too, but not for everybody"
    assert store.claim_job("w", 0) is None


def test_not_before_its_time(store: Now) -> None:
    later = job("later")
    enqueue(store, {**later, "available_at": later["created_at"] + 1060}, job("now", at=1))
    assert claimed_ids(store) == ["now"]


def test_a_session_s_tickets_run_one_after_the_other(store: Now) -> None:
    enqueue(store, *(job(name, "s", at=n) for n, name in enumerate(("s1", "s2", "s3"))), job("t1", "t", at=5))
    s1, t1 = claim(store), claim(store)
    assert (s1["id"], t1["id"]) == ("s1", "t1")
    assert store.claim_job("w", LEASE) is None
    assert (store.session_blocker("s2"), store.session_blocker("s3")) == ("s1", "s1")
    assert finish(store, s1)
    assert store.session_blocker("s2") is None and store.session_blocker("s3") == "s2"
    s2 = claim(store)
    assert s2["id"] == "s2" and store.session_blocker("s2") is None, "it waits for nobody: it runs"
    assert finish(store, s2, "failed") and claim(store)["id"] == "s3"
    assert finish(store, t1, "cancelled") and store.claim_job("w", LEASE) is None


def test_unmarked_tickets_of_a_session_do_not_wait(store: Now) -> None:
    enqueue(store, *({**job(name, at=n), "session_id": "s"} for n, name in enumerate("abc")))
    assert claimed_ids(store) == ["a", "b", "c"]
    assert store.session_blocker("b") is None


def test_a_paused_ticket_holds_its_session(store: Now) -> None:
    enqueue(store, job("s1", "s", at=1), job("s2", "s", at=2))
    assert finish(store, claim(store), "paused")
    assert store.claim_job("w", 0) is None and store.session_blocker("s2") == "s1"
    assert store.continue_job("s1", {"n": 1})["outcome"] == "queued"
    again = claim(store)
    assert (again["id"], again["attempt"]) == ("s1", 2)
    assert finish(store, again) and claim(store)["id"] == "s2"


def test_a_retry_goes_before_its_session_s_next(store: Now) -> None:
    enqueue(store, job("s1", "s", at=1, max_attempts=2), job("s2", "s", at=2))
    first = claim(store)
    assert store.retry_or_fail_job("s1", "w", first["attempt"], "x", 0) == "queued"
    second = claim(store)
    assert (second["id"], second["attempt"]) == ("s1", 2)
    assert store.retry_or_fail_job("s1", "w", 2, "x", 0) == "failed"
    assert claim(store)["id"] == "s2"


def test_a_heartbeat_keeps_a_lease(store: Now) -> None:
    enqueue(store, job("a", max_attempts=3), job("b", max_attempts=3, at=1))
    claim(store, "one"), claim(store, "two")
    assert store.heartbeat_jobs("one", ["a", "b", "nobody"]) == 1
    assert store.heartbeat_jobs("one", []) == 0
    assert store.claim_job("three", LEASE) is None, "both leases hold"


def test_a_stale_lease_is_another_s_while_attempts_are_left(store: Now) -> None:
    enqueue(store, job("s1", "s", at=1, max_attempts=2), job("s2", "s", at=2))
    claim(store, "one")
    second = claim(store, "two", lease=0)
    assert (second["id"], second["locked_by"], second["attempt"]) == ("s1", "two", 2)
    assert store.claim_job("three", 0) is None, "its attempts are used up, and it holds its session"


def test_only_the_holder_of_the_attempt_settles_it(store: Now) -> None:
    enqueue(store, job("a", max_attempts=2))
    first = claim(store, "one")
    second = claim(store, "one", lease=0)
    assert not finish(store, first), "the same worker, but an earlier attempt"
    assert not finish(store, {**second, "locked_by": "two"})
    assert store.retry_or_fail_job("a", "one", first["attempt"], "late", 0) is None
    assert store.retry_or_fail_job("a", "two", second["attempt"], "foreign", 0) is None
    assert finish(store, second, "failed", "why")
    assert not finish(store, second), "once"
    stored = store.get_job("a")
    assert (stored["status"], stored["error"], stored["locked_by"], stored["locked_at"]) == (
        "failed",
        "why",
        None,
        None,
    )
    assert abs(stored["completed_at"] - time.time()) < 5


def test_a_failed_attempt_waits_until_the_last(store: Now) -> None:
    enqueue(store, job("a", max_attempts=2))
    claim(store)
    assert store.retry_or_fail_job("a", "w", 1, "first", 60) == "queued"
    waiting = store.get_job("a")
    assert (waiting["status"], waiting["error"], waiting["locked_by"], waiting["completed_at"]) == (
        "queued",
        "first",
        None,
        None,
    )
    assert 55 < waiting["available_at"] - time.time() < 65
    assert store.claim_job("w", LEASE) is None
    enqueue(store, job("b", max_attempts=1))
    claim(store)
    assert store.retry_or_fail_job("b", "w", 1, "only", 60) == "failed"
    assert store.get_job("b")["completed_at"] is not None


def test_continue_takes_a_paused_ticket_and_nothing_else(store: Now) -> None:
    assert store.continue_job("nobody", {}) == {"outcome": "conflict", "job": None}
    enqueue(store, job("a", max_attempts=1))
    assert store.continue_job("a", {"n": 0})["outcome"] == "attach"
    running = claim(store)
    assert store.continue_job("a", {"n": 0})["outcome"] == "attach"
    assert finish(store, running, "paused")
    for n in (1, 2):
        answer = store.continue_job("a", {"n": n, "kwargs": {}})
        assert answer["outcome"] == "queued"
        assert answer["job"]["payload"] == {"input": "a", "continue": {"n": n, "kwargs": {}}}, "replaced, not merged"
        assert (answer["job"]["max_attempts"], answer["job"]["completed_at"]) == (n + 1, None)
        assert type(answer["job"]["available_at"]) is int
        assert store.continue_job("a", {"n": 9})["job"]["payload"]["continue"]["n"] == n, (
            "a second click changes nothing"
        )
        assert finish(store, claim(store), "paused")
    store.continue_job("a", {})
    assert finish(store, claim(store))
    done = store.continue_job("a", {})
    assert (done["outcome"], done["job"]["status"]) == ("conflict", "completed")


def test_what_went_on_elsewhere_is_settled(store: Now) -> None:
    enqueue(store, job("s1", "s", at=1), job("s2", "s", at=2))
    assert not store.settle_paused_job("s1", "completed"), "it waits"
    running = claim(store)
    assert not store.settle_paused_job("s1", "completed"), "it runs"
    assert finish(store, running, "paused")
    assert not store.settle_paused_job("s1", "queued")
    assert store.settle_paused_job("s1", "failed", "why")
    assert (store.get_job("s1")["status"], store.get_job("s1")["error"]) == ("failed", "why")
    assert claim(store)["id"] == "s2"


def test_what_waits_can_be_cancelled(store: Now) -> None:
    enqueue(store, *(job(f"s{n}", "s", at=n) for n in range(4)))
    assert store.cancel_job("s1"), "it waits for its session"
    assert store.cancel_job("s0"), "it waits for a worker"
    assert not store.cancel_job("s0") and not store.cancel_job("nobody")
    s2 = claim(store)
    assert s2["id"] == "s2" and not store.cancel_job("s2"), "it runs"
    assert finish(store, s2, "paused") and store.cancel_job("s2")
    assert store.get_job("s2")["status"] == "cancelled"
    assert claimed_ids(store) == ["s3"]


def test_what_used_up_its_attempts_is_swept_by_one(store: Now) -> None:
    enqueue(store, job("s1", "s", at=1), job("s2", "s", at=2), job("fresh", max_attempts=2, at=3))
    claim(store, "dead"), claim(store, "dead")
    assert store.sweep_exhausted_jobs(LEASE) == []
    assert [swept["id"] for swept in store.sweep_exhausted_jobs(0)] == ["s1"]
    assert not store.acquire_sweep("s1", "one", LEASE) and not store.acquire_sweep("fresh", "one", 0)
    assert store.acquire_sweep("s1", "one", 0)
    assert not store.acquire_sweep("s1", "two", LEASE), "the sweeper has a lease of its own"
    assert not store.settle_swept_job("s1", "dead", "failed") and not store.settle_swept_job("s1", "one", "queued")
    assert store.settle_swept_job("s1", "one", "failed", "its worker died")
    assert store.get_job("s1")["error"] == "its worker died"
    assert claim(store)["id"] == "s2"


def test_a_swept_ticket_may_turn_out_paused(store: Now) -> None:
    enqueue(store, job("s1", "s", at=1), job("s2", "s", at=2))
    claim(store, "dead")
    assert store.acquire_sweep("s1", "one", 0) and store.settle_swept_job("s1", "one", "paused")
    assert store.claim_job("w", 0) is None
    assert store.continue_job("s1", {})["outcome"] == "queued" and claim(store)["id"] == "s1"


def test_a_dead_ticket_gets_one_more_attempt(store: Now) -> None:
    enqueue(store, job("a", at=1), job("b", at=2), job("c", at=3))
    assert not store.requeue_job("a") and not store.requeue_job("nobody")
    a, b = claim(store), claim(store)
    assert not store.requeue_job("a"), "it runs"
    assert finish(store, a, "failed", "why") and finish(store, b) and store.cancel_job("c")
    assert store.requeue_job("a") and not store.requeue_job("b") and store.requeue_job("c")
    a, c = claim(store), claim(store)
    assert (a["id"], a["attempt"], a["max_attempts"], a["completed_at"]) == ("a", 2, 2, None)
    assert (c["id"], c["attempt"], c["max_attempts"]) == ("c", 1, 1)
    assert store.retry_or_fail_job("a", "w", 2, "again", 0) == "failed"


def test_a_requeued_ticket_goes_behind_its_session(store: Now) -> None:
    enqueue(store, *(job(f"s{n}", "s", at=n) for n in range(3)))
    assert finish(store, claim(store), "failed")
    assert store.requeue_job("s0")
    order = []
    while (claimed := store.claim_job("w", LEASE)) is not None:
        order.append(claimed["id"])
        finish(store, claimed)
    assert order == ["s1", "s2", "s0"]
    assert not store.requeue_job("s0")
    enqueue(store, job("t0", "t", at=5))
    assert finish(store, claim(store), "failed") and store.requeue_job("t0")
    assert claim(store)["id"] == "t0", "alone in its session it waits for nobody"


def test_lists_are_paged_filtered_and_sorted(store: Now) -> None:
    for n, user in enumerate(("u", "v", "u", None)):
        enqueue(store, job(f"j{n}", f"s{n % 2}", at=n, user_id=user, component_id=f"c{9 - n}"))
        time.sleep(1.01 if n == 1 else 0)  # times are whole seconds
    claim(store)

    def ids(**query: Any) -> list[str]:
        jobs, total = store.list_jobs(**query)
        assert total >= len(jobs)
        return [each["id"] for each in jobs]

    assert set(ids()[:2]) == {"j2", "j3"}, "the newest first"
    assert ids(status="running") == ["j0"] and len(ids(status=["running", "queued"])) == 4
    assert set(ids(session_id="s1")) == {"j1", "j3"} and len(ids(session_id=["s0", "s1"])) == 4
    assert set(ids(user_id="u")) == {"j0", "j2"} and ids(user_id="nobody") == []
    assert ids(sort_by="component_id", sort_order="asc") == ["j3", "j2", "j1", "j0"]
    assert ids(sort_by="component_id", limit=2, page=2) == ["j2", "j3"]
    assert len(ids(sort_by="payload; DROP TABLE tickets")) == 4
    assert store.list_jobs(limit=1, raise_on_error=True)[1] == 4
    assert QueueJobSchema(**store.list_jobs(status="running")[0][0]).status == "running"


def test_statistics_and_retention(store: Now) -> None:
    assert store.queue_stats() == {"counts": {}, "oldest_queued_age_seconds": None}
    enqueue(store, *(job(f"j{n}", at=n) for n in range(6)))
    for status in ("completed", "failed", "paused"):
        assert finish(store, claim(store), status)
    claim(store)
    assert store.cancel_job("j4")
    stats = store.queue_stats()
    assert stats["counts"] == {
        "completed": 1,
        "failed": 1,
        "paused": 1,
        "running": 1,
        "cancelled": 1,
        "queued": 1,
    }
    assert stats["oldest_queued_age_seconds"] >= 0
    assert store.cleanup_jobs(3600) == 0
    assert store.cleanup_jobs(0) == 3
    assert set(store.queue_stats()["counts"]) == {"paused", "running", "queued"}, "a paused one waits for its person"
