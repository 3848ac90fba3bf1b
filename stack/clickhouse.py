"""Configuration of the embedded ClickHouse server (stack.clickhouse_server runs it)."""

import hashlib
import os
import sys
from pathlib import Path
from xml.sax.saxutils import escape

SERVER_MEMORY = 2_000_000_000  # bytes; the server refuses queries beyond it
READER_MEMORY = 1_000_000_000  # bytes for one query of the read-only user
READER_SECONDS = 30  # a query of the read-only user is stopped after this
READER_ROWS = 1_000_000  # rows in one answer to the read-only user
QUERY_LOG_DAYS = 3

# What Grafana's ClickHouse plugin and the official clients ask before they show anything. system.query_log,
# processes and the like stay closed: they hold the texts of other users' queries.
READER_SYSTEM_TABLES = (
    "columns",
    "databases",
    "data_skipping_indices",
    "functions",
    "one",
    "numbers",
    "parts",
    "settings",
    "tables",
    "time_zones",
)

CONFIG = """\
<clickhouse>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{http_port}</http_port>
  <tcp_port>{tcp_port}</tcp_port>
  <users_config>users.xml</users_config>
  <timezone>UTC</timezone>
  <logger><level>warning</level></logger>

  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <max_concurrent_queries>100</max_concurrent_queries>
  <max_connections>512</max_connections>
  <!-- The defaults are gigabytes each; these hold weeks of marks and keep an idle server small. -->
  <mark_cache_size>67108864</mark_cache_size>
  <index_mark_cache_size>33554432</index_mark_cache_size>
  <primary_index_cache_size>67108864</primary_index_cache_size>
  <uncompressed_cache_size>33554432</uncompressed_cache_size>
  <vector_similarity_index_cache_size>0</vector_similarity_index_cache_size>
  <text_index_header_cache_size>16777216</text_index_header_cache_size>
  <text_index_postings_cache_size>33554432</text_index_postings_cache_size>
  <text_index_tokens_cache_size>16777216</text_index_tokens_cache_size>

  <!-- System tables must be granted one by one: query_log holds the texts of everybody's queries. -->
  <access_control_improvements>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
    <table_engines_require_grant>false</table_engines_require_grant>
  </access_control_improvements>

  <!-- Where BACKUP and RESTORE may write and read, beside the data. -->
  <storage_configuration><disks><backups><type>local</type><path>backups/</path></backups></disks></storage_configuration>
  <backups><allowed_disk>backups</allowed_disk></backups>

  <!-- The only system log: the engine makes none of the others unless they are named here. -->
  <query_log>
    <database>system</database>
    <table>query_log</table>
    <partition_by>event_date</partition_by>
    <ttl>event_date + INTERVAL {log_days} DAY DELETE</ttl>
    <flush_interval_milliseconds>7500</flush_interval_milliseconds>
    <max_size_rows>65536</max_size_rows>
    <reserved_size_rows>1024</reserved_size_rows>
    <buffer_size_rows_flush_threshold>32768</buffer_size_rows_flush_threshold>
  </query_log>
</clickhouse>
"""

USERS = """\
<clickhouse>
  <profiles>
    <default/>
    <writer>
      <!-- One span with a wrong clock must not have its whole batch refused, again and again. -->
      <throw_on_max_partitions_per_insert_block>0</throw_on_max_partitions_per_insert_block>
    </writer>
    <launcher>
      <!-- The server's own session is the user `default`, without a password, and the only one it may have. -->
      <max_sessions_for_user>1</max_sessions_for_user>
    </launcher>
    <reader>
      <readonly>2</readonly>
      <final>1</final>
      <do_not_merge_across_partitions_select_final>1</do_not_merge_across_partitions_select_final>
      <cancel_http_readonly_queries_on_client_close>1</cancel_http_readonly_queries_on_client_close>
      <max_execution_time>{seconds}</max_execution_time>
      <max_memory_usage>{reader_memory}</max_memory_usage>
      <max_result_rows>{rows}</max_result_rows>
      <max_concurrent_queries_for_user>50</max_concurrent_queries_for_user>
      <!-- A client may lower these. 0 would mean "no limit", so it is below the minimum. -->
      <constraints>
        <max_execution_time><min>0.001</min><max>{seconds}</max></max_execution_time>
        <max_memory_usage><min>1</min><max>{reader_memory}</max></max_memory_usage>
        <max_result_rows><min>1</min><max>{rows}</max></max_result_rows>
        <max_concurrent_queries_for_user><readonly/></max_concurrent_queries_for_user>
      </constraints>
    </reader>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>::1</ip></networks>
      <profile>launcher</profile><quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
        <query>GRANT FILE ON *.*</query>
        <query>GRANT CREATE TEMPORARY TABLE ON *.*</query>
      </grants>
    </default>
    <otel>
      <password_sha256_hex>{otel}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>writer</profile><quota>default</quota>
      <grants>
        <query>GRANT SELECT, INSERT, ALTER, CREATE, DROP, TRUNCATE, OPTIMIZE, SHOW ON otel*.*</query>
        <query>GRANT SELECT ON system.*</query>
        <query>GRANT CREATE TEMPORARY TABLE, KILL QUERY, SYSTEM FLUSH LOGS, SYSTEM VIEWS ON *.*</query>
        <query>GRANT BACKUP ON otel*.*</query>
        <query>GRANT READ, WRITE ON DISK</query>
      </grants>
    </otel>
    <readonly>
      <password_sha256_hex>{readonly}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>reader</profile><quota>default</quota>
      <grants>
        <query>GRANT SELECT ON otel*.*</query>
        <query>GRANT SELECT ON information_schema.*</query>
{system_grants}
      </grants>
    </readonly>
  </users>
</clickhouse>
"""


def prepare(
    directory: Path,
    *,
    http_port: int,
    tcp_port: int,
    otel_password: str,
    readonly_password: str,
    memory: int = SERVER_MEMORY,
) -> None:
    """Writes config.xml and users.xml into `directory` (made if missing, mode 0700); the data goes there too.

    `memory` is in bytes. Run before every start: the files follow the ports and passwords given here. The user
    `otel` may do everything in databases whose names begin with "otel", `readonly` may read them within limits.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = CONFIG.format(http_port=http_port, tcp_port=tcp_port, memory=memory, log_days=QUERY_LOG_DAYS)
    users = USERS.format(
        seconds=READER_SECONDS,
        reader_memory=READER_MEMORY,
        rows=READER_ROWS,
        otel=_sha256(otel_password),
        readonly=_sha256(readonly_password),
        system_grants="\n".join(
            f"        <query>GRANT SELECT ON system.{escape(table)}</query>" for table in READER_SYSTEM_TABLES
        ),
    )
    _write(directory / "config.xml", config)
    _write(directory / "users.xml", users)


def command(directory: Path) -> list[str]:
    """Runs the server on `directory` in the foreground; it logs to stderr and stops on SIGTERM."""
    return [sys.executable, "-m", "stack.clickhouse_server", str(directory)]


def _sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    """Replaces `path`, readable by the owner only from its first byte on."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
