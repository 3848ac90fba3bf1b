"""The queries in runtime/sql/*.sql. Each begins with a line `-- name --`; `{name}` in one stands for another."""

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)
_PART = re.compile(r"\{(\w+)\}")


def load(file: str) -> Mapping[str, bytes]:
    """The queries of runtime/sql/<file>.sql by name, as psycopg takes them."""
    text = (Path(__file__).parent / "sql" / f"{file}.sql").read_text()
    _, *parts = _NAME.split(text)
    queries = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))

    def whole(name: str) -> str:
        return _PART.sub(lambda part: whole(part[1]), queries[name])

    return {name: whole(name).encode() for name in queries}
