"""Token counts as the GenAI conventions have them: what was cached is part of the input, reasoning of the output.

agno's models (3.1.10) fill their metrics as the APIs of their providers do.
"""

from typing import Any

Usage = tuple[int, int, int, int, int, int]  # input, output, total, cache read, cache written, reasoning

# Their input_tokens leave out what was read from or written to a cache; all others count it in, as OpenAI's do.
_WITHOUT_CACHED = {"anthropic", "awsbedrock", "azurefoundry", "vertexai"}
# Their output_tokens leave reasoning out; all others count it in.
_WITHOUT_REASONING = {"google"}


def reported(metrics: Any) -> Usage | None:
    """As agno's metrics have them, now; None when the provider reported none."""
    if metrics is None:
        return None
    given = int(getattr(metrics, "input_tokens", 0) or 0)
    answered = int(getattr(metrics, "output_tokens", 0) or 0)
    if not given and not answered:
        return None
    return (
        given,
        answered,
        int(getattr(metrics, "total_tokens", 0) or 0) or given + answered,
        int(getattr(metrics, "cache_read_tokens", 0) or 0),
        int(getattr(metrics, "cache_write_tokens", 0) or 0),
        int(getattr(metrics, "reasoning_tokens", 0) or 0),
    )


def conventional(provider: str, usage: Usage) -> Usage:
    """`provider` in lower case, as agno's model names it."""
    given, answered, total, read, written, reasoning = usage
    if provider in _WITHOUT_CACHED or read + written > given:  # more than there are: they cannot be among them
        given += read + written
    if provider in _WITHOUT_REASONING:
        answered += reasoning
    return given, answered, max(total, given + answered), read, written, reasoning
