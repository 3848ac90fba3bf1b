"""What a ticket runs: a copy of the component it names, of the run's own."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agno.agent import Agent
from agno.agent._init import apply_filesystem_user_isolation
from agno.exceptions import ComponentRehydrationError
from agno.os import AgentOS
from agno.os.utils import get_agent_by_id_async, get_team_by_id_async, get_workflow_by_id_async
from agno.registry._reserved import RESERVED_MEMBER_IDS
from agno.team import Team
from fastapi import FastAPI

from runtime import mcp_tools

log = logging.getLogger(__name__)
Find = Callable[[str, str], Any | None]
_STORED: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "agent": get_agent_by_id_async,
    "team": get_team_by_id_async,
    "workflow": get_workflow_by_id_async,
}


class Resolver:
    """What agno's queue_lifespan (3.1.10) resolves, in its order, but for factories, which agent files cannot hold.

    `find(kind, id)`: a fresh copy of what the agent files define, or None.
    """

    def __init__(self, find: Find, agent_os: AgentOS, app: FastAPI) -> None:
        self._find = find
        self._os = agent_os
        self._app = app

    async def __call__(self, component_type: str, component_id: str, scope: dict[str, Any] | None = None) -> Any | None:
        """None: there is no such component (any more), and the ticket waits for a process that has it."""
        scope = scope or {}
        if component_id in RESERVED_MEMBER_IDS or scope.get("source") == "factory":
            return None
        # A ticket names its source: what is stored must not run in place of a file's, nor the other way round.
        if scope.get("source") == "db":
            component = await self._stored(component_type, component_id, scope)
        else:
            component = self._find(component_type, component_id)
        if isinstance(component, Agent) and (component.filesystem or component.tools):
            isolated = bool(getattr(self._app.state, "user_isolation_enabled", False))
            apply_filesystem_user_isolation(component, isolated)
        if isinstance(component, Team):
            component.store_member_responses = True  # a team that goes on after a pause reads them
        if component is not None:
            mcp_tools.disconnect(component)
        return component

    async def _stored(self, kind: str, component_id: str, scope: Mapping[str, Any]) -> Any | None:
        """A component that was made over AgentOS' API, as the one who sent the ticket may use it."""
        load = _STORED.get(kind)
        if load is None or self._os.db is None:
            return None
        try:
            return await load(
                component_id,
                None,
                db=self._os.db,
                registry=self._os.registry,
                version=scope.get("version"),
                create_fresh=True,
                user_id=scope.get("user_id"),
            )
        except ComponentRehydrationError as error:
            log.error("%s %r is stored with a configuration that cannot be used: %s", kind, component_id, error)
        except Exception as error:
            log.error("%s %r could not be loaded: %s", kind, component_id, error)
        return None
