"""Every setting of the runtime. Nothing else in this package reads the environment. `.env.example` lists them."""

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from jwt import PyJWKSet, PyJWTError
from jwt.algorithms import RSAAlgorithm
from pydantic import Field, NonNegativeInt, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from runtime import signatures, throttle
from runtime.triggers import WEBHOOK
from telemetry import prices
from telemetry.configuration import Configuration


class Settings(Configuration):
    """What is secret may also be a file: telemetry.configuration."""

    PASSWORDS: ClassVar = {
        "database_url": "database_password",
        "database_read_url": "database_password",
        "clickhouse_url": "clickhouse_password",
        "clickhouse_readonly_url": "clickhouse_readonly_password",
    }

    database_url: str = Field(
        "postgresql://agents:agents@127.0.0.1:5432/agents",
        description="Postgres: sessions, runs, tickets, deliveries, spans.",
    )
    database_read_url: str | None = Field(
        None, description="A replica of it, for AgentOS' pages of sessions and traces. None: they read DATABASE_URL."
    )
    database_password: str | None = Field(None, description="The password of both, where the address has none.")
    agents_dir: Path = Field(Path("agents"), description="Directory of agent files, loaded by path.")
    runtime_host: str = Field("127.0.0.1", description="Address to listen on. Anything but loopback needs a key.")
    runtime_port: int = Field(7777, ge=0, le=65535, description="Port to listen on.")
    os_security_key: str | None = Field(None, description="Bearer key of everything but the signed webhooks.")
    jwt_verification_key: str | None = Field(None, description="Instead of the key: the public key of JWTs (RS256).")
    jwt_jwks_file: str | None = Field(None, description="Instead of the key: a file of the keys of JWTs (JWKS).")
    user_isolation: bool = Field(True, description="With JWTs: users see only what is theirs; agent_os:admin sees all.")

    webhook_secret: str | None = Field(
        None, description="Standard Webhooks secret (whsec_...). Without one every webhook is refused."
    )
    webhook_secrets: Annotated[dict[str, list[str]], NoDecode] = Field(
        {}, description='Secrets of sources, as JSON: {"github": "...", "grafana": ["new", "old"]}.'
    )
    webhook_rate: str = Field("1000/second", description="Deliveries that one source may send to this process.")
    webhook_max_bytes: int = Field(1_048_576, ge=1, description="Largest body of a webhook, in bytes.")
    request_max_bytes: int = Field(
        33_554_432, ge=1, description="Largest body of all else, uploads too, in bytes; without the key 1 MiB at most."
    )
    max_connections: int = Field(1000, ge=1, description="Connections that may be open; more are answered with 503.")
    delivery_retention_days: int = Field(7, ge=1, description="How long a delivery id is remembered.")
    queue_max_depth: int = Field(10_000, ge=1, description="Tickets that may wait; more are answered with 429.")
    run_concurrency: int = Field(8, ge=0, description="Runs executed at once by this process. 0: it executes none.")
    agent_concurrency: dict[str, NonNegativeInt] = Field(
        {}, description='Of one agent at most so many of them, by its id: {"researcher": 2}.'
    )
    run_max_attempts: int = Field(3, ge=1, description="Attempts of a run that failed or whose process died.")
    lease_seconds: int = Field(15, ge=3, description="A run whose process is not heard of for so long is another's.")
    drain_seconds: int = Field(10, ge=1, description="How long runs may go on after SIGTERM; less than the lease.")

    approval_timeout_seconds: int = Field(
        86_400, ge=1, description="After so long a call that nobody approved or rejected is rejected."
    )
    approval_webhook_secret: str | None = Field(
        None, description="Standard Webhooks secret (whsec_...) of notices about approvals. None: WEBHOOK_SECRET."
    )
    approval_webhook_url: str | None = Field(
        None, description="Where notices about approvals go: http or https. None: nothing is sent."
    )
    public_url: str | None = Field(
        None, description="What the links in notices begin with. None: http://RUNTIME_HOST:RUNTIME_PORT."
    )

    telemetry_mode: Literal["collector", "direct", "off"] = Field(
        "collector", description="Where telemetry goes: to a collector, to the stores directly, or nowhere."
    )
    telemetry_content: Literal["full", "truncated", "hashed", "off"] = Field(
        "full",
        description="What of prompts, answers and tool data is exported: all, its beginning, a hash, or nothing.",
    )
    telemetry_redact: str | None = Field(
        None,
        description="A function that is given each such text and answers what to export: path/to/file.py:function.",
    )
    otel_exporter_otlp_endpoint: str = Field(
        "http://127.0.0.1:4317", description="The collector (OTLP over gRPC), in collector mode."
    )
    otel_service_name: str = Field("agent-runtime", description="service.name, and the project in Phoenix.")
    deployment_environment: str = Field("local", description="deployment.environment.name of all telemetry.")
    clickhouse_url: str | None = Field(
        None, description="ClickHouse, in direct mode and to compare it with Postgres: http://user:password@host/otel."
    )
    clickhouse_password: str | None = Field(None, description="The password, when CLICKHOUSE_URL has a user and none.")
    clickhouse_readonly_url: str | None = Field(
        None, description="ClickHouse as a user who may only read, for agents that look at the telemetry."
    )
    clickhouse_readonly_password: str | None = Field(
        None, description="The password, when CLICKHOUSE_READONLY_URL has a user and none."
    )
    reconcile_seconds: int = Field(
        60, ge=0, description="How often ClickHouse's spans are compared with those in Postgres. 0: never."
    )
    phoenix_url: str | None = Field(None, description="Phoenix, in direct mode and for links.")
    phoenix_api_key: str | None = Field(None, description="Phoenix' key, in direct mode.")
    telemetry_prices: str | None = Field(
        None, description="A TOML file of models' prices, which win over the table's. None: only the table's."
    )
    dashboards_url: str | None = Field(None, description="The dashboards, of Grafana or of the page, for links.")

    model: str | None = Field(None, description="Model of the sample agents, such as openai:gpt-5. None: offline.")
    openai_api_key: str | None = Field(None, description="Key of OpenAI or of what OPENAI_BASE_URL names.")
    openai_base_url: str | None = Field(None, description="Any OpenAI-compatible server.")

    @field_validator("webhook_secret", "approval_webhook_secret")
    @classmethod
    def _is_secret(cls, secrets: str | None) -> str | None:
        """A secret that cannot be decoded would refuse every webhook. Several are separated by spaces."""
        for secret in (secrets or "").split():
            signatures.check_secret(WEBHOOK, secret)
        return secrets

    @field_validator("webhook_secrets", mode="before")
    @classmethod
    def _are_secrets(cls, given: Any) -> dict[str, list[str]]:
        return signatures.secrets_of(given)

    @field_validator("webhook_rate")
    @classmethod
    def _is_rate(cls, rate: str) -> str:
        throttle.rate_of(rate)
        return rate

    @field_validator("jwt_verification_key")
    @classmethod
    def _is_public_key(cls, key: str | None) -> str | None:
        """A key that cannot be read would refuse every token."""
        if key is not None:
            try:
                RSAAlgorithm(RSAAlgorithm.SHA256).prepare_key(key)
            except (ValueError, PyJWTError):
                raise ValueError("write it as PEM: -----BEGIN PUBLIC KEY----- ...") from None
        return key

    @field_validator("jwt_jwks_file")
    @classmethod
    def _has_keys(cls, path: str | None) -> str | None:
        if path is not None:
            try:
                PyJWKSet.from_dict(json.loads(Path(path).read_text()))
            except (OSError, ValueError, TypeError, AttributeError, PyJWTError) as error:
                raise ValueError(f"no keys can be read from {path}: {error}") from None
        return path

    @field_validator("clickhouse_url", "clickhouse_readonly_url")
    @classmethod
    def _leads_to_clickhouse(cls, url: str | None) -> str | None:
        if url is not None:
            from telemetry.clickhouse.client import options_of  # memory that it costs only who uses it

            options_of(url)
        return url

    @field_validator("telemetry_prices")
    @classmethod
    def _has_prices(cls, path: str | None) -> str | None:
        if path is not None:
            prices.read(Path(path))
        return path

    @field_validator("drain_seconds")
    @classmethod
    def _is_within_the_lease(cls, seconds: int, info: ValidationInfo) -> int:
        """A drain that outlives the lease would have another process begin what is about to end here."""
        if seconds >= info.data.get("lease_seconds", seconds + 1):
            raise ValueError("it must be less than LEASE_SECONDS")
        return seconds

    @field_validator("approval_webhook_url", "public_url")
    @classmethod
    def _is_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or any(c.isspace() for c in url):
            raise ValueError("write it as https://host/path")
        if info.field_name == "approval_webhook_url":
            if not (info.data.get("approval_webhook_secret") or info.data.get("webhook_secret")):
                raise ValueError("notices are signed: set APPROVAL_WEBHOOK_SECRET or WEBHOOK_SECRET")
            return url
        return url.rstrip("/")

    @property
    def is_protected(self) -> bool:
        """Whether AgentOS asks for a key or a token."""
        return bool(self.os_security_key or self.uses_tokens)

    @property
    def uses_tokens(self) -> bool:
        """Whether JWTs are asked for; the key is then ignored."""
        return bool(self.jwt_verification_key or self.jwt_jwks_file)


@cache
def settings() -> Settings:
    """The settings of this process, read once. Raises pydantic.ValidationError, which names the variable."""
    return Settings()
