"""The command `stack replay`, as far as it goes without a stack."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stack.cli import app
from stack.replay import Pace, Result
from stack.runs import Calls
from stack.trajectories import Counts


def test_a_file_of_another_form_is_told_and_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_HOME", str(tmp_path / "home"))
    file = tmp_path / "file.json"
    file.write_text(
        '[{"traj": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [{"id": "1"}]}]}]'
    )
    said = CliRunner().invoke(app, ["replay", str(file)])
    assert said.exit_code == 2
    assert "entry 1, message 2: tool_calls[0].function: missing" in said.output
    assert not (tmp_path / "home").exists(), "it did not even look for a stack"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["replay", str(tmp_path / "nothing.json")])
    assert said.exit_code == 2 and "No such file" in said.output


def test_the_rate_spreads_the_deliveries_of_all_sessions() -> None:
    async def moments(rate: float | None) -> float:
        pace = Pace(rate)
        started = time.monotonic()
        await asyncio.gather(*(pace.wait() for _ in range(5)))
        return time.monotonic() - started

    assert 0.2 <= min(asyncio.run(moments(20.0)) for _ in range(3)) < 0.5
    assert min(asyncio.run(moments(None)) for _ in range(3)) < 0.05


def test_a_replay_is_complete_when_every_run_did_what_was_recorded() -> None:
    expected = Counts(sessions=1, runs=2, model_calls=3, tool_calls=Counter(find=1), tool_errors=1)
    calls = Calls(runs=2, model_calls=3, tool_calls=Counter(find=1), tool_errors=1)
    assert Result(expected, statuses=Counter(completed=2), calls=calls).complete()
    assert not Result(expected, statuses=Counter(completed=1, failed=1), calls=calls).complete()
    assert not Result(expected, statuses=Counter(completed=2), calls=Calls(2, 3, Counter(find=2), 1)).complete()
