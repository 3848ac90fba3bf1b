"""A team: a reporter collects the facts, an editor checks the tone, the leader puts the article together."""

from agno.agent import Agent
from agno.team import Team

from runtime.models import default_model

FACTS = {
    "harbour": "The harbour handled 41,000 containers last month, 6 % more than a year ago.",
    "library": "The library opens on Sundays from January on; lending stays free.",
}


def facts_about(topic: str) -> str:
    """Looks up the facts about a topic.

    Args:
        topic: One word, or a sentence that contains it.
    """
    found = [fact for name, fact in FACTS.items() if name in topic.lower()]
    return " ".join(found) or "Nothing is known about it."


def count_words(text: str) -> int:
    """Counts the words of a draft."""
    return len(text.split())


reporter = Agent(
    id="reporter",
    name="Reporter",
    role="Collects facts about a topic",
    model=default_model(),
    tools=[facts_about],
)
editor = Agent(
    id="editor",
    name="Editor",
    role="Checks the length in words and the tone of a draft",
    model=default_model(),
    tools=[count_words],
)
newsroom = Team(
    id="newsroom",
    name="Newsroom",
    description="Writes short articles.",
    model=default_model(),
    members=[reporter, editor],
    delegate_to_all_members=True,
)
