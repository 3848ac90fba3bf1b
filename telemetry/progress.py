"""What the exporter's process is doing, in memory that outlives it: that it lives, and what it died of."""

import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_BEAT = struct.Struct("q")
_WORK = struct.Struct("qqq")
READING = 0  # the slot of who reads batches; each destination has one of its own after it


class Progress:
    """One page. Slots hold (first batch, last batch, place of the first span in its batch), all 0 while idle."""

    def __init__(self, descriptor: int, slots: int) -> None:
        self._slots = slots
        self._page = mmap.mmap(descriptor, mmap.PAGESIZE)

    @staticmethod
    def file() -> int:
        """A descriptor of new memory to give to another process; not of a disk, which may be full, where possible."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("telemetry")
        else:  # macOS
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.write(descriptor, bytes(mmap.PAGESIZE))
        return descriptor

    def beat(self) -> None:
        _BEAT.pack_into(self._page, 0, self.beats() + 1)

    def beats(self) -> int:
        """How often it has said that it lives."""
        beats: int = _BEAT.unpack_from(self._page)[0]
        return beats

    @contextmanager
    def working(self, slot: int, first: int, last: int, place: int) -> Iterator[None]:
        at = _BEAT.size + slot * _WORK.size
        _WORK.pack_into(self._page, at, first, last, place)
        try:
            yield
        finally:
            _WORK.pack_into(self._page, at, 0, 0, 0)

    def work(self) -> list[tuple[int, int, int]]:
        """By slot."""
        return [_WORK.unpack_from(self._page, _BEAT.size + slot * _WORK.size) for slot in range(self._slots)]

    def close(self) -> None:
        self._page.close()
