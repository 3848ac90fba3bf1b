"""POST /api/webhooks/{id} and POST /api/sources/{source}: a signed delivery becomes one ticket.

In this order: size, signature, the source's rate, parsing, routing, and one commit of delivery and ticket together. The
sender is answered when that is committed, and told the run and its trace.
"""

import logging
import os
import time
from collections.abc import Mapping
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson
from agno.run.authorization import stamp_authorization
from fastapi import FastAPI
from opentelemetry import context as otel
from starlette.types import Receive, Scope, Send

from runtime import payload, queue, routing
from runtime.context import Context
from runtime.deliveries import Delivery
from runtime.problems import RETRY_SECONDS, Problem
from runtime.routing import Run
from runtime.signatures import hash_of
from runtime.triggers import WEBHOOK
from telemetry import semconv

log = logging.getLogger(__name__)

WEBHOOKS, SOURCES = "/api/webhooks/", "/api/sources/"
UNKNOWN = (
    "unknown"  # what the metrics call an agent or source that does not exist: names from outside are no attributes
)
_OUTCOMES = {401: "rejected", 409: "conflict", 429: "throttled", 500: "failed", 503: "failed"}

Headers = Mapping[str, str]
_random = Random()  # a generator of our own, which no agent's file seeds; to ask the kernel for each id takes 25 us
os.register_at_fork(after_in_child=_random.seed)  # or two forked servers would give runs the same ids


class Application(FastAPI):
    """Answers deliveries in front of AgentOS: what is signed needs neither its key, nor its CORS, nor their time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"].rstrip("/")
            for prefix in (WEBHOOKS, SOURCES):
                if path.startswith(prefix):
                    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
                    caller = _Caller(self.state.context, headers, prefix == WEBHOOKS, path[len(prefix) :])
                    await caller.answer(scope, receive, send)
                    return
        await super().__call__(scope, receive, send)


class _Caller:
    """One request. `agent_id` and `source` are what the metrics call it, as far as that is known."""

    def __init__(self, context: Context, headers: Headers, to_component: bool, name: str) -> None:
        self.context = context
        self.headers = headers
        self.to_component = to_component
        self.name = name
        registry = context.registry
        if to_component:
            self.is_known = True
            self.source, self.agent_id = WEBHOOK, name if name in registry.components else UNKNOWN
        else:
            self.is_known = name != WEBHOOK and (name in registry.triggers or context.signatures.knows(name))
            self.source, self.agent_id = name if self.is_known else UNKNOWN, UNKNOWN
        self.span = context.telemetry.requests.start(
            f"webhook {self.agent_id if to_component else self.source}", headers
        )
        self.span.attributes = {semconv.SPAN_KIND: "CHAIN", semconv.DELIVERY_SOURCE: self.source}

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        token = otel.attach(self.span.otel)
        status, outcome, failed = 500, "failed", None
        try:
            body = await _read(receive, self.headers, self.context.settings.webhook_max_bytes)
            status, outcome, answer = await self._accept(body)
            await _send(send, status, answer)
        except Problem as problem:
            status, outcome = problem.status, _OUTCOMES.get(problem.status, "invalid")
            failed = problem.detail if status >= 500 else None
            await problem.response()(scope, receive, send)
        except Exception as error:
            log.exception("a webhook for %s could not be handled", self.agent_id)
            status, outcome, failed = 500, "failed", type(error).__name__
            await Problem(500, "the webhook could not be handled; the log says why").response()(scope, receive, send)
        finally:
            self.span.attributes["http.response.status_code"] = status
            instruments = self.context.telemetry.instruments
            instruments.webhook_answered(self.agent_id, self.source, outcome, time.perf_counter() - began)
            self.span.end(failed)
            otel.detach(token)

    async def _accept(self, body: bytes) -> tuple[int, str, dict[str, Any]]:
        """Status, outcome and body of the answer."""
        context = self.context
        if not self.is_known:
            raise routing.unknown_source(context.registry, self.name)
        delivery_id = context.signatures.verify(self.source, self.headers, body)
        self.span.attributes[semconv.DELIVERY_ID] = delivery_id
        context.throttle.count(self.source)
        if self.headers.get("content-encoding", "identity") != "identity":
            raise Problem(415, "the body must not be encoded: a few bytes could become gigabytes")
        parsed = payload.parse(body, self.headers.get("content-type", ""))
        if self.to_component:
            run = routing.to_component(context.registry, self.name, delivery_id, self.headers, parsed)
        else:
            wanted = routing.to_trigger(context.registry, self.name, delivery_id, self.headers, parsed)
            if wanted is None:
                self.span.attributes[semconv.DEDUP_DECISION] = "ignored"
                return 200, "ignored", {**_IGNORED, "trace_id": self.span.trace_id}
            run = wanted
            self.agent_id = run.component.id
        self.span.attributes[semconv.INPUT_VALUE] = run.payload.input
        return await self._commit(run, delivery_id, hash_of(body))

    async def _commit(self, run: Run, delivery_id: str, body_hash: str) -> tuple[int, str, dict[str, Any]]:
        given, component = run.payload, run.component
        delivery = Delivery(
            source=self.source,
            delivery_id=delivery_id,
            body_hash=body_hash,
            component_id=component.id,
            run_id=_new_id(),
            session_id=given.session_id or _new_id(),
            trace_id=self.span.trace_id,
        )
        origin = {
            **self.span.carrier(),
            "source": self.source,
            "delivery_id": delivery_id,
            "body_hash": body_hash,
            "accepted_at": time.time(),
        }
        job = {
            "id": delivery.run_id,
            "component_type": component.kind,
            "component_id": component.id,
            "session_id": delivery.session_id,
            "user_id": given.user_id,
            "payload": stamp_authorization(
                {
                    "input": given.input,
                    "kwargs": {"metadata": {**given.metadata, semconv.TICKET_CONTEXT: origin}},
                    "serialize_session": True,
                },
                include_trusted=True,
            ),
            "max_attempts": self.context.settings.run_max_attempts,
            "priority": run.priority,
        }
        try:
            accepted = await self.context.deliveries.accept(delivery, job)
        except queue.QueueFull:
            raise Problem(429, "the queue is full", retry_after=RETRY_SECONDS) from None
        except queue.UNAVAILABLE as error:
            log.warning("delivery %s was not accepted: %s", delivery_id, error or type(error).__name__)
            raise Problem(503, "the database is away; send it again", retry_after=RETRY_SECONDS) from error
        if accepted.new:
            self._describe(delivery, "miss")
            return 202, "accepted", self._answer(delivery, "new")
        return 200, "duplicate", self._again(accepted.delivery, delivery)

    def _again(self, stored: Delivery, sent: Delivery) -> dict[str, Any]:
        """To a source it is the same delivery whatever its triggers say by now."""
        same = stored.body_hash == sent.body_hash
        same = same and (not self.to_component or stored.component_id == sent.component_id)
        self._describe(stored, "hit" if same else "conflict")
        if same:
            return self._answer(stored, "duplicate")
        raise Problem(
            409,
            f"the delivery id {stored.delivery_id!r} was used for another delivery: an id is used again only to send "
            "the same body to the same place again",
            run_id=stored.run_id,
        )

    def _describe(self, delivery: Delivery, decision: str) -> None:
        self.context.telemetry.instruments.dedup_decided(self.source, decision)
        attributes = self.span.attributes
        attributes[semconv.DEDUP_DECISION] = decision
        attributes[semconv.AGENT_ID] = delivery.component_id
        attributes[semconv.SESSION_ID] = delivery.session_id
        attributes[semconv.RUN_ID] = delivery.run_id
        if decision != "miss" and delivery.trace_id:
            attributes[semconv.RUN_TRACE_ID] = delivery.trace_id

    def _answer(self, delivery: Delivery, decision: str) -> dict[str, Any]:
        links = {"status": f"/api/runs/{delivery.run_id}"}
        component = self.context.registry.components.get(delivery.component_id)
        if component is not None:  # it may have been removed since
            session_id = _quoted(delivery.session_id)
            links["run"] = f"/{component.kind}s/{_quoted(component.id)}/runs/{delivery.run_id}?session_id={session_id}"
        return {
            "run_id": delivery.run_id,
            "session_id": delivery.session_id,
            "trace_id": delivery.trace_id,
            "decision": decision,
            "links": links,
        }


_IGNORED: dict[str, Any] = {"run_id": None, "session_id": None, "decision": "ignored", "links": {}}


def _quoted(text: str) -> str:
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def _new_id() -> str:
    return str(UUID(int=_random.getrandbits(128), version=4))


async def _send(send: Send, status: int, answer: Mapping[str, Any]) -> None:
    body = orjson.dumps(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The body, read no further than `limit` bytes. Raises a Problem: 413, or 400 when the sender hangs up."""
    parts: list[bytes] = []
    size = 0
    declared = headers.get("content-length", "")
    more = not (declared.isdecimal() and int(declared) > limit)
    if not more:
        size = limit + 1
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the body is incomplete")
        part: bytes = message.get("body", b"")
        size += len(part)
        parts.append(part)
        more = message.get("more_body", False) and size <= limit
    if size > limit:
        raise Problem(413, f"the body is larger than {limit} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)
