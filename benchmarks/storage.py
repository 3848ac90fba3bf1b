"""Bytes per span on disk, merged, beside the exporter's default schema; and whether all of each span is there."""

import argparse
from collections.abc import Iterator

from clickhouse_connect.driver.client import Client

from benchmarks.figures import Figure
from benchmarks.generated import COLUMNS, stores

SPANS = 1_000_000
QUICK_SPANS = 100_000
SPANS_A_DAY = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spans", type=int, help=f"default {SPANS:,}, {QUICK_SPANS:,} with --quick")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    spans = arguments.spans or (QUICK_SPANS if arguments.quick else SPANS)
    with stores(spans, spans / SPANS_A_DAY) as found:
        ours, default = bytes_on_disk(found.ours, "otel_traces"), bytes_on_disk(found.default, "otel_traces")
        rollups = sum(bytes_on_disk(found.ours, table) for table in ("operations_by_minute", "operations_by_hour"))
        same = content(found.ours, "otel_traces FINAL") == content(found.default, "otel_traces")
    yield Figure("storage", "bytes_per_span", round(ours / spans, 1), "By", spans)
    yield Figure("storage", "bytes_per_span_vs_default", round(ours / spans, 1), "By", spans, round(default / spans, 1))
    yield Figure("storage", "rollup_bytes_per_span", round(rollups / spans, 2), "By", spans)
    yield Figure("storage", "lossless", int(same), "1: every span equal", spans)


def bytes_on_disk(client: Client, table: str) -> int:
    """With indexes and marks."""
    query = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table = "
    return int(client.command(f"{query}'{table}'"))


def content(client: Client, table: str) -> tuple[object, ...]:
    """The number of spans, and two sums over the hashes of all that was inserted (no events and links are made)."""
    row = f"sipHash64({COLUMNS})"
    columns = f"count(), groupBitXor({row}), sum(cityHash64({row}))"
    return tuple(client.query(f"SELECT {columns} FROM {table}").result_rows[0])
