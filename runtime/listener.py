"""LISTEN: what other processes say through Postgres, on a connection of its own that is made again when it breaks."""

import logging
import threading
from collections.abc import Callable, Mapping

import psycopg
from psycopg import sql

from runtime.connections import CONNECT

_RETRY_SECONDS = 1.0
log = logging.getLogger(__name__)


class Listener:
    """Calls `hear[channel](payload)` in a daemon thread, and `connected()` each time that it begins to listen: what was
    said before is lost, so look for yourself then."""

    def __init__(
        self, database_url: str, hear: Mapping[str, Callable[[str], None]], connected: Callable[[], None]
    ) -> None:
        self._database_url = database_url
        self._hear = hear
        self._connected = connected
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait: the thread ends within a second, or with the process."""
        self._stopping.set()

    def _work(self) -> None:
        well = True
        while not self._stopping.is_set():
            try:
                with psycopg.connect(
                    self._database_url, autocommit=True, application_name="listener", **CONNECT
                ) as connection:
                    for channel in self._hear:
                        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    well = True
                    self._connected()
                    self._listen(connection)
            except psycopg.Error as error:
                if well:
                    log.warning("not listening to Postgres until it is back: %s", type(error).__name__)
                well = False
                self._stopping.wait(_RETRY_SECONDS)

    def _listen(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        while not self._stopping.is_set():
            for said in connection.notifies(timeout=1.0):
                self._hear[said.channel](said.payload)
