"""The embedded PostgreSQL: what it offers and whom it lets in."""

import psycopg
import pytest

from stack import postgres as embedded
from stack.home import Home


def test_a_fresh_database_has_vector_search(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        row = connection.execute("SELECT '[1,2,3]'::vector <-> '[1,2,4]'::vector").fetchone()
        statements = connection.execute("SELECT count(*) FROM pg_stat_statements").fetchone()
    assert row == (1.0,)
    assert statements is not None


def test_a_wrong_password_is_refused(postgres: str, postgres_server: Home) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.replace(postgres_server.secrets.postgres, "wrong"))


def test_it_listens_on_loopback_only(postgres_server: Home) -> None:
    with embedded.connect(postgres_server) as server:
        assert server.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert server.execute("SHOW unix_socket_directories").fetchone() == ("",)


def test_preparing_twice_keeps_the_data(postgres_server: Home) -> None:
    embedded.prepare(postgres_server)
    embedded.create_database(postgres_server)
    embedded.check(postgres_server)


def test_the_role_of_the_agents_is_no_superuser(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SHOW is_superuser").fetchone() == ("off",)
