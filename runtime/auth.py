"""Who may ask for what: the key or tokens in front of AgentOS and of our routes, and the scopes of ours."""

from agno.os.authz import Authorization
from fastapi import FastAPI

from runtime.doorway import Doorway
from runtime.settings import Settings

# Their senders sign, each in its way: these routes need neither key nor token.
SIGNED = ["/api/webhooks/*", "/api/sources/*"]

_ADMIN = ["agent_os:admin"]
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

# Scopes of our routes, in the words of AgentOS. It lets every token through to a path that it does not know, so the
# last entries close what the others do not name. The first match counts.
SCOPES: dict[str, list[str]] = {
    "GET /api/metrics": ["metrics:read"],
    "GET /api/telemetry": ["metrics:read"],
    "GET /api/runs/*": ["sessions:read"],
    "POST /approvals/*/approve": ["approvals:write"],  # as AgentOS' own resolve
    "POST /approvals/*/reject": ["approvals:write"],
    **{f"{method} /{part}/*": _ADMIN for part in ("admin", "api") for method in _METHODS},
}


def authorization(settings: Settings) -> Authorization | bool:
    """For AgentOS: tokens are verified and their scopes decide. False without tokens: then the key does, if any."""
    if not settings.uses_tokens:
        return False
    keys = [settings.jwt_verification_key] if settings.jwt_verification_key else None
    return Authorization(verification_keys=keys, jwks_file=settings.jwt_jwks_file, excluded_route_paths=SIGNED)


def protect(app: FastAPI, settings: Settings) -> None:
    """Completes AgentOS' own protection. Call it before the app starts."""
    app.state.scope_mappings.update(SCOPES)
    app.add_middleware(Doorway, settings=settings)
