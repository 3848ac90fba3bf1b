"""How attempts end while Postgres is slow, or its answer is lost."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from runtime.connections import SECONDS, connect
from runtime.queue import Queue
from runtime.settlements import Settlement, settle
from tests.integration.test_queue import LEASE, job


@pytest.fixture
def queue(migrated: str) -> Iterator[Queue]:
    queue = Queue(migrated)
    queue.open()
    yield queue
    queue.close()


def claimed(queue: Queue, name: str) -> Settlement:
    """Of a ticket that is another attempt's as soon as somebody claims it again."""
    asyncio.run(queue.enqueue_job(job(name, max_attempts=2)))
    [ticket] = queue.claim("worker", 1, LEASE)
    return Settlement(name, "completed", "worker", ticket["attempt"])


def test_it_is_written_down_once_postgres_can(queue: Queue, migrated: str) -> None:
    """A run whose end could not be written down would be executed again."""
    claimed(queue, "slow")
    with closing(psycopg.connect(migrated)) as other:
        other.execute("SELECT FROM tickets WHERE id = 'slow' FOR UPDATE")
        release = threading.Timer(SECONDS + 1, other.rollback)
        began = time.monotonic()
        release.start()
        assert asyncio.run(queue.complete_job("slow", "worker", 1, "completed"))
        release.join()  # else the connection would be closed under it
        assert time.monotonic() - began > SECONDS
    with psycopg.connect(migrated) as connection:
        assert connection.execute("SELECT status, attempt FROM tickets").fetchall() == [("completed", 1)]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "paused", None])
def test_an_answer_that_was_lost_is_found(queue: Queue, migrated: str, status: str | None) -> None:
    settlement = replace(claimed(queue, "lost"), status=status, error="as it may be")
    with closing(connect(migrated, "test")) as connection:
        [first] = settle(connection, [settlement])
        assert first == (status or "queued")
        assert settle(connection, [settlement]) == [None], "nobody may settle it twice"
        again = replace(settlement, again=True)
        assert settle(connection, [again, replace(again, id="another")]) == [first, None]
        assert settle(connection, [replace(again, status="running")]) == [None], "it came to something else"


def test_what_another_has_begun_is_not_ours(queue: Queue, migrated: str) -> None:
    settlement = claimed(queue, "taken")
    assert queue.claim("other", 1, 0)
    with closing(connect(migrated, "test")) as connection:
        assert settle(connection, [replace(settlement, again=True)]) == [None]
        connection.execute("UPDATE tickets SET status = 'completed'")
        assert settle(connection, [replace(settlement, again=True)]) == [None]


def test_who_gives_a_ticket_up_is_told_once(queue: Queue, migrated: str) -> None:
    """Not of one that will be tried again, nor of one that a person stopped."""
    given_up: list[str] = []
    queue.settlements.on_given_up = given_up.append

    async def all_of_them() -> None:
        for name, attempts in {"tried": 1, "hopeless": 2, "swept": 1, "stopped": 1}.items():
            await queue.enqueue_job(job(name, component_id=f"of-{name}", max_attempts=attempts))
        assert len(queue.claim("w", 4, LEASE)) == 4
        assert await queue.retry_or_fail_job("tried", "w", 1, "broken") == "failed"
        assert await queue.retry_or_fail_job("tried", "w", 1, "broken") is None
        assert await queue.retry_or_fail_job("hopeless", "w", 1, "broken", 0) == "queued"
        assert await queue.complete_job("stopped", "w", 1, "cancelled")
        assert given_up == ["of-tried"]
        assert len(queue.claim("w", 4, LEASE)) == 1
        assert await queue.complete_job("hopeless", "w", 2, "failed", "permanent: it is gone")
        assert await queue.settle_swept_job("swept", "w", "failed", "its worker is gone")
        assert given_up == ["of-tried", "of-hopeless", "of-swept"]

    asyncio.run(all_of_them())
    again = Settlement("tried", "failed", "w", 1, again=True)
    with closing(connect(migrated, "test")) as connection:
        assert settle(connection, [again]) == ["failed"] and again.component == "of-tried"


def test_a_closed_queue_is_told_at_once(queue: Queue) -> None:
    queue.close()
    with pytest.raises(psycopg.InterfaceError):
        asyncio.run(queue.complete_job("x", "worker", 1, "completed"))
