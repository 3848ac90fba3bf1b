"""An authority of the tests' own, and a proxy that ends TLS before a server that knows none."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # how a client of Postgres asks for TLS


class Authority:
    """`certificate` is the file to trust."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._write(name, self._signed(name, self._key, x509.BasicConstraints(True, 0)))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        path = self._directory / f"{self._name}-{name}.key"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)  # libpq takes no other
        return self._write(f"{self._name}-{name}", self._signed(name, key, x509.BasicConstraints(False, None))), path

    def server(self, clients: Path | None = None) -> ssl.SSLContext:
        """`clients`: their authority; whoever shows no certificate of it is refused."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
        context.verify_mode = ssl.CERT_REQUIRED if clients else ssl.CERT_NONE
        context.load_cert_chain(*self.issue("server"))
        return context

    def _signed(self, name: str, key: ec.EllipticCurvePrivateKey, kind: x509.BasicConstraints) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder(_named(self._name), _named(name), key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(kind, critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._directory / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@contextmanager
def encrypted(port: int, tls: ssl.SSLContext, *, postgres: bool = False) -> Iterator[int]:
    """The port on which what `port` serves without TLS is served with it, and only with it."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if postgres:
                if await reader.readexactly(8) != SSL_REQUEST:
                    raise ConnectionRefusedError("it would have spoken in the clear")
                writer.write(b"S")
                await writer.start_tls(tls)
            behind, before = await asyncio.open_connection("127.0.0.1", port)
            writers.append(before)
            await asyncio.gather(pump(reader, before), pump(behind, writer))
        for each in writers:
            each.transport.abort()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        starting = asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if postgres else tls)
        server = asyncio.run_coroutine_threadsafe(starting, loop).result(10)
        yield server.sockets[0].getsockname()[1]
        asyncio.run_coroutine_threadsafe(_closed(server), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _closed(server: asyncio.Server) -> None:
    server.close()
    serving = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    await asyncio.sleep(0)  # for the transports to close
