"""Triggers: declared in an agent file, beside the agent, they say which deliveries become its runs, and how.

    on_issue = Trigger(
        to=support,
        source="github",
        when={"event": "issues", "action": ["opened", "reopened"]},
        prompt="{{ body.issue.title }}\n\n{{ body.issue.body or '' }}",
        session_id="github-{{ body.repository.full_name }}-{{ body.issue.number }}",
        user_id="{{ body.sender.login }}",
    )

Of all triggers of a source, in the order of file names and of lines, the first whose `when` matches wins.
"""

import inspect
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runtime.payload import MAX_NAME, Payload, check
from runtime.problems import Problem

log = logging.getLogger(__name__)

WEBHOOK = "webhook"  # the source of POST /api/webhooks/{id}
SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
EVENT_HEADERS = ("x-github-event", "x-gitlab-event", "x-gitea-event", "x-event-key")
EVENT_FIELDS = ("webhookEvent", "type")  # Jira; Standard Webhooks
MAX_PRIORITY = 32_767  # a smallint
_SECRETIVE = re.compile("authorization|signature|token|secret|cookie|api-?key")


@dataclass(frozen=True)
class Delivered:
    """A delivery whose signature holds, as functions and templates see it.

    `event` is what the sender calls it (X-GitHub-Event and its like, else the body's webhookEvent or type), `headers`
    have lower-case names and no secrets, `body` is the JSON object or the fields of the form.
    """

    source: str
    event: str | None
    delivery_id: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


Text = str | Callable[[Delivered], str | None] | None
When = Mapping[str, str | Sequence[str]] | Callable[[Delivered], bool]


@dataclass(frozen=True, eq=False)
class Trigger:
    """`to` is an agent, team or workflow, or its id. Raises TypeError or ValueError when it cannot work.

    `source` is the last part of POST /api/sources/{source}; "webhook" shapes what POST /api/webhooks/{id} takes.
    `when`: dotted paths of the body (`alerts.0.status`), or "event", each with the text it must be, or a list of
    them; all must match; nothing matches everything. Or a function of a Delivered.
    `prompt`, `session_id`, `user_id`: a Jinja2 template over `body`, `event`, `headers`, `source` and `delivery_id`, or
    a function of a Delivered. None (also from the function): the default of the source.
    `priority`: higher runs first.
    """

    to: Any
    source: str = WEBHOOK
    when: When = field(default_factory=dict)
    prompt: Text = None
    session_id: Text = None
    user_id: Text = None
    priority: int = 0
    _texts: dict[str, Callable[[Delivered], str | None]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not SOURCE.fullmatch(self.source):
            raise ValueError(f"source {self.source!r} must be of a-z, 0-9, - and _, and at most 63 characters")
        if not isinstance(self.priority, int) or abs(self.priority) > MAX_PRIORITY:
            raise ValueError(f"priority must be a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
        _check_when(self.when)
        texts = {name: _compiled(name, getattr(self, name)) for name in ("prompt", "session_id", "user_id")}
        object.__setattr__(self, "_texts", {name: text for name, text in texts.items() if text is not None})

    @property
    def component_id(self) -> str:
        return str(self.to if isinstance(self.to, str) else self.to.id)

    def matches(self, delivered: Delivered) -> bool:
        """Raises a 422 Problem when the function of `when` fails."""
        if callable(self.when):
            try:
                return bool(self.when(delivered))
            except Exception as error:
                raise self._failed("when", error) from error
        return all(_text_at(delivered, path) in _listed(wanted) for path, wanted in self.when.items())

    def shape(self, delivered: Delivered, default: Payload) -> Payload:
        """What the run is given. Raises a 422 Problem that names the field whose template or function failed."""
        given = {name: self._given(name, text, delivered) for name, text in self._texts.items()}
        prompt = given.get("prompt")
        return Payload(
            default.input if prompt is None else prompt,
            given.get("session_id") or default.session_id,
            given.get("user_id") or default.user_id,
            default.metadata,
        )

    def _given(self, name: str, text: Callable[[Delivered], str | None], delivered: Delivered) -> str | None:
        try:
            value = text(delivered)
        except Exception as error:
            raise self._failed(name, error) from error
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._problem(name, f"gave {type(value).__name__}, not text")
        check(value, name)
        if name != "prompt" and not 0 < len(value) <= MAX_NAME:
            raise self._problem(name, f"gave {len(value)} characters; it must be 1 to {MAX_NAME}")
        return value

    def _failed(self, name: str, error: Exception) -> Problem:
        """The sender learns what a template misses, of a function's error only the kind; the log has all of it."""
        ours = isinstance(error, TemplateError)
        problem = self._problem(name, f"failed on this delivery: {error if ours else type(error).__name__}")
        log.warning("%s", problem, exc_info=None if ours else error)
        return problem

    def _problem(self, name: str, why: str) -> Problem:
        detail = f"the {name} of the trigger {self.source} -> {self.component_id} {why}"
        return Problem(422, detail, field=name, trigger=f"{self.source} -> {self.component_id}")


def event_of(headers: Mapping[str, str], body: Mapping[str, Any]) -> str | None:
    """What the sender calls this kind of delivery."""
    found = next((headers[name] for name in EVENT_HEADERS if name in headers), None)
    if found is None:
        found = next((body[name] for name in EVENT_FIELDS if isinstance(body.get(name), str)), None)
    return found


def open_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that are no secret, with lower-case names."""
    return {name.lower(): value for name, value in headers.items() if not _SECRETIVE.search(name.lower())}


class _Sandbox(ImmutableSandboxedEnvironment):
    def getattr(self, obj: Any, attribute: str) -> Any:
        """`body.items` is the field of that name where there is one, not the method of Python's dict."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _final(value: Any) -> Any:
    """What JSON has is shown as JSON has it; null as nothing."""
    if value is None:
        return ""
    return _json(value) if isinstance(value, bool | dict | list) else value


_templates = _Sandbox(undefined=StrictUndefined, finalize=_final, autoescape=False)
_templates.filters["tojson"] = _json  # Jinja's own escapes for HTML


def _compiled(name: str, text: Text) -> Callable[[Delivered], str | None] | None:
    if text is None:
        return None
    if isinstance(text, str):
        return _template(name, text)
    _check_function(name, text)
    return text


def _template(name: str, text: str) -> Callable[[Delivered], str]:
    try:
        parsed = _templates.parse(text)
        unknown = meta.find_undeclared_variables(parsed) - {f.name for f in fields(Delivered)}
        if unknown:
            raise ValueError(f"{name}: a template knows nothing called {', '.join(sorted(unknown))}")
        if any(True for _ in meta.find_referenced_templates(parsed)):
            raise ValueError(f"{name}: a template cannot use other templates")
        template = _templates.from_string(text)
    except TemplateSyntaxError as error:
        raise ValueError(f"{name}, line {error.lineno}: {error.message}") from None
    return lambda delivered: template.render(vars(delivered))


def _check_function(name: str, given: Any) -> None:
    if not callable(given):
        raise TypeError(f"{name} must be a template or a function, not {type(given).__name__}")
    if inspect.iscoroutinefunction(given):
        raise TypeError(f"{name} must be a plain function, not an async one: it is called in the webhook's path")


def _check_when(when: Any) -> None:
    if not isinstance(when, Mapping):
        _check_function("when", when)
        return
    for path, wanted in when.items():
        if not isinstance(path, str) or not all(isinstance(text, str) for text in _listed(wanted)):
            raise TypeError(f"when[{path!r}] must be a text or a list of texts, by a dotted path")


def _listed(wanted: Any) -> Sequence[Any]:
    if isinstance(wanted, str):
        return [wanted]
    return wanted if isinstance(wanted, list | tuple) else [None]


def _text_at(delivered: Delivered, path: str) -> str | None:
    """The value at a dotted path of the body, as text; None where there is none, an object, or an array."""
    if path == "event":
        return delivered.event
    value: Any = delivered.body
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    if value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else _json(value)
