"""Recorded conversations for tests: the file named by TRAJECTORIES, else a small one made here, of the same form."""

import json
import os
from pathlib import Path
from typing import Any


def file(directory: Path) -> Path:
    """The path of the recordings; made in `directory` when TRAJECTORIES names none."""
    if given := os.environ.get("TRAJECTORIES"):
        return Path(given)
    path = directory / "conversations.json"
    path.write_text(json.dumps([{"traj": conversation(n)} for n in range(1, 13)]))
    return path


def conversation(number: int) -> list[dict[str, Any]]:
    """System message, then turns with none, one and two tool calls; the last turn is left unanswered."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You book trains. " * 40}]
    for turn in range(number % 5 + 3):
        messages.append({"role": "user", "content": f"Question {turn} of traveller {number}"})
        for call in range(turn % 3):
            call_id = f"call_{number}_{turn}_{call}"
            name = "find_train" if call == 0 else "book_seat"
            function = {"name": name, "arguments": json.dumps({"number": turn})}
            result = "Error: no seat is left" if (turn, call) == (2, 1) else f"train {turn}"
            messages += [
                {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}]},
                {"role": "tool", "tool_call_id": call_id, "name": name, "content": result},
            ]
        messages.append({"role": "assistant", "content": f"Answer {turn}"})
    return [*messages, {"role": "user", "content": "###STOP###"}]
