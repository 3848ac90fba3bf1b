"""agno's records of approvals, kept by our store: one for each tool call, so that each is decided on its own.

agno 3.1.10 makes one record for all calls of a turn and puts its id on them; `install` gives each call its own. agno's
continue, gate and Slack interface then find the record of the call, as they do for a single one. And the arguments of
what is executed are those that were approved.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid5

from agno.db.postgres import PostgresDb
from agno.models.base import Model
from agno.models.response import ToolExecution
from agno.run import approval as agno_approval
from agno.run.authorization import authorization_snapshot
from agno.run.base import RunStatus
from agno.tools import Function
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runtime.approvals.store import Asked, Decision, Store
from telemetry import runs

log = logging.getLogger(__name__)
_replaced: list[tuple[Any, str, Any]] = []
_ENDED = (RunStatus.completed, RunStatus.error, RunStatus.cancelled)


class Records(PostgresDb):
    """agno's database with our store of approvals; without one, all is as agno has it."""

    approvals: Store | None = None

    def create_approval(self, approval_data: dict[str, Any]) -> dict[str, Any]:
        if self.approvals is None or approval_data["status"] != "pending":
            return super().create_approval(approval_data)
        self.approvals.create(_by_call(approval_data), _asked(approval_data))
        return approval_data

    def update_approval(
        self, approval_id: str, expected_status: str | None = None, **kwargs: Any
    ) -> dict[str, Any] | None:
        """agno's own doors (POST /approvals/{id}/resolve, Slack) decide as ours do: the run goes on."""
        status = kwargs.get("status")
        if self.approvals is None or expected_status != "pending" or status not in ("approved", "rejected"):
            return super().update_approval(approval_id, expected_status, **kwargs)
        data = kwargs.get("resolution_data") or {}
        reason = next((str(data[key]) for key in ("reason", "note", "feedback") if data.get(key)), None)
        decision = Decision(status, "agno", kwargs.get("resolved_by"), reason, data=data)
        return self.approvals.decide(approval_id, decision)

    def update_approval_run_status(self, run_id: str, run_status: RunStatus) -> int:
        if self.approvals is not None and run_status in _ENDED:
            self.approvals.withdraw(run_id)
        return super().update_approval_run_status(run_id, run_status)

    def get_approvals(self, **filters: Any) -> tuple[list[dict[str, Any]], int]:  # type: ignore[override]
        """Of a run also what its members and steps asked for: agno's continue is closed while one of them waits."""
        found, total = super().get_approvals(**filters)
        run_id = filters.get("run_id")
        if total or run_id is None or self.approvals is None:
            return found, total
        own = [record for i in self.approvals.of_run(run_id) if (record := self.get_approval(i)) is not None]
        wanted = {k: v for k, v in filters.items() if v is not None and k not in ("run_id", "limit", "page")}
        own = [record for record in own if all(record.get(key) == value for key, value in wanted.items())]
        limit = filters.get("limit", 100)
        begin = (filters.get("page", 1) - 1) * limit
        return own[begin : begin + limit], len(own)


def install(store: Store) -> None:
    """Of this process, until `uninstall`. Raises RuntimeError when agno changed under us."""
    uninstall()
    for owner, name, ours in (
        (agno_approval, "_stamp_approval_id_on_tools", _stamp),
        (Model, "get_function_call_to_run_from_tool_execution", _call_with(store)),
    ):
        theirs = vars(owner).get(name)
        if theirs is None:
            raise RuntimeError(f"agno has no {owner.__name__}.{name} any more: this fits agno 3.1.10")
        _replaced.append((owner, name, theirs))
        setattr(owner, name, ours)


def uninstall() -> None:
    """Puts agno's own functions back."""
    while _replaced:
        setattr(*_replaced.pop())


def _call_with(store: Store) -> Callable[..., Any]:
    """What was approved is what is executed: also in a team, whose continue keeps the arguments that were asked for."""
    theirs = Model.get_function_call_to_run_from_tool_execution

    def call(model: Model, tool_execution: ToolExecution, functions: dict[str, Function] | None = None) -> Any:
        if tool_execution.approval_id is not None and tool_execution.confirmed:
            stored = store.get(tool_execution.approval_id)
            if stored is not None and stored.decision is not None and stored.decision.status == "approved":
                changed = stored.decision.arguments
                tool_execution.tool_args = changed if changed is not None else stored.record["tool_args"]
        return theirs(model, tool_execution, functions)

    return call


def id_of_call(approval_id: str, call_id: str | None) -> str:
    """The id of one tool call's record, of the id that agno made for the turn."""
    return str(uuid5(UUID(approval_id), call_id)) if call_id else approval_id


def _stamp(tools: list[Any] | None, requirements: list[Any] | None, approval_id: str) -> None:
    for call in [*(tools or ()), *(requirement.tool_execution for requirement in requirements or ())]:
        if call is not None and call.approval_type == "required" and call.approval_id is None:
            call.approval_id = id_of_call(approval_id, call.tool_call_id)


def _by_call(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """agno's record of a turn, as one for each call that needs approval."""
    calls = {
        call["tool_call_id"]: (requirement, call)
        for requirement in given.get("requirements") or ()
        if (call := requirement.get("tool_execution")) and call["approval_type"] == "required"
    }
    if not calls:
        yield given
    for call_id, (requirement, call) in calls.items():
        own_id = id_of_call(given["id"], call_id)
        yield {
            **given,
            "id": own_id,
            "tool_name": call["tool_name"],
            "tool_args": call["tool_args"],
            "requirements": [{**requirement, "tool_execution": {**call, "approval_id": own_id}}],
            "context": {**(given.get("context") or {}), "tool_names": [call["tool_name"]]},
        }


def _asked(given: dict[str, Any]) -> Asked:
    """The top run of those in progress here; the one that agno names when none is known."""
    run = runs.current()
    if run is None:
        kind = given["source_type"]
        component_id = given[f"{kind}_id"] or "unknown"
        return Asked(given["run_id"], 1, kind, component_id, authority=authorization_snapshot())
    top = run
    while top.parent is not None:
        top = top.parent
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(run.span))
    return Asked(
        top.run_id,
        int(top.ticket.get("attempt") or 1),
        top.kind,
        top.component_id,
        carrier.get("traceparent"),
        authorization_snapshot(),
    )
