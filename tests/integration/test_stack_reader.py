"""What Grafana's Postgres role may do: read the runtime's tables, and nothing else."""

import re

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction

from stack.home import Home
from stack.postgres import READER
from stack.process import PROJECT

READABLE = (
    "deliveries",
    "tickets",
    "approval_waits",
    "agno.agno_sessions",
    "agno.agno_runs",
    "agno.agno_traces",
    "agno.agno_spans",
    "agno.agno_approvals",
)
WRITES = (
    "INSERT INTO deliveries VALUES ('github', '1', '', '', '', '')",
    "UPDATE tickets SET status = 'cancelled'",
    "DELETE FROM agno.agno_sessions",
    "TRUNCATE agno.agno_runs",
    "DROP TABLE tickets",
    "CREATE TABLE notes (id int)",
    "CREATE TABLE agno.notes (id int)",
    "SELECT pg_read_file('/etc/hostname')",
)
REFUSED = (ReadOnlySqlTransaction, InsufficientPrivilege)


@pytest.fixture
def reader(migrated: str, migrated_server: Home) -> str:
    """The URL of a migrated database, as the role."""
    owner = f"agents:{migrated_server.secrets.postgres}"
    assert owner in migrated
    return migrated.replace(owner, f"agents_readonly:{migrated_server.secrets.postgres_readonly}")


def test_it_reads_the_tables_of_the_runtime(reader: str) -> None:
    with psycopg.connect(reader) as connection:
        for table in READABLE:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_it_writes_nothing(reader: str) -> None:
    """Also when it says that it would: everybody may change that default, and rights are what counts."""
    with psycopg.connect(reader, autocommit=True) as connection:
        for default in ("on", "off"):
            connection.execute(f"SET default_transaction_read_only = {default}")
            for statement in WRITES:
                with pytest.raises(InsufficientPrivilege if default == "off" else REFUSED):
                    connection.execute(statement)


def test_what_agno_adds_later_is_closed_to_it(reader: str, migrated: str) -> None:
    with psycopg.connect(migrated) as owner:
        owner.execute("CREATE TABLE agno.agno_credentials (token text)")
    with psycopg.connect(reader) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("SELECT * FROM agno.agno_credentials")


def test_a_query_of_its_ends(reader: str) -> None:
    with psycopg.connect(reader) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("30s",)


def test_the_home_knows_its_address(migrated_server: Home) -> None:
    with psycopg.connect(migrated_server.database_readonly_url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("agents_readonly",)


def test_the_documented_queries_run_and_the_documented_role_is_this_one(reader: str) -> None:
    queries, role = re.findall(r"```sql\n(.*?)```", (PROJECT / "docs" / "grafana.md").read_text(), re.DOTALL)
    with psycopg.connect(reader) as connection:
        for query in filter(None, map(str.strip, queries.split(";"))):
            assert connection.execute(query).fetchall() == []
    assert role.strip() == READER.strip().replace("{}", "'a-long-password'")
