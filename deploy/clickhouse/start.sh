#!/bin/sh
# Runs the server, whose configuration takes passwords as SHA-256 from the environment, with those that it is given as files.
set -eu
sha256() {
  password=$(cat "${SECRETS_DIR:-/run/secrets}/$1")
  if [ -z "$password" ]; then echo "the secret $1 is empty" >&2 && return 1; fi
  printf %s "$password" | sha256sum | cut -d ' ' -f 1
}
CLICKHOUSE_PASSWORD_SHA256=$(sha256 clickhouse_password)
CLICKHOUSE_READONLY_PASSWORD_SHA256=$(sha256 clickhouse_readonly_password)
export CLICKHOUSE_PASSWORD_SHA256 CLICKHOUSE_READONLY_PASSWORD_SHA256
exec "$@"
