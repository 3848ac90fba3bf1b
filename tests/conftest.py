"""What every test needs: no telemetry of agno's own, and no model key by accident."""

import os

os.environ["AGNO_TELEMETRY"] = "false"
for name in ("MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
    os.environ.pop(name, None)
