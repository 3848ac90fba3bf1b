#!/bin/sh
# The server's configuration takes passwords as SHA-256 from the environment; Compose gives them as files.
set -eu
sha256() {
  tr -d '\n' < "/run/secrets/$1" | sha256sum | cut -d ' ' -f 1
}
CLICKHOUSE_PASSWORD_SHA256=$(sha256 clickhouse_password)
CLICKHOUSE_READONLY_PASSWORD_SHA256=$(sha256 clickhouse_readonly_password)
export CLICKHOUSE_PASSWORD_SHA256 CLICKHOUSE_READONLY_PASSWORD_SHA256
exec clickhouse-server --config-file=/etc/agents/config.xml
