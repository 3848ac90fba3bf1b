"""What must not be shown: the secrets of this process by their value, and any by their form.

Whoever reads settings says which values are secret (`remember(of(settings))`); whatever leaves by a log, a span, an
error or an answer goes through here. A secret is found as it is, and as addresses, JSON, HTML and Base64 spell it.
"""

import base64
import html
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
# What is shorter is a word like "postgres", which would be masked wherever it stands.
LONG, LONG_WITH_DIGIT = 12, 8

_NAME = re.compile(r"(?i)(?:^|_)(?:key|secrets?|token|password|passwd|credentials?|headers)$")
_PASSWORD = re.compile(r"://[^/@\s:]*:([^@\s]+)@")
_SCHEME = re.compile(r"(?i)^(?:bearer|basic|token) +")
_USERINFO = re.compile(r"://[^/@\s]*@")
_FORMS = (
    (_USERINFO, "://"),
    (re.compile(r"(?i)([?&;](?:[a-z_-]*key|[a-z_]*token|password|secret|sig(?:nature)?)=)[^&\s'\"<>)]+"), r"\1***"),
    (re.compile(r"(?i)\b(bearer )[a-z0-9._~+/=-]{8,}"), r"\1***"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),  # a JWT
)

_known: tuple[str, ...] = ()
_spelled: tuple[tuple[str, bytes], ...] = ()
_lock = threading.Lock()


def of(settings: Mapping[str, object]) -> set[str]:
    """The secrets among settings, or variables: values whose name says so, and the passwords of all addresses."""
    found: set[str] = set()
    for name, value in settings.items():
        for text in _texts(value):
            found.update(_PASSWORD.findall(text))
            if _NAME.search(name) and not text.startswith(("/", "-----BEGIN PUBLIC")):  # a file; no secret
                found.update(_parts(text))
    return {one for one in found | {unquote(one) for one in found} if _is_one(one)}


def remember(secrets: Iterable[str]) -> None:
    """From now on they are hidden, for as long as this process lives."""
    global _known, _spelled
    with _lock:
        _known = tuple({*_known, *secrets})
        spelled = {spelling for secret in _known for spelling in _spellings(secret)}
        _spelled = tuple((one, one.encode()) for one in sorted(spelled, key=lambda one: (-len(one), one)))


def known() -> tuple[str, ...]:
    """The same object until there are more."""
    return _known


def hide(text: str) -> str:
    """Without the secrets that are known."""
    for spelling, _ in _spelled:
        if spelling in text:
            text = text.replace(spelling, MASK)
    return text


def without(text: str) -> str:
    """The same, and without what looks like one: passwords and keys in addresses, bearer tokens, JWTs."""
    text = hide(text)
    for pattern, replacement in _FORMS:
        text = pattern.sub(replacement, text)
    return text


def are_in(data: bytes) -> bool:
    """Whether a known secret is. A megabyte takes some milliseconds."""
    return any(spelling in data for _, spelling in _spelled)


def masked(data: bytes) -> bytes:
    """`data`, as long as it was, with asterisks for known secrets."""
    for _, spelling in _spelled:
        if spelling in data:
            data = data.replace(spelling, b"*" * len(spelling))
    return data


def hide_all(value: Any) -> Any:
    """`value` with every text in it hidden; of strings, numbers, bytes, dicts, lists and tuples."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, bytes):
        return masked(value)
    if isinstance(value, Mapping):
        return {hide_all(key): hide_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        made = [hide_all(item) for item in value]
        return made if isinstance(value, list) else tuple(made)
    return value


def address(url: str) -> str:
    """`url` as it may be shown to people: without user and password."""
    return _USERINFO.sub("://", url)


def guard_console() -> None:
    """What the handlers of the root's and agno's loggers write, and what ends a thread or the process, is without
    secrets. To be called when the handlers are there; idempotent."""
    for name in (None, "agno", "agno-team", "agno-workflow"):
        for handler in logging.getLogger(name).handlers:
            if not isinstance(handler.formatter, _Formatter):
                handler.setFormatter(_Formatter(handler.formatter or logging.Formatter()))
    sys.excepthook = _say
    threading.excepthook = lambda its: _say(its.exc_type, its.exc_value, its.exc_traceback)


class _Formatter(logging.Formatter):
    def __init__(self, around: logging.Formatter) -> None:
        super().__init__()
        self._around = around

    def format(self, record: logging.LogRecord) -> str:
        return without(self._around.format(record))


def _say(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, SystemExit):
        sys.stderr.write(without("".join(traceback.format_exception(kind, error, trace))))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value.lstrip().startswith(("{", "[")):
            try:
                yield from _texts(json.loads(value))
                return
            except ValueError:
                pass
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for item in value:
            yield from _texts(item)


def _parts(text: str) -> Iterator[str]:
    """Several secrets are separated by spaces, headers (OTEL_EXPORTER_OTLP_HEADERS) by commas."""
    yield text.strip()
    for header in text.split(","):
        name, _, value = header.partition("=")
        if value.strip("=") and " " not in name:
            yield _SCHEME.sub("", unquote(value).strip())
    for one in text.split():
        yield one
        yield one.removeprefix("whsec_")
        yield one.partition(":")[2]  # user:password


def _is_one(secret: str) -> bool:
    return len(secret) >= LONG or (len(secret) >= LONG_WITH_DIGIT and any(c.isdigit() for c in secret))


def _spellings(secret: str) -> Iterator[str]:
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    for spelled in (secret, repr(secret)[1:-1]):
        for _ in range(3):  # JSON, and JSON in JSON
            yield from (spelled, html.escape(spelled), json.dumps(spelled, ensure_ascii=False)[1:-1])
            spelled = json.dumps(spelled)[1:-1]
    raw = secret.encode("utf-8", "replace")
    for before in range(3):  # bytes of something else that Base64 spells together with its first ones
        first, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        spelled = base64.b64encode(bytes(before) + raw).decode()[first:end]
        yield from (spelled, spelled.translate({43: 45, 47: 95}))
