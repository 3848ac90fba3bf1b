"""What an agent may do with a tool: `Agent(tools=[allow(search), confirm(refund), deny(shell)])`.

Each takes a function, what agno's @tool makes of one, or a Toolkit (all of its functions), sync or async, and answers
one of its own: the tool that was given stays as it was.
"""

import copy
from collections.abc import Callable
from typing import Any

from agno.tools import Function, Toolkit

Tool = Callable[..., Any] | Function | Toolkit


class DeniedByPolicy(Exception):
    """The model asked for a tool that it may not use."""


def allow(tool: Tool) -> Tool:
    """The tool as it is."""
    return tool


def confirm(tool: Tool) -> Function | Toolkit:
    """The run pauses before the tool is executed, until a person approves or rejects the call."""
    return _each(tool, _confirmed)


def deny(tool: Tool) -> Function | Toolkit:
    """The model sees the tool, and hears that policy denies it when it calls it; nothing is executed."""
    return _each(tool, _denied)


def _each(tool: Tool, change: Callable[[Function], Function]) -> Function | Toolkit:
    if isinstance(tool, Toolkit):
        if not tool.functions and not tool.async_functions:
            # an MCP toolkit learns its functions when it connects: they would all pass unchanged
            raise ValueError(f"the toolkit {tool.name!r} has no functions yet: name its tools one by one")
        changed = copy.copy(tool)
        changed.functions = type(tool.functions)((n, change(f)) for n, f in tool.functions.items())
        changed.async_functions = type(tool.async_functions)((n, change(f)) for n, f in tool.async_functions.items())
        return changed
    if isinstance(tool, Function):
        return change(tool)
    if not callable(tool):
        raise TypeError(f"a tool is a function, agno's Function or a Toolkit, not {type(tool).__name__}")
    return change(Function(name=tool.__name__, entrypoint=tool))


def _confirmed(function: Function) -> Function:
    changed = function.model_copy()
    changed.requires_confirmation = True
    changed.approval_type = "required"  # agno keeps a record for these, which GET /approvals lists
    return changed


def _denied(function: Function) -> Function:
    changed = function.model_copy(deep=True)
    changed.process_entrypoint()  # the model gets the schema of the real one
    name = changed.name

    def denied(**_: Any) -> None:
        raise DeniedByPolicy(f"the tool {name} is denied by policy: do not call it again")

    changed.entrypoint = denied
    changed.skip_entrypoint_processing = True
    changed.pre_hook = changed.post_hook = changed.tool_hooks = None  # these are execution too
    changed.requires_confirmation = changed.requires_user_input = changed.external_execution = None
    changed.approval_type = None
    changed.cache_results = False
    return changed
