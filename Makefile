# `make up` starts everything on this machine, `make test` runs every test. Needs Python 3.11, 3.12 or 3.13 only:
# uv is put into .uv when it is not installed, and the rest comes from package registries.

PYTHON ?= python3
UV_VERSION := 0.13.8
ARGS ?=
# What upstream's own validators say of the files that others read: compose.yaml, Dockerfile, dashboards, alerts.
VALIDATORS := tests/unit/test_compose.py tests/unit/test_image.py tests/unit/dashboards

ifneq ($(shell command -v uv 2>/dev/null),)
UV := uv
else
UV := .uv/bin/uv
BOOTSTRAP := .uv/bin/uv
endif

# Where this is set, every process that starts compiles all that it imports anew: Phoenix takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help up down compose-up compose-down test check fmt generate

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(BOOTSTRAP) ## start the stack, send sample work, stay until Ctrl-C (make up ARGS=--detach: give the prompt back)
	@$(UV) run stack up --sample --timings $(ARGS)

down: $(BOOTSTRAP) ## stop the stack; the data stays in .stack
	@$(UV) run stack down

compose-up: ## start compose.yaml, once it is healthy give the prompt back (make compose-up ARGS="--profile prometheus")
	@docker compose version > /dev/null 2>&1 || { \
	  echo "make compose-up needs Docker with its plugin compose (2.24 or newer): https://docs.docker.com/compose/install" >&2; \
	  echo "Without Docker, make up starts the same as processes." >&2; exit 1; }
	@docker info > /dev/null 2>&1 || { echo "The Docker engine does not answer: docker info says why." >&2; exit 1; }
	@sh deploy/secrets.sh
	docker compose $(ARGS) up --build --detach --wait
	@echo "AgentOS http://$$(docker compose port runtime 7777)/docs (its key: secrets/os_security_key)"
	@echo "Grafana http://$$(docker compose port grafana 3000) (admin, secrets/grafana_password)"
	@echo "Phoenix http://$$(docker compose port phoenix 6006) (admin@localhost, secrets/phoenix_password)"

compose-down: ## stop what compose-up started; the data stays in volumes
	docker compose --profile "*" down

test: check ## check, then every test; the first time the collector is built, which takes minutes
	$(UV) run python -m stack.collector_build
	$(UV) run python -m tests.integration.telemetrygen
	$(UV) run pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder $(VALIDATORS:%=--ignore=%) $(ARGS)

check: $(BOOTSTRAP) ## what is cheap: lock file, format, lint, types, import rules, validators, known vulnerabilities
	$(UV) sync --locked
	$(UV) run ruff format --check
	$(UV) run ruff check
	$(UV) run mypy
	$(UV) run lint-imports
	$(UV) run python -m tests.validators.audit
	$(UV) run python -m tests.validators
	$(UV) run pytest --quiet $(VALIDATORS)

fmt: $(BOOTSTRAP) ## format, and fix what can be fixed
	$(UV) run ruff format
	$(UV) run ruff check --fix

generate: $(BOOTSTRAP) ## make again what is made from code: docs/metrics.md, prices.jsonl, dashboards
	$(UV) run python -m telemetry.reference > docs/metrics.md
	$(UV) run python -m telemetry.price_table > telemetry/prices.jsonl
	$(UV) run python -m dashboards.source

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet uv==$(UV_VERSION)
