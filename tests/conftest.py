"""What every test needs: no telemetry of agno's own, and no model key by accident."""

import os
from collections.abc import Generator

import pytest

os.environ["AGNO_TELEMETRY"] = "false"
for name in ("MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
    os.environ.pop(name, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was captured goes to another process, which cannot be sent half a surrogate pair."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report
