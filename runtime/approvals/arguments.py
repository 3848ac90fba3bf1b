"""Arguments that a person gives in place of the model's, checked against the schema that the model was given."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, get_type_hints

from agno.agent import Agent
from agno.team import Team
from agno.tools import Function, Toolkit
from agno.utils.string import generate_id_from_name
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from runtime.components import parts
from runtime.problems import Problem


def changed(
    components: Iterable[Any], owner_id: str, tool: str, asked: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """What was asked with what is given in its place. Raises a 422 Problem that names the argument.

    `components`: what is served; `owner_id`: the agent or team that called the tool.
    """
    function = function_of(components, owner_id, tool)
    if function is None:
        detail = f"{owner_id} has no tool {tool} here that the arguments could be checked against"
        raise Problem(422, detail, field="arguments")
    schema = function.parameters
    known = schema.get("properties", {})
    for name in given:
        if name not in known and schema.get("additionalProperties", False) is False:
            detail = f"{tool} has no argument {name}: it takes {', '.join(known) or 'none'}"
            raise Problem(422, detail, field=f"arguments.{name}")
    result = {**asked, **given}
    for error in Draft202012Validator(schema).iter_errors(result):
        _refuse(error.absolute_path, error.message)
    # agno's schemas say nothing of bounds and patterns, which the tool's own types may have
    for name, kind in _types(function).items():
        if name in given:
            try:
                TypeAdapter(kind).validate_python(given[name])
            except ValidationError as error:
                wrong = error.errors(include_url=False)[0]
                _refuse((name, *wrong["loc"]), wrong["msg"])
            except PydanticUserError:  # no type that can be checked
                continue
    return result


def function_of(components: Iterable[Any], owner_id: str, tool: str) -> Function | None:
    """The tool, with the schema of its arguments; None when no such tool is served."""
    for owner in parts(list(components)):
        if not isinstance(owner, Agent | Team):
            continue
        if owner.id == owner_id or (owner.name and generate_id_from_name(owner.name) == owner_id):
            for function in _functions(owner):
                if function.name == tool:
                    own = function.model_copy(deep=True)
                    own.process_entrypoint()
                    return own
    return None


def _refuse(path: Iterable[Any], message: str) -> NoReturn:
    where = ".".join(["arguments", *map(str, path)])
    raise Problem(422, f"{where}: {message}"[:500], field=where)


def _types(function: Function) -> dict[str, Any]:
    try:
        return get_type_hints(inspect.unwrap(function.entrypoint), include_extras=True) if function.entrypoint else {}
    except (NameError, TypeError):  # an annotation of names that are gone
        return {}


def _functions(owner: Agent | Team) -> Iterator[Function]:
    for tool in owner.tools if isinstance(owner.tools, list) else []:
        if isinstance(tool, Function):
            yield tool
        elif isinstance(tool, Toolkit):
            yield from tool.functions.values()
            yield from tool.async_functions.values()
        elif callable(tool):
            yield Function.from_callable(tool)
