#!/bin/sh
# Runs a program that reads the environment only with the secrets that it is given as files: the file
# /run/secrets/grafana_webhook_secret is its variable GRAFANA_WEBHOOK_SECRET. As with-secrets.py.
set -eu
for file in "${SECRETS_DIR:-/run/secrets}"/*; do
  name=$(basename "$file" | tr '[:lower:]' '[:upper:]')
  value=$(cat "$file")
  export "$name=$value"
done
exec "$@"
