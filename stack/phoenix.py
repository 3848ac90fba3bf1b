"""Arize Phoenix, as a process of its own (its licence is the Elastic License 2.0)."""

import sys

import httpx

from stack.health import require_ok
from stack.home import Home
from stack.process import Command

LOGIN = "admin@localhost"  # the account that Phoenix makes
_NEEDS_RESET = "{ viewer { passwordNeedsReset } }"
_CHANGE = "mutation($input: PatchViewerInput!) { patchViewer(input: $input) { user { passwordNeedsReset } } }"


def command(home: Home) -> Command:
    """PHOENIX_ADMIN_SECRET is a bearer token for OTLP and REST that needs no login first."""
    directory = home.path / "phoenix"
    directory.mkdir(mode=0o700, exist_ok=True)
    environment = dict(
        PHOENIX_WORKING_DIR=str(directory),
        PHOENIX_HOST="127.0.0.1",
        PHOENIX_PORT=str(home.ports["phoenix"]),
        PHOENIX_GRPC_PORT=str(home.ports["phoenix_grpc"]),  # binds all interfaces whatever PHOENIX_HOST says
        PHOENIX_ENABLE_AUTH="true",
        PHOENIX_SECRET=home.secrets.phoenix_secret,
        PHOENIX_ADMIN_SECRET=home.secrets.phoenix_api_key,
        PHOENIX_DEFAULT_ADMIN_INITIAL_PASSWORD=home.secrets.phoenix_password,
        PHOENIX_DISABLE_AGENT_ASSISTANT="true",
        PHOENIX_TELEMETRY_ENABLED="false",
        PHOENIX_ALLOW_EXTERNAL_RESOURCES="false",
    )
    return Command([sys.executable, "-m", "phoenix.server.main", "serve"], environment, nice=5)


def check(home: Home) -> None:
    require_ok(home.ports["phoenix"], "/healthz")


def keep_password(home: Home) -> None:
    """Phoenix asks for a new password at the first login. Changes it to itself, so that the one `up` prints holds.

    Raises httpx.HTTPError. Does nothing when the user has set another one.
    """
    password = home.secrets.phoenix_password
    with httpx.Client(base_url=home.phoenix_url, timeout=20, trust_env=False) as client:
        if client.post("/auth/login", json={"email": LOGIN, "password": password}).status_code == 401:
            return
        answer = client.post("/graphql", json={"query": _NEEDS_RESET}).raise_for_status().json()
        if answer["data"]["viewer"]["passwordNeedsReset"]:
            change = {"input": {"currentPassword": password, "newPassword": password}}
            client.post("/graphql", json={"query": _CHANGE, "variables": change}).raise_for_status()
