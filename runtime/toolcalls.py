"""Which tool the offline model calls for a prompt, with arguments that are valid by the tool's JSON schema."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

IDENTIFIER = re.compile(r"\b(?=[\w-]*\d)[A-Za-z]+[-_]?[\w-]*\d\w*\b")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
WORD = re.compile(r"[a-z]{3,}")
DELEGATION = "delegate_task_to_members"  # agno's tool with which a team's leader asks every member


def pick_tool(
    tools: Sequence[Mapping[str, Any]], prompt: str, wanted: Sequence[str], called: Sequence[str]
) -> str | None:
    """The tools that the prompt names, in order; else, once per turn, the one that shares most words."""
    names = [tool["function"]["name"] for tool in tools if "function" in tool]
    if wanted:
        remaining = wanted[len(called) :]
        return remaining[0] if remaining else None
    if called:
        return None
    if DELEGATION in names:
        return DELEGATION
    words = {stem(word) for word in WORD.findall(prompt.lower())}
    score, best = max(
        ((len(words & {stem(word) for word in WORD.findall(name.lower())}), name) for name in sorted(names)),
        key=lambda entry: entry[0],
        default=(0, None),
    )
    return best if score else None


def stem(word: str) -> str:
    return word.rstrip("s")


def example(schema: Mapping[str, Any], prompt: str) -> Any:
    """A value that the schema accepts, taken from the prompt where something there fits."""
    return _value(schema, schema.get("$defs", {}), "", prompt)


def _value(schema: Mapping[str, Any], definitions: Mapping[str, Any], name: str, prompt: str) -> Any:
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions, name, prompt)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        said = [value for value in schema["enum"] if str(value).lower() in prompt.lower()]
        return (said or schema["enum"])[0]
    for choice in schema.get("anyOf", schema.get("oneOf", [])):
        if choice.get("type") != "null":
            return _value(choice, definitions, name, prompt)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if entry != "null"), "null")
    if kind == "object":
        required = schema.get("required", list(schema.get("properties", {})))
        properties = schema.get("properties", {})
        return {key: _value(properties.get(key, {}), definitions, key, prompt) for key in required}
    if kind == "array":
        return [_value(schema.get("items", {}), definitions, name, prompt)] * max(1, schema.get("minItems", 1))
    if kind in ("integer", "number"):
        return _number(schema, kind, prompt)
    return _text(schema, name, prompt) if kind == "string" else {"boolean": True}.get(kind)


def _number(schema: Mapping[str, Any], kind: str, prompt: str) -> float | int:
    low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    said = [float(number) for number in NUMBER.findall(IDENTIFIER.sub("", prompt))]
    fitting = [number for number in said if low <= number <= high] or [float(schema.get("minimum", 1))]
    return int(fitting[0]) if kind == "integer" else fitting[0]


def _text(schema: Mapping[str, Any], name: str, prompt: str) -> str:
    """An identifier from the prompt for `order_id` and its like; else the prompt itself, cut to length."""
    if name.endswith(("id", "number", "code")) and (found := IDENTIFIER.search(prompt)):
        return found.group()
    text = prompt or name or "text"
    return text[: schema.get("maxLength", 500)].ljust(schema.get("minLength", 0), ".")
