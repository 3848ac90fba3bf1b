"""Sizes of the tables, read from a real Postgres: what is counted, what is left out, and what it survives."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from telemetry.tables import Table, TableSizes, read
from tests.integration.runtimes import until

SCHEMA = """
CREATE SCHEMA agno; CREATE SCHEMA private;
CREATE TABLE small (id int PRIMARY KEY, body text);
CREATE TABLE agno.large (LIKE small INCLUDING ALL);
CREATE TABLE private.hidden (LIKE small);
CREATE TABLE parted (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
CREATE VIEW view AS SELECT * FROM small;
CREATE TEMPORARY TABLE temporary (id int);
INSERT INTO small SELECT n, 'x' FROM generate_series(1, 10) n;
INSERT INTO agno.large SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 1000) n;
INSERT INTO parted SELECT n, n FROM generate_series(0, 149) n;
"""


@pytest.fixture
def tables(postgres: str) -> str:
    with psycopg.connect(postgres) as connection:
        connection.execute(SCHEMA)
    return postgres


def named(database_url: str) -> dict[str, Table]:
    return {table.name: table for table in read(database_url)}


def test_sizes_with_indexes_and_rows_before_and_after_analyze(tables: str) -> None:
    until(lambda: named(tables)["small"].rows == 10, 30)  # the server counts what was inserted within a second or so
    found = named(tables)
    assert set(found) == {"small", "agno.large", "parted"}
    assert next(iter(found)) == "agno.large"
    assert (found["agno.large"].rows, found["parted"].rows) == (1000, 150)
    with psycopg.connect(tables) as connection:
        (size,) = connection.execute("SELECT pg_total_relation_size('agno.large')").fetchone() or (0,)
        (heap,) = connection.execute("SELECT pg_relation_size('agno.large')").fetchone() or (0,)
        assert found["agno.large"].size == size > heap
        (parts,) = connection.execute(
            "SELECT pg_total_relation_size('parted_1') + pg_total_relation_size('parted_2')"
        ).fetchone() or (0,)
        assert found["parted"].size == parts
        connection.execute("ANALYZE")
    assert {name: table.rows for name, table in named(tables).items()} == {
        "small": 10,
        "agno.large": 1000,
        "parted": 150,
    }


def test_an_empty_database_has_no_tables(postgres: str) -> None:
    assert read(postgres) == []


def test_a_table_that_was_never_analyzed_nor_filled_has_no_rows(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE fresh (id int)")
    assert read(postgres) == [Table("fresh", 0, 0)]


def test_of_many_tables_the_largest_are_read(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        for name, rows in (("least", 10), ("most", 200_000), ("less", 10_000), ("more", 80_000)):
            connection.execute(f"CREATE TABLE {name} AS SELECT generate_series(1, {rows})".encode())
    assert [table.name for table in read(postgres, most=3)] == ["most", "more", "less"]


def test_a_table_that_is_locked_holds_it_up_for_seconds_at_most(tables: str) -> None:
    with psycopg.connect(tables) as other:
        other.execute("LOCK TABLE small IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(psycopg.Error):
            read(tables)
        assert time.monotonic() - began < 8
    assert "small" in named(tables)


@contextmanager
def sizes(database_url: str) -> Iterator[TableSizes]:
    found = TableSizes(database_url, interval=0.2)
    try:
        yield found
    finally:
        found.stop()


def test_it_follows_what_happens_and_leaves_out_what_is_old(tables: str) -> None:
    with sizes(tables) as found:
        until(lambda: found.tables(), 30)
        assert dict((a["table"], n) for n, a in found.sizes())["agno.large"] > 100_000
        with psycopg.connect(tables) as connection:
            connection.execute("CREATE TABLE added (id int)")
            (names,) = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'table-sizes'"
            ).fetchone() or (0,)
            assert names <= 1
        until(lambda: "added" in {a["table"] for _, a in found.rows()}, 30)
        found._url = "postgresql://agents:hidden@127.0.0.1:1/agents"
        until(lambda: not found.tables(), 30)
        found._url = tables
        until(lambda: found.tables(), 30)
