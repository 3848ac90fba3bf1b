"""MCP tools of a run. A connection to an MCP server belongs to the event loop that made it, and AgentOS makes those of
its tools on the server's loop: on a lane they would hang. So each run gets unconnected tools, which agno connects when
the run begins and closes when it ends."""

from copy import copy
from typing import Any

from runtime.components import parts


def disconnect(component: Any) -> None:
    """Gives the agents and teams within a copy of a component MCP tools of their own, not connected yet."""
    for owner in parts(component):
        tools = getattr(owner, "tools", None)
        if isinstance(tools, list) and any(_is_mcp(tool) for tool in tools):
            owner.tools = [_unconnected(tool) if _is_mcp(tool) else tool for tool in tools]


def _is_mcp(tool: Any) -> bool:
    """By name, as agno does it: `mcp` need not be installed."""
    return any(each.__name__ == "MCPTools" for each in type(tool).__mro__)


def _unconnected(tool: Any) -> Any:
    """A copy, as MCPTools.__init__ of agno 3.1.10 leaves it. A session that the agent file made itself is kept."""
    fresh = copy(tool)
    if fresh._session_context is not None:
        fresh.session = None
    fresh._initialized = False
    fresh._connection_task = fresh._context = fresh._session_context = fresh._session_lock = None
    fresh._active_contexts = []
    fresh._run_sessions, fresh._run_session_contexts = {}, {}
    fresh.functions = type(tool.functions)()
    return fresh
