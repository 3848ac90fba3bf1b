"""Where a delivery goes: the agent that was named, or what the first trigger that wants it says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from runtime import payload
from runtime.components import Component
from runtime.payload import Body, Payload
from runtime.problems import Problem
from runtime.registry import Registry
from runtime.triggers import WEBHOOK, Delivered, event_of, open_headers


@dataclass(frozen=True, slots=True)
class Run:
    """One that is to be: of what, with what, and how urgent (higher runs first)."""

    component: Component
    payload: Payload
    priority: int = 0


def to_component(registry: Registry, id: str, delivery_id: str, headers: Mapping[str, str], body: Body) -> Run:
    """For POST /api/webhooks/{id}. The component's own triggers, if any wants it, shape what the run is given.

    Raises a Problem: 404 with the nearest id, or 422.
    """
    component = registry.components.get(id)
    if component is None:
        raise unknown("agent, team or workflow", id, registry.components)
    default = payload.default(body)
    triggers = [trigger for trigger in registry.triggers.get(WEBHOOK, ()) if trigger.component_id == id]
    if triggers:
        delivered = _delivered(WEBHOOK, delivery_id, headers, body)
        trigger = next((trigger for trigger in triggers if trigger.matches(delivered)), None)
        if trigger is not None:
            return Run(component, trigger.shape(delivered, default), trigger.priority)
    return Run(component, default)


def to_trigger(registry: Registry, source: str, delivery_id: str, headers: Mapping[str, str], body: Body) -> Run | None:
    """For POST /api/sources/{source}. None when no trigger wants the delivery.

    Raises a Problem: 404 with the nearest source that has triggers, or 422 from a trigger.
    """
    triggers = registry.triggers.get(source, ())
    if not triggers:
        raise unknown_source(registry, source)
    delivered = _delivered(source, delivery_id, headers, body)
    default = payload.default_of(source, delivery_id, body)
    components = registry.components
    for trigger in triggers:
        component = components.get(trigger.component_id)
        if component is not None and trigger.matches(delivered):
            return Run(component, trigger.shape(delivered, default), trigger.priority)
    return None


def unknown_source(registry: Registry, source: str) -> Problem:
    return unknown("trigger for the source", source, [name for name in registry.triggers if name != WEBHOOK])


def unknown(what: str, name: str, known: Iterable[str]) -> Problem:
    near = get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Problem(404, f"there is no {what} {name!r}{hint}", nearest=near[0] if near else None)


def _delivered(source: str, delivery_id: str, headers: Mapping[str, str], body: Body) -> Delivered:
    return Delivered(source, event_of(headers, body.content), delivery_id, open_headers(headers), body.content)
