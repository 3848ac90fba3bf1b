"""Where telemetry is sent to in a benchmark: takes OTLP over gRPC and over HTTP, answers at once and keeps nothing."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc


@dataclass
class Receiver:
    """In a process of its own. `bytes` counts what it was sent, to see that an instrumentation does send something."""

    grpc: str
    http: str
    counter: Any

    @property
    def bytes(self) -> int:
        return int(self.counter.value)


@contextmanager
def receiver() -> Iterator[Receiver]:
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, counter), daemon=True)
    process.start()
    try:
        grpc_port, http_port = ours.recv()
        yield Receiver(f"http://127.0.0.1:{grpc_port}", f"http://127.0.0.1:{http_port}", counter)
    finally:
        process.terminate()
        process.join(10)


def _serve(ports: Any, counter: Any) -> None:
    def count(size: int) -> None:
        with counter.get_lock():
            counter.value += size

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            def take(request: bytes, context: Any) -> bytes:
                count(len(request))
                return b""

            return grpc.unary_unary_rpc_method_handler(take)

    class Http(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            count(len(self.rfile.read(int(self.headers.get("content-length", 0)))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Everything()])
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    ports.send((grpc_port, http.server_port))
    http.serve_forever()
