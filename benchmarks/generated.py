"""Agent spans made inside ClickHouse (spans.sql), in our schema and in the exporter's default one beside it.

Nothing is random: the same number gives the same span. Eight spans are a run, four runs a session, whose later model
calls repeat its conversation, as agents do. Texts are made of phrases, and twenty agents have a prompt of 4 kB each.
"""

import itertools
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clickhouse_connect.driver.client import Client

from stack.alone import running, temporary_home
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.migrate import Migration, migrate

HERE = Path(__file__).parent
SPANS_PER_RUN = 8
TURNS = 4  # runs of a session
PHRASES = 65_536  # so many that a text longer than one of them never comes again by chance
SENTENCE = 3  # phrases
BLOCK = 50_000  # spans in one insert: the server has 2 GB
SMALL = {"min_insert_block_size_rows": 20_000, "min_insert_block_size_bytes": 1 << 26, "max_insert_threads": 1}
COLUMNS = (
    "Timestamp, TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind, ServiceName, ResourceAttributes,"
    " ScopeName, ScopeVersion, SpanAttributes, Duration, StatusCode, StatusMessage"
)
ROLLUPS = ("operations_by_minute", "operations_by_hour")


@dataclass(frozen=True)
class Stores:
    """`ours` and `default` write, `reader` and `default_reader` have the limits and settings of dashboards."""

    ours: Client
    default: Client
    reader: Client
    default_reader: Client
    reader_url: str


@contextmanager
def stores(spans: int, days: float, sentence: int = SENTENCE) -> Iterator[Stores]:
    """A ClickHouse of its own with the same `spans` in both schemas, merged, and the rollups computed."""
    with temporary_home() as home, running(home, "clickhouse"):
        default = connect(home.clickhouse_url, database="")
        default.command("CREATE DATABASE otel_default")
        default.database = "otel_default"
        for statement in Migration("default", (HERE / "default_schema.sql").read_text()).statements():
            default.command(statement)
        migrate(home.clickhouse_url)
        ours = connect(home.clickhouse_url, send_receive_timeout=3600)
        readers = [connect(home.clickhouse_readonly_url, database=name) for name in ("otel", "otel_default")]
        fill(ours, default, spans, days, sentence)
        yield Stores(ours, default, *readers, home.clickhouse_readonly_url)
        for client in (ours, default, *readers):
            client.close()


def fill(ours: Client, default: Client, spans: int, days: float, sentence: int) -> None:
    for view in ROLLUPS:
        ours.command(f"SYSTEM STOP VIEW {view}_mv")
    began = time.monotonic()
    make_phrases(default)
    for first in range(0, spans, BLOCK):
        generate(default, "otel_traces", first, min(BLOCK, spans - first), spans, days, sentence)
        if first % (20 * BLOCK) == 0:
            say(f"{first:,} spans generated in {time.monotonic() - began:.0f} s")
    for day in range(int(days) + 2):
        ours.command(
            f"INSERT INTO otel_traces ({COLUMNS}) SELECT {COLUMNS} FROM otel_default.otel_traces"
            f" WHERE toDate(Timestamp) = toDate('{beginning(days):%Y-%m-%d}') + {day}",
            settings=SMALL,
        )
    say(f"copied into our schema after {time.monotonic() - began:.0f} s")
    for client in (default, ours):
        client.command("OPTIMIZE TABLE otel_traces FINAL")
    say(f"merged after {time.monotonic() - began:.0f} s")
    for view in ROLLUPS:
        ours.command(f"SYSTEM START VIEW {view}_mv")
        ours.command(f"SYSTEM REFRESH VIEW {view}_mv")
        ours.command(f"SYSTEM WAIT VIEW {view}_mv")
    say(f"rolled up after {time.monotonic() - began:.0f} s")


def generate(
    client: Client, table: str, first: int, count: int, spans: int, days: float, sentence: int = SENTENCE
) -> None:
    """Inserts the spans `first` to `first + count` out of `spans` that began within the last `days` days."""
    client.command(
        f"INSERT INTO {table} ({COLUMNS}) {(HERE / 'spans.sql').read_text()}",
        parameters={
            "first": first,
            "count": count,
            "sentence": sentence,
            "began": int(beginning(days).timestamp()),
            "session_seconds": days * 86_400 / max(1, spans // (SPANS_PER_RUN * TURNS)),
        },
        settings=SMALL,
    )


def beginning(days: float) -> datetime:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return now - timedelta(days=days)


def phrases() -> list[str]:
    """Four to seven words each, which are as rare as in a language (Zipf): about 35 bytes."""
    chosen = random.Random(4)
    consonants, vowels = ("b", "ch", "d", "f", "g", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "w"), "aeiou"
    syllables = [start + vowel + end for start in consonants for vowel in vowels for end in ("", "", "n", "r")]
    words = sorted({"".join(chosen.choices(syllables, k=chosen.choice((1, 2, 2, 3)))) for _ in range(12_000)})
    chosen.shuffle(words)
    cumulative = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
    return [" ".join(chosen.choices(words, cum_weights=cumulative, k=chosen.randint(4, 7))) for _ in range(PHRASES)]


def make_phrases(client: Client) -> None:
    client.command("CREATE TABLE IF NOT EXISTS phrases (id UInt16, text String) ENGINE = Join(ANY, LEFT, id)")
    client.insert("phrases", list(enumerate(phrases())), column_names=["id", "text"])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
