"""A TCP proxy on loopback that can be slow, cut connections, or hide that the server has stored what it was sent."""

import socket
import threading
import time
from contextlib import suppress

STORED_SECONDS = 0.5  # from the first byte of the server's answer to a stored insert until the connection is cut
INSERT_BYTES = 2_000  # what a client has sent when it was an insert rather than a question


class Proxy:
    """Forwards to `port` of this machine, and listens on `self.port`.

    `delay`: seconds before each answer goes on. `hiding`: so many of the next inserts reach the server and are stored,
    but their sender is told nothing and loses the connection. `hidden`: how many have been.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.delay = 0.0
        self.hiding = 0
        self.hidden = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            _close(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to), 5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        self._open |= {client, server}
        sent = [0]  # bytes of the client since the server's last answer
        back = threading.Thread(target=self._answers, args=(server, client, sent), daemon=True)
        back.start()
        with suppress(OSError):
            while data := client.recv(65536):
                sent[0] += len(data)
                server.sendall(data)
        _close(server)
        back.join()
        client.close()
        server.close()
        self._open -= {client, server}

    def _answers(self, server: socket.socket, client: socket.socket, sent: list[int]) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if sent[0] >= INSERT_BYTES and self._hides():
                    time.sleep(STORED_SECONDS)
                    break
                sent[0] = 0
                if self.delay:
                    time.sleep(self.delay)
                client.sendall(data)
        _close(client)

    def _hides(self) -> bool:
        with self._lock:
            if self.hiding <= 0:
                return False
            self.hiding -= 1
            self.hidden += 1
            return True


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
