"""Where the page's alerts go: to the runtime's source `alertmanager`, unless the user names another receiver.

A Grafana beside the stack sends its own to the source `grafana`, with the same secret (docs/grafana.md).
"""

import json
from typing import Any

from pydantic_settings import BaseSettings, SettingsConfigDict

from stack.home import Home
from stack.process import PROJECT

SOURCE = "alertmanager"
LET_IN = (SOURCE, "grafana")


class Given(BaseSettings):
    """What the user has set, in the environment or in the `.env` that the services read."""

    model_config = SettingsConfigDict(env_file=PROJECT / ".env", extra="ignore", env_ignore_empty=True)

    webhook_secrets: str = ""
    alert_webhook_url: str = ""
    alert_webhook_secret: str = ""


def webhook_secrets(home: Home) -> str:
    """WEBHOOK_SECRETS of the runtime: the user's, and the secret of the stack's own alerts."""
    given = Given().webhook_secrets
    try:
        secrets: dict[str, Any] = dict(json.loads(given or "{}"))
        for source in LET_IN:
            theirs = secrets.get(source, [])
            secrets[source] = [*(theirs.split() if isinstance(theirs, str) else theirs), home.secrets.alerts]
    except (ValueError, TypeError):
        return given  # the runtime says what is wrong with it
    return json.dumps(secrets)


def receiver(home: Home) -> dict[str, str]:
    """ALERT_WEBHOOK_* of the page. Our secret is for the runtime only."""
    given = Given()
    if given.alert_webhook_url:
        return {"ALERT_WEBHOOK_URL": given.alert_webhook_url, "ALERT_WEBHOOK_SECRET": given.alert_webhook_secret}
    return {
        "ALERT_WEBHOOK_URL": f"{home.runtime_url}/api/sources/{SOURCE}",
        "ALERT_WEBHOOK_SECRET": home.secrets.alerts,
    }
