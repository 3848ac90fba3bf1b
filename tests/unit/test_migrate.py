from pathlib import Path

import pytest

from telemetry.clickhouse.client import connect, database_of
from telemetry.clickhouse.migrate import Migration, MigrationError, quoted, read


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    text = "-- a comment; with a semicolon\nSELECT 1;\n\nSELECT ';',\n  -- inside\n  2\n;\n"
    assert Migration("0001_a", text).statements() == ["SELECT 1", "SELECT ';',\n\n  2"]


def test_our_files_are_numbered_without_gaps(tmp_path: Path) -> None:
    assert [migration.name for migration in read()][:2] == ["0001_traces", "0002_logs"]
    for name in ("0001_a.sql", "0003_b.sql"):
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=r"0003_b.sql should be migration 0002_name.sql"):
        read(tmp_path)


def test_urls() -> None:
    assert database_of("http://a:b@host:8123/otel_x") == "otel_x"
    assert database_of("http://host") == "otel"
    with pytest.raises(ValueError, match="must look like http://user:password@host:8123/database"):
        connect("tcp://127.0.0.1:9000/otel")
    assert quoted("a`b") == "`a\\`b`"
