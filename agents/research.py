"""Answers questions out of a small collection of notes, and names the note it used. Also those that GitHub sends."""

from agno.agent import Agent

from runtime.models import default_model
from runtime.triggers import Trigger

NOTES = {
    "N-1": "Spans carry the time of a step and its place in a trace.",
    "N-2": "A histogram counts how many values fall into each of its buckets.",
    "N-3": "An exemplar is a sample of a metric that carries the trace it came from.",
    "N-4": "A delivery that is sent twice must not be worked on twice.",
}


def search_notes(query: str) -> list[str]:
    """Finds the numbers of the notes that share words with the query, best first.

    Args:
        query: What to look for, in a few words.
    """
    words = set(query.lower().split())
    scores = {number: len(words & set(text.lower().rstrip(".").split())) for number, text in NOTES.items()}
    return sorted((number for number, score in scores.items() if score), key=lambda number: -scores[number])


def read_note(note_id: str) -> str:
    """Reads one note.

    Args:
        note_id: The note's number, such as N-3.
    """
    return NOTES.get(note_id.upper(), f"there is no note {note_id}")


research = Agent(
    id="research",
    name="Research",
    role="Finds and reads notes",
    model=default_model(),
    tools=[search_notes, read_note],
    instructions=["Search the notes, read what fits, then answer in three sentences.", "Name the notes you used."],
    add_history_to_context=True,
    num_history_runs=2,
)

# POST /api/sources/github: an issue that somebody labels "question". All that is said in it later is one conversation.
on_question = Trigger(
    to=research,
    source="github",
    when={"event": "issues", "action": "labeled", "label.name": "question"},
    prompt="{{ body.issue.title }}\n\n{{ body.issue.body }}",
    session_id="github-{{ body.repository.full_name }}-{{ body.issue.number }}",
    user_id="github-{{ body.sender.login }}",
)
