"""Secrets that are told apart, a collector that keeps what it is sent, and agents that say what they must not."""

import base64
import html
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc

from tests.servers import answering

AGENTS = '''
import logging
import os

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from opentelemetry import trace

from runtime.offline import OfflineModel
from runtime.triggers import Trigger

SAID = "cannot reach {DATABASE_URL} nor {CLICKHOUSE_URL}?password={OS_SECURITY_KEY}, api key {SHOP_API_KEY!r}"


def complaint():
    return SAID.format(**os.environ)


def leak() -> str:
    """Raises, logs and records what it must not."""
    span = trace.get_current_span()
    span.set_attribute("url.full", os.environ["OPENAI_BASE_URL"])
    try:
        raise ConnectionError(complaint())
    except ConnectionError as error:
        span.record_exception(error)
        logging.getLogger("shop").exception("it failed: %s", complaint())
        raise


def tell() -> str:
    """Answers with the environment."""
    return str(dict(os.environ)) + os.environ["DATABASE_URL"]


def login(password: str, api_key: str) -> str:
    """Logs in."""
    return "no"


class Broken(OfflineModel):
    def reply(self, *given):
        raise RuntimeError(complaint())


leaking = Agent(id="leaking", model=OfflineModel(latency=0), tools=[leak, tell, login])
failing = Agent(id="failing", model=Broken(latency=0))
refused = Agent(id="refused", model=OpenAIChat(id="gpt-5", timeout=10, max_retries=0))
bug = Trigger(to=leaking, source="github", prompt=lambda delivered: complaint() + 1)
'''
BROKEN = """
import os
raise RuntimeError(f"no shop at {os.environ['DATABASE_URL']} with {os.environ['SHOP_API_KEY']}")
"""


def plant(name: str) -> str:
    """A secret that nothing else is, with characters that addresses, JSON, HTML and shells spell in their own ways."""
    return f"PLANT{name}7+&\"'/{name[::-1]}"


def spellings(secret: str) -> set[bytes]:
    """How it may be found; in Base64 after any number of bytes of something else."""
    plain = {secret, quote(secret), quote(secret, safe=""), html.escape(secret), json.dumps(secret)[1:-1], repr(secret)}
    cores = set()
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + secret.encode()).decode().rstrip("=")
        cores |= {encoded[4:-2], base64.urlsafe_b64encode(b"x" * before + secret.encode()).decode()[4:-6]}
    return {one.encode() for one in plain | cores}


def leaks(secrets: Mapping[str, str], content: bytes) -> set[str]:
    """The names of the secrets that are in it."""
    return {name for name, secret in secrets.items() if any(one in content for one in spellings(secret))}


@dataclass
class Collected:
    """Requests of OTLP over gRPC, by the last word of their service, as they came; and who sent them."""

    port: int = 0
    requests: dict[str, list[bytes]] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)

    def all(self, kind: str) -> bytes:
        return b"".join(self.requests.get(kind, []))


@contextmanager
def collecting() -> Iterator[Collected]:
    collected = Collected()

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            kind = details.method.split("/")[1].rsplit(".", 1)[-1]
            collected.headers += [str(value) for key, value in details.invocation_metadata if key == "authorization"]

            def take(request: bytes, _: Any) -> bytes:
                collected.requests.setdefault(kind, []).append(request)
                return b""

            return grpc.unary_unary_rpc_method_handler(take)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Everything()])
    collected.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collected
    finally:
        server.stop(0).wait()


@contextmanager
def refusing() -> Iterator[int]:
    """A provider that says which key it does not like."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps({"error": {"message": f"Incorrect API key: {self.headers['authorization']}"}}).encode()
            self.send_response(401)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


def write_agents(directory: Path, shop_api_key: str) -> Path:
    directory.mkdir()
    (directory / "leaking.py").write_text(AGENTS)
    (directory / "broken.py").write_text(BROKEN)
    (directory / ".env").write_text(f"SHOP_API_KEY={json.dumps(shop_api_key)}\n")
    return directory
