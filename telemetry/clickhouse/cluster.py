"""The same schema on a cluster: each table X becomes X_local, replicated on every shard, and X, distributed over them.

Views read X. What is written and computed on the way (materialized views, rollups) stays on its shard, where all spans
of a trace are, so that copies of a row meet. Needs the macros {shard} and {replica} on the servers.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_CREATE = re.compile(r"(CREATE (TABLE|MATERIALIZED VIEW|VIEW) IF NOT EXISTS) (\w+)")
_ENGINE = re.compile(r"ENGINE = (\w*MergeTree)(?:\((.*?)\))?\n")
_SHARD = re.compile(r"-- shard by (.+)\n(?:--.*\n)*CREATE TABLE IF NOT EXISTS (\w+)")

REPLICA = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
EVERYWHERE = "'/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}'"


@dataclass(frozen=True)
class Cluster:
    """`name` as in the servers' configuration; `database` on each of them."""

    name: str
    database: str


def shard_keys(text: str) -> dict[str, str]:
    """Table -> the expression by which its rows are given to shards, out of the comments of a schema file."""
    return {table: key for key, table in _SHARD.findall(text)}


def local(table: str, cluster: Cluster | None) -> str:
    return f"{table}_local" if cluster else table


def on(cluster: Cluster | None) -> str:
    return f" ON CLUSTER '{cluster.name}'" if cluster else ""


def clustered(statement: str, cluster: Cluster, keys: Mapping[str, str], tables: Collection[str]) -> list[str]:
    """What does on `cluster` what `statement`, a CREATE, does on one server. `tables`: all that have a local part."""
    found = _CREATE.match(statement)
    if found is None:
        raise ValueError(f"only CREATE ... IF NOT EXISTS can be given to a cluster, not {statement[:60]!r}")
    kind, name = found[2], found[3]
    if kind != "VIEW":
        ours = re.compile(rf"\b({'|'.join(map(re.escape, tables))})\b")
        statement = ours.sub(lambda match: local(match[0], cluster), statement)
    statement = _CREATE.sub(lambda match: f"{match[0]}{on(cluster)}", statement, count=1)
    if kind != "TABLE":
        return [statement]
    target = f"Distributed('{cluster.name}', '{cluster.database}', {local(name, cluster)}, {keys.get(name, 'rand()')})"
    everywhere = f"CREATE TABLE IF NOT EXISTS {name}{on(cluster)} AS {local(name, cluster)} ENGINE = {target}"
    return [replicated(statement, REPLICA), everywhere]


def replicated(statement: str, path: str) -> str:
    def engine(match: re.Match[str]) -> str:
        arguments = f"{path}, {match[2]}" if match[2] else path
        return f"ENGINE = Replicated{match[1]}({arguments})\n"

    return _ENGINE.sub(engine, statement).replace(
        "non_replicated_deduplication_window", "replicated_deduplication_window"
    )
