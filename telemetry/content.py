"""What of prompts, answers and tool data leaves the process: TELEMETRY_CONTENT, and a function that redacts."""

import hashlib
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Mode = Literal["full", "truncated", "hashed", "off"]
Redact = Callable[[str], str]

LENGTH = 1000  # characters that are left of a text that is truncated
REFUSED = "[not shown: the redaction failed]"
log = logging.getLogger(__name__)


class Content:
    """Called with each text before it becomes an attribute; answers what to show, None for nothing."""

    def __init__(self, mode: Mode = "full", redact: Redact | None = None) -> None:
        self._mode = mode
        self._redact = redact

    def __call__(self, text: str) -> str | None:
        if self._mode == "off":
            return None
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # a lone surrogate would make the whole batch unsendable
        if self._redact is not None:
            try:
                text = str(self._redact(text))
            except Exception:  # it is a user's
                log.exception("the redaction failed; the text is left out")
                return REFUSED
        if self._mode == "hashed":
            return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:32]} ({len(text)} characters)"
        if self._mode == "truncated" and len(text) > LENGTH:
            return f"{text[:LENGTH]} ... ({len(text) - LENGTH} more characters)"
        return text


def load(place: str) -> Redact:
    """The function that `place` ("path/to/file.py:function") names. Raises ValueError, saying what is wrong with it."""
    path, _, name = place.rpartition(":")
    spec = importlib.util.spec_from_file_location("telemetry_redaction", Path(path)) if path else None
    if spec is None or spec.loader is None:
        raise ValueError(f"TELEMETRY_REDACT must be path/to/file.py:function, not {place!r}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises
        raise ValueError(f"TELEMETRY_REDACT: {path} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"TELEMETRY_REDACT: {path} has no function {name!r}")
    redact: Redact = function
    return redact
