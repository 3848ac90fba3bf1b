"""The queries in runtime/sql/*.sql. Each begins with a line `-- name --`; `{name}` in one stands for another."""

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def load(file: str) -> Mapping[str, bytes]:
    """The queries of runtime/sql/<file>.sql by name, as psycopg takes them."""
    text = (Path(__file__).parent / "sql" / f"{file}.sql").read_text()
    _, *parts = _NAME.split(text)
    queries = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
    return {name: re.sub(r"\{(\w+)\}", lambda m: queries[m[1]], query).encode() for name, query in queries.items()}
