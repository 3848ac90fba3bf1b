"""Agents that do real work without a model: offline, a script calls their tools and writes their answer.

def script(prompt: str) -> Script:
    found = yield "agents_overview", {"minutes": 60}
    return f"{len(found['agents'])} agents ran."

agent = Agent(id="agent", model=model_or(script), tools=[*analytics.TOOLS])
"""

import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from agno.models.base import Model
from agno.models.message import Message

from runtime.models import default_model
from runtime.offline import DIRECTIVE, MARK, OfflineModel, Reply, last_turn

Call = tuple[str, dict[str, Any]]  # the tool's name and its arguments
Found = dict[str, Any]  # what it answered: a JSON object
Script = Generator[Call, Found, str]


class ToolFailed(Exception):
    """Raised within the script where it called the tool; the text is what the tool said. Uncaught, it is the answer."""


def model_or(script: Callable[[str], Script]) -> Model:
    """The model that the settings name; with none, one that follows the script. Raises models.UnknownModel."""
    model = default_model()
    return ScriptedModel(script=script) if isinstance(model, OfflineModel) else model


@dataclass
class ScriptedModel(OfflineModel):
    """Each call runs the script from its beginning, with what the turn's tools have answered: it keeps no state."""

    script: Callable[[str], Script] | None = None

    def reply(self, messages: list[Message], tools: Any, response_format: Any, tool_choice: Any, run: Any) -> Reply:
        prompt, turn = last_turn(messages)
        self._fail_on_demand(DIRECTIVE.findall(prompt), run)
        assert self.script is not None
        steps = self.script(DIRECTIVE.sub("", prompt).strip())
        results = [message for message in turn if message.role == "tool"]
        try:
            name, arguments = next(steps)
            for message in results:
                found = _found(message)
                name, arguments = steps.throw(found) if isinstance(found, ToolFailed) else steps.send(found)
        except StopIteration as end:
            return Reply(content=f"{MARK} {end.value}", seconds=self.pause(prompt))
        except ToolFailed as error:
            return Reply(content=f"{MARK} The tool {name} failed: {error}", seconds=self.pause(prompt))
        written = json.dumps(arguments)
        id = hashlib.sha256(f"{name}{written}{len(results)}{prompt}".encode()).hexdigest()[:24]
        call = {"id": f"call_{id}", "type": "function", "function": {"name": name, "arguments": written}}
        return Reply(tool_calls=[call], seconds=self.pause(prompt))


def _found(message: Message) -> Found | ToolFailed:
    text = message.get_content_string()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) and not message.tool_call_error else ToolFailed(text)
