"""Strangers who send too much, too slowly, too often or what is no HTTP: each limit is met for real, and counted."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from runtime.doorway import STRANGER_BYTES
from runtime.protocol import BYTES_PER_SECOND, GRACE_SECONDS, HEAD_BYTES
from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import Runtime, running, signed, until

MOST, CONNECTIONS, KEY = 2_000_000, 40, "open-sesame-7"


@pytest.fixture(scope="module")
def runtime(migrated_server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    settings = {
        "OS_SECURITY_KEY": KEY,
        "REQUEST_MAX_BYTES": str(MOST),
        "MAX_CONNECTIONS": str(CONNECTIONS),
        "WEBHOOK_MAX_BYTES": "100000",
        "RUN_CONCURRENCY": "0",
        "TELEMETRY_MODE": "collector",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
    }
    log = tmp_path_factory.mktemp("limits") / "log"
    with fresh_database(migrated_server, "migrated") as url, running(url, log, **settings) as its:
        its.key = KEY
        yield its


def opened(runtime: Runtime, *parts: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", runtime.port), 30)
    for part in parts:
        connection.sendall(part)
    return connection


def answer(connection: socket.socket) -> tuple[int, str]:
    """Status and body of what comes until the other end closes."""
    received = b""
    with connection:
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:  # it closed while we still sent
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body.decode()


def refused(runtime: Runtime, reason: str) -> float:
    return runtime.metric("agno_http_refused_requests_total", reason=reason) or runtime.metric(
        "agno_http_refused_total", reason=reason
    )


def post(
    runtime: Runtime, path: str, authorization: str, content_type: str, content: bytes | Iterator[bytes], **more: str
) -> httpx.Response:
    headers = {"authorization": authorization, "content-type": content_type, **more}
    headers = {name.replace("_", "-"): value for name, value in headers.items() if value}
    return httpx.post(f"{runtime.url}{path}", content=content, headers=headers, trust_env=False, timeout=30)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * HEAD_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /health?" + b"x=1&" * HEAD_BYTES,  # it never ends
        b"GET /health HTTP/1.1\r\nhost: x\r\nx-long: " + b"y" * 2 * HEAD_BYTES,
        b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * HEAD_BYTES + b"\r\n",
        b"POST /api/webhooks/echo HTTP/1.1\r\nhost: x\r\nwebhook-id: " + b"y" * HEAD_BYTES + b"\r\n\r\n",
    ],
    ids=["address", "endless address", "endless header", "many headers", "webhook"],
)
def test_a_head_that_is_too_large(runtime: Runtime, head: bytes) -> None:
    before = refused(runtime, "head")
    status, body = answer(opened(runtime, head))
    assert status in (431, 0)  # 0: closed while it was sent, and the answer went with it
    if status:
        assert json.loads(body) == {
            "type": "about:blank",
            "title": "Request Header Fields Too Large",
            "status": 431,
            "detail": f"address and headers are larger than {HEAD_BYTES} bytes",
        }
    assert refused(runtime, "head") == before + 1


def test_heads_that_fit_on_a_kept_connection(runtime: Runtime) -> None:
    """Each is counted for itself, also when several come at once."""
    request = b"GET /health HTTP/1.1\r\nhost: x\r\nx: " + b"y" * (HEAD_BYTES - 200) + b"\r\n\r\n"
    last = request.replace(b"host: x", b"host: x\r\nconnection: close")
    connection = opened(runtime, request, request, last)
    received = b""
    with connection:
        while part := connection.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200") == 3


def test_what_is_no_http(runtime: Runtime) -> None:
    before = refused(runtime, "malformed")
    status, body = answer(opened(runtime, b"\x16\x03\x01 this is TLS\r\n\r\n"))
    assert (status, json.loads(body)["detail"]) == (400, "this is not HTTP/1.1")
    assert refused(runtime, "malformed") == before + 1


def test_slow_senders(runtime: Runtime) -> None:
    """One that says nothing, one whose head and one whose body drip: each gets its time, and no more. Others do not
    notice, and a body that comes slowly but fast enough is taken."""
    before = refused(runtime, "slow")
    silent = opened(runtime)
    head = opened(runtime, b"GET /health HTTP/1.1\r\nx: ")
    webhook = b"POST /api/webhooks/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 90000\r\n\r\n"
    body = opened(runtime, webhook)
    content = json.dumps({"input": "x" * 80_000}).encode()
    headers = {**signed("slow", content), "content-length": str(len(content)), "host": "x", "connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    patient = opened(runtime, f"POST /api/webhooks/echo HTTP/1.1\r\n{lines}\r\n".encode())
    began, sent = time.monotonic(), 0
    dripping = {head, body}
    patient.sendall(content[: (sent := 70_000)])
    while dripping or sent < len(content):
        assert time.monotonic() - began < 100
        time.sleep(0.5)
        for one in tuple(dripping):
            try:
                one.sendall(b"a")
                one.setblocking(False)
                if one.recv(1, socket.MSG_PEEK) or True:
                    dripping.discard(one)
            except BlockingIOError:
                pass
            except OSError:
                dripping.discard(one)
            finally:
                one.setblocking(True)
        part = content[sent : sent + BYTES_PER_SECOND // 4]
        patient.sendall(part)
        sent += len(part)
    assert answer(patient)[0] == 202
    for one in (head, body):
        status, text = answer(one)
        assert (status, json.loads(text)["title"]) == (408, "Request Timeout")
    assert answer(silent) == (0, "")
    assert refused(runtime, "slow") == before + 2
    assert time.monotonic() - began > GRACE_SECONDS
    assert runtime.get("/health").is_success


def test_too_many_connections(runtime: Runtime) -> None:
    before = refused(runtime, "connections")
    with ExitStack() as stack:
        kept = [stack.enter_context(opened(runtime)) for _ in range(CONNECTIONS)]
        over = [opened(runtime) for _ in range(5)]
        for status, body in map(answer, over):
            assert (status, json.loads(body)["title"]) == (503, "Service Unavailable")
        kept[0].sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer(kept[0])[0] == 200
    until(runtime._is_up, 30)
    assert refused(runtime, "connections") >= before + 5


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", "Bearer x", ""], ids=["key", "wrong key", "no key"])
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/agents/echo/runs", "multipart/form-data; boundary=b"),
        ("/agents/echo/runs", "application/x-www-form-urlencoded"),
        ("/knowledge/content", "multipart/form-data; boundary=b"),
        ("/sessions", "application/json"),
        ("/admin/reload", "application/json"),
        ("/nothing", "application/json"),
    ],
)
def test_bodies_that_are_too_large(
    runtime: Runtime, path: str, content_type: str, authorization: str, chunked: bool
) -> None:
    """413 before anybody has taken it in; who does not show the key may send less."""
    before = refused(runtime, "body")
    most = MOST if authorization.endswith(KEY) else STRANGER_BYTES
    pieces = [b"x" * 65_536] * (most // 65_536 + 2)
    if "multipart" in content_type:
        pieces = [b'--b\r\ncontent-disposition: form-data; name="files"; filename="f"\r\n\r\n', *pieces]
    got = post(runtime, path, authorization, content_type, iter(pieces) if chunked else b"".join(pieces))
    if chunked and "json" not in content_type and got.status_code in (400, 401):
        return  # agno refused it before it had read so much
    assert (got.status_code, got.json()["detail"]) == (413, f"the body is larger than {most} bytes")
    assert refused(runtime, "body") == before + 1


def test_bodies_that_fit(runtime: Runtime) -> None:
    form = b"stream=false&message=" + b"x" * 900_000
    for authorization, status in ((f"Bearer {KEY}", 200), ("", 401)):
        got = post(runtime, "/agents/echo/runs", authorization, "application/x-www-form-urlencoded", form)
        assert got.status_code == status, got.text


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"session_name": ' + b"9" * 50_000 + b"}",
        b'{"session_name": 1e999}',
        b'{"session_name": "\xff\xfe"}',
        b'{"session_name": "a\\ud800b"}',
        b'{"session_name": "a\\u0000b"}',
    ],
    ids=["arrays", "objects", "integer", "float", "not UTF-8", "half a surrogate", "NUL"],
)
def test_json_that_nobody_means(runtime: Runtime, content: bytes) -> None:
    """A 4xx of AgentOS' routes and of ours, and never a 500."""
    for path in ("/sessions", "/sessions/x/rename?type=agent", "/approvals/x/resolve", "/approvals/x/approve"):
        got = post(runtime, path, f"Bearer {KEY}", "application/json", content)
        assert 400 <= got.status_code < 500, (path, got.text)


def test_a_body_that_is_compressed_is_not_unpacked(runtime: Runtime) -> None:
    bomb = gzip.compress(b'{"input": "' + b"x" * 10_000_000 + b'"}')
    assert len(bomb) < 100_000
    got = runtime.send("bomb", bomb, content_encoding="gzip")
    assert got.status_code in (400, 415), got.text
    plain = json.dumps({"input": "x"}).encode()
    assert runtime.send("plain", plain, content_encoding="gzip").status_code == 415
    got = post(runtime, "/sessions", f"Bearer {KEY}", "application/json", bomb, content_encoding="gzip")
    assert 400 <= got.status_code < 500
