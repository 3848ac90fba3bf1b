"""`make check` looks for known vulnerabilities: the real uv and our lock file, a database of the test's own."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.servers import answering
from tests.validators import audit

ID = "GHSA-aaaa-bbbb-cccc"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, set[str]]]:
    """The address of an OSV, and the names of what it knows something about."""
    monkeypatch.setattr(audit, "CACHE", tmp_path)
    known: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["queries"]
            assert len(asked) > 100 and all(one["version"] for one in asked)
            vulnerabilities = [{"id": ID, "modified": "2026-01-01T00:00:00Z"}]
            self._send({"results": [{"vulns": vulnerabilities} if _name(one) in known else {} for one in asked]})

        def do_GET(self) -> None:
            self._send({"id": ID, "modified": "2026-01-01T00:00:00Z", "summary": "it burns", "affected": []})

        def _send(self, answer: Any) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"--service-url=http://127.0.0.1:{port}", known


def _name(query: dict[str, Any]) -> str:
    return str(query["package"]["name"])


def test_nothing_known_is_good_for_a_day(database: tuple[str, set[str]], capsys: pytest.CaptureFixture[str]) -> None:
    address, known = database
    assert audit.main([address]) == 0
    assert "no known vulnerability" in capsys.readouterr().out
    known.add("httpx")
    assert audit.main([address]) == 0
    assert "nothing is known, as of" in capsys.readouterr().out


def test_a_vulnerability_fails_until_it_is_allowed(
    database: tuple[str, set[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, known = database
    known.add("httpx")
    assert audit.main([address]) == 1
    said = capsys.readouterr().err
    assert "httpx 0." in said and ID in said and "it burns" in said
    today = datetime.now(UTC).date()
    for until, code in ((today - timedelta(days=1), 1), (today + timedelta(days=1), 0)):
        monkeypatch.setattr(audit, "ALLOWED", {ID: (until, "nobody lets it burn here")})
        assert audit.main([address]) == code


def test_a_database_that_is_away_is_said_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "CACHE", tmp_path)
    assert audit.main(["--service-url=http://127.0.0.1:1"]) == 0
    assert "NOT AUDITED" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_is_allowed_has_a_reason_and_an_end() -> None:
    for until, reason in audit.ALLOWED.values():
        assert reason and until < date(2100, 1, 1)
