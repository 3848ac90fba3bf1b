"""What can run: agno's agents, teams and workflows, checked for what would only show when they run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agno.agent import Agent
from agno.team import Team
from agno.utils.string import generate_id_from_name
from agno.workflow import Workflow

_NESTED = ("agent", "team", "members", "steps", "else_steps", "choices", "workflow")
KINDS: dict[type, str] = {Agent: "agent", Team: "team", Workflow: "workflow"}


@dataclass(frozen=True)
class Component:
    """Something that can run: `kind` is agent, team or workflow, `value` agno's object, `file` where it is defined."""

    id: str
    kind: str
    value: Any
    file: Path


def component(value: Any, file: Path) -> Component:
    """Gives it an id when it has only a name. Raises ValueError when it, or one within it, cannot run as it should."""
    kind = next(kind for cls, kind in KINDS.items() if isinstance(value, cls))
    if not value.id and not value.name:
        raise ValueError(f"one {kind} has neither an id nor a name")
    if not value.id:
        value.id = generate_id_from_name(value.name)
    for inner in _within(value, set()):
        if inner.model is None:
            inner_kind = "team" if isinstance(inner, Team) else "agent"
            place = "" if inner is value else f" in {kind} {value.id!r}"
            name = inner.id or inner.name
            raise ValueError(f"{inner_kind} {name!r}{place} has no model: give it one, or agno takes OpenAI's")
    return Component(value.id, kind, value, file)


def parts(value: Any) -> Iterator[Any]:
    """`value` and all that is nested in it, each once: members, steps of any kind and what they run."""
    return _parts(value, set())


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item, seen)
    elif hasattr(value, "__dict__"):
        yield value
        for name in _NESTED:
            nested = vars(value).get(name)
            if nested is not None and not isinstance(nested, str):
                yield from _parts(nested, seen)


def _within(value: Any, seen: set[int]) -> Iterator[Any]:
    """The agents and teams that need a model of their own: members of a team that are agents take the team's."""
    if id(value) in seen:  # containers can hold each other
        return
    seen.add(id(value))
    if isinstance(value, Agent | Team):
        yield value
    if isinstance(value, Team):
        members = value.members if isinstance(value.members, list) else []
        for member in members:
            if isinstance(member, Team):
                yield from _within(member, seen)
        return
    if isinstance(value, list | tuple):
        for item in value:
            yield from _within(item, seen)
        return
    # A workflow, a step, or what holds steps: Steps, Loop, Parallel, Condition, Router.
    for name in ("agent", "team", "workflow", "steps", "else_steps", "choices"):
        inner = getattr(value, name, None)
        if inner is not None and not callable(inner) and not isinstance(value, Agent):
            yield from _within(inner, seen)
