"""A paused run goes on in the queue, with what was decided: as agno's own continue endpoints would have it."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from agno.db.base import BaseDb
from agno.db.schemas.jobs import QueuedJob
from agno.os.event_streams import get_event_stream
from agno.os.job_queue import QueueWorker, wake_queue_worker
from agno.run.authorization import AUTHORIZATION_KEY
from agno.run.base import RunStatus
from agno.run.requirement import RunRequirement

from runtime.approvals.store import Decision, Waiting

log = logging.getLogger(__name__)
_ENDED = (RunStatus.completed, RunStatus.error, RunStatus.cancelled)


class NotOurs(Exception):
    """The run waits for something that no approval decides; the text says for what."""


async def go_on(waiting: Waiting, database: BaseDb, worker: QueueWorker) -> bool:
    """False: not yet, its ticket is still on its way to where it waits. Raises what an absent Postgres raises.

    Idempotent: the ticket is put back only while it is paused, and only if its run waits for one of the decisions.
    """
    job = await worker.store.get_job(waiting.run_id, strict=True)
    if job is not None and job["status"] in ("queued", "running"):
        return bool((job["payload"] or {}).get("continue")) and job["status"] == "queued"
    if job is not None and job["status"] != "paused":
        return True
    if job is None and all(waiting.decisions[i].through == "agno" for i in waiting.new):
        return True  # a run that a client holds, decided through agno's door: the client continues it, as agno has it
    run = await asyncio.to_thread(database.get_run, waiting.run_id)
    if run is None or run.status != RunStatus.paused:  # type: ignore[union-attr]
        return job is None and run is not None and run.status in _ENDED  # type: ignore[union-attr]
    try:
        payload = resume(waiting.component_type, run, waiting.decisions)
    except NotOurs as reason:
        log.warning("run %s does not go on by itself: %s", waiting.run_id, reason)
        return True
    if payload is None:
        return True
    if job is None:
        await worker.store.enqueue_job(_ticket(waiting, run, payload), max_depth=0)
        wake_queue_worker(worker)
        return True
    if AUTHORIZATION_KEY in job["payload"]:  # what the run may do is what it might before
        payload[AUTHORIZATION_KEY] = job["payload"][AUTHORIZATION_KEY]
    streams = bool(job["payload"].get("stream"))
    if streams:
        with contextlib.suppress(Exception):
            index = await get_event_stream().get_last_index(waiting.run_id)
            payload["tail_from"] = index if index >= 0 else None
    await worker.store.continue_job(waiting.run_id, payload)
    wake_queue_worker(worker)
    if streams:
        with contextlib.suppress(Exception):
            await get_event_stream().reopen_run(waiting.run_id)
    return True


def resume(kind: str, run: Any, decisions: Mapping[str, Decision]) -> dict[str, Any] | None:
    """What the queue's worker continues the run with; None when the run waits for none of the decisions.

    Raises NotOurs.
    """
    if kind == "workflow":
        steps = [step.to_dict() for step in run.step_requirements or ()]
        if not steps or not steps[-1].get("executor_requirements"):
            raise NotOurs("a step of the workflow asks for confirmation or input of its own")
        given = [RunRequirement.from_dict(r) for r in steps[-1]["executor_requirements"]]
        if (decided := _decided(given, decisions)) is None:
            return None
        steps[-1]["executor_requirements"] = [requirement.to_dict() for requirement in decided]
        return {"step_requirements": steps}
    if (decided := _decided(run.requirements or [], decisions)) is None:
        return None
    if kind == "team":
        return {"requirements": [requirement.to_dict() for requirement in decided], "kwargs": {}}
    calls = [requirement.tool_execution for requirement in decided]
    return {"updated_tools": [call.to_dict() for call in calls if call is not None], "kwargs": {}}


def _decided(given: list[RunRequirement], decisions: Mapping[str, Decision]) -> list[RunRequirement] | None:
    waits = [requirement for requirement in given if not requirement.is_resolved()]
    if not any(r.tool_execution is not None and r.tool_execution.approval_id in decisions for r in waits):
        return None
    for requirement in waits:
        call = requirement.tool_execution
        decision = decisions.get(call.approval_id or "") if call is not None else None
        if call is None or decision is None:
            raise NotOurs(f"{call.tool_name if call else 'a tool'} waits for something that no approval decides")
        approved = decision.status == "approved"
        requirement.confirmation = call.confirmed = approved
        if approved:
            _supply(requirement, decision)
        else:
            requirement.confirmation_note = call.confirmation_note = decision.reason or "rejected by a person"
            # what asked for an answer or a result is refused as a confirmation is
            call.requires_confirmation, call.requires_user_input, call.external_execution_required = True, False, False
            call.answered = True
        if not requirement.is_resolved():
            raise NotOurs(f"{call.tool_name} was approved without the answer or the result that it needs")
    return waits


def _supply(requirement: RunRequirement, decision: Decision) -> None:
    """Values and results that came with agno's resolve, for tools that ask for more than a confirmation."""
    values = decision.data.get("values", decision.data)
    if requirement.needs_user_input:
        requirement.provide_user_input(values)
    if requirement.needs_external_execution and "result" in decision.data:
        requirement.set_external_execution_result(str(decision.data["result"]))


def _ticket(waiting: Waiting, run: Any, payload: dict[str, Any]) -> dict[str, Any]:
    """For a run that was started without the queue: its first ticket, which continues it, once."""
    authority = {AUTHORIZATION_KEY: waiting.authority}
    return QueuedJob(
        id=waiting.run_id,
        component_type=waiting.component_type,
        component_id=waiting.component_id,
        session_id=run.session_id,
        user_id=run.user_id,
        payload={"input": None, "kwargs": {}, **authority, "continue": {**payload, **authority}},
    ).to_dict()
