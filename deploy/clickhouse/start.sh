#!/bin/sh
# Runs the server, whose configuration takes passwords as SHA-256 from the environment, with those that it is given as files.
set -eu
sha256() {
  tr -d '\n' < "${SECRETS_DIR:-/run/secrets}/$1" | sha256sum | cut -d ' ' -f 1
}
CLICKHOUSE_PASSWORD_SHA256=$(sha256 clickhouse_password)
CLICKHOUSE_READONLY_PASSWORD_SHA256=$(sha256 clickhouse_readonly_password)
export CLICKHOUSE_PASSWORD_SHA256 CLICKHOUSE_READONLY_PASSWORD_SHA256
exec "$@"
