"""A workflow: one step collects the day's events, the next one writes the digest."""

from agno.agent import Agent
from agno.workflow import Step, Workflow

from runtime.models import default_model

EVENTS = {
    "monday": ["two deployments", "one incident, 14 minutes"],
    "tuesday": ["no deployments", "a new record of 120 deliveries per second"],
}


def events_of(day: str) -> list[str]:
    """Lists the events of a day.

    Args:
        day: Monday or Tuesday; a sentence that contains one is enough.
    """
    return [event for name, events in EVENTS.items() if name in day.lower() for event in events]


collector = Agent(
    id="digest-collector",
    name="Digest collector",
    model=default_model(),
    tools=[events_of],
    instructions="List the events of the day that you are asked about.",
)
writer = Agent(
    id="digest-writer",
    name="Digest writer",
    model=default_model(),
    instructions="Write a digest of three sentences out of the events that you are given.",
)
digest = Workflow(
    id="digest",
    name="Digest",
    description="Collects the events of a day and writes a digest.",
    steps=[Step(name="collect", agent=collector), Step(name="write", agent=writer)],
)
