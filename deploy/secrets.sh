#!/bin/sh
# Makes ./secrets (or the directory that is given): one file for each secret of compose.yaml, random, without a line end.
# A file that is there stays as it is. `make compose-up` runs it.
#
# Compose mounts the files as they are, and each container reads its own as another user. So the directory is its owner's
# alone, and the files in it can be read by whoever gets them mounted.
set -eu
directory=${1:-secrets}
mkdir -p -m 700 "$directory"
chmod 700 "$directory"
cd "$directory"

hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

secret() { # name, value
  if [ ! -e "$1" ]; then
    (umask 077 && printf %s "$2" > "$1.new")
    mv "$1.new" "$1"
    echo "made $directory/$1"
  fi
  chmod 444 "$1"
  case $(tail -c 1 "$1" | od -An -tx1) in
    *0a*) echo "$directory/$1 ends with a line end, which some would take for a part of it: remove it" >&2 && exit 1 ;;
  esac
}

# Letters in front: YAML takes a text like 12e34 for a number, and Phoenix wants a small letter and a digit.
for name in postgres_password database_password database_readonly_password phoenix_postgres_password \
  clickhouse_password clickhouse_readonly_password phoenix_secret phoenix_api_key os_security_key alerts_secret otlp_token; do
  secret $name "s1$(hex 24)"
done
secret phoenix_password "p1$(hex 8)"
secret grafana_password "g1$(hex 8)"
secret webhook_secret "whsec_$(head -c 32 /dev/urandom | base64 | tr -d '\n')"
# Whose alerts the runtime believes: as JSON, for it also holds the secrets of other sources (docs/webhooks.md).
secret webhook_secrets "{\"grafana\": \"$(cat alerts_secret)\", \"alertmanager\": \"$(cat alerts_secret)\"}"
# In capitals: variables of the runtime, which agents and libraries read.
secret OTEL_EXPORTER_OTLP_HEADERS "authorization=Bearer%20$(cat otlp_token)"
secret OPENAI_API_KEY ""
