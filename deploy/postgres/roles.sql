-- Roles and databases, for psql as the superuser of a new server; the image of Postgres runs it once. The passwords are files.
-- `agents` owns what the runtime writes. `agents_readonly` is Grafana's; `python -m runtime migrate` lets it read.
\if :{?secrets}
\else
  \set secrets /run/secrets
\endif
\set password `cat :secrets/database_password`
\set readonly_password `cat :secrets/database_readonly_password`
\set phoenix_password `cat :secrets/phoenix_postgres_password`

CREATE ROLE agents LOGIN PASSWORD :'password';
CREATE ROLE agents_readonly LOGIN PASSWORD :'readonly_password' CONNECTION LIMIT 20;
ALTER ROLE agents_readonly SET default_transaction_read_only = on;
ALTER ROLE agents_readonly SET statement_timeout = '30s';
CREATE ROLE phoenix LOGIN PASSWORD :'phoenix_password' CONNECTION LIMIT 50;

CREATE DATABASE agents OWNER agents;
CREATE DATABASE phoenix OWNER phoenix;
REVOKE CONNECT ON DATABASE agents, phoenix FROM PUBLIC;
GRANT CONNECT ON DATABASE agents TO agents_readonly;

\connect agents
CREATE EXTENSION vector;
CREATE EXTENSION pg_stat_statements;
