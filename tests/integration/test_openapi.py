"""What /openapi.json says of our routes holds, whatever is sent to them: schemathesis makes it up from the document."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import APIOperation, BaseSchema, Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from stack.home import Home
from tests.integration.conftest import fresh_database
from tests.integration.runtimes import SECRET, Runtime, running, until
from tests.integration.senders import SECRETS, proof, write_agents

Operation = APIOperation[Any, Any, Any, Any]
KEY = "open-sesame"
PATHS = r"^/(api|admin)/|^/approvals/\{approval_id\}/(approve|reject)$"
SIGNED = ["POST /api/webhooks/{id}", "POST /api/sources/{source}"]
OPERATIONS = [
    *SIGNED,
    "GET /api/metrics",
    "GET /api/telemetry",
    "GET /api/runs/{run_id}",
    "POST /admin/reload",
    "GET /admin/agents",
    "GET /admin/dead-letters",
    "POST /admin/dead-letters/{run_id}/requeue",
    "POST /admin/deliveries/{source}/{delivery_id}/retry",
    "POST /approvals/{approval_id}/approve",
    "POST /approvals/{approval_id}/reject",
]
DESK = """
from agno.agent import Agent
from runtime.approvals import confirm
from runtime.offline import OfflineModel

def refund(order: str) -> str:
    '''Pays back.'''
    return "paid"

desk = Agent(id="desk", name="Desk", model=OfflineModel(latency=0.01), tools=[confirm(refund)])
"""
MADE_UP = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def runtime(migrated_server: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    path = tmp_path_factory.mktemp("openapi")
    (path / "agents").mkdir()
    (write_agents(path / "agents") / "c_desk.py").write_text(DESK)
    settings = {
        "AGENTS_DIR": str(path / "agents"),
        "OS_SECURITY_KEY": KEY,
        "WEBHOOK_SECRETS": json.dumps(SECRETS),
        "RUN_MAX_ATTEMPTS": "1",
    }
    with fresh_database(migrated_server, "migrated") as url, running(url, path / "log", **settings) as runtime:
        runtime.key = KEY
        yield runtime


@pytest.fixture(scope="module")
def api(runtime: Runtime) -> BaseSchema:
    schema = schemathesis.openapi.from_dict(runtime.get("/openapi.json").json())
    schema.config.update(base_url=runtime.url)
    return schema.include(path_regex=PATHS)


@dataclass
class Client:
    """Asks, and checks the answer against the document. `known` are parameters that lead to something."""

    session: requests.Session
    known: dict[str, list[str]]
    statuses: set[int] = field(default_factory=set)

    def ask(self, case: Case[Any], auth: AuthBase | None = None) -> int:
        response = case.call(session=self.session, auth=auth)
        # What the document allows may still be refused: a NUL, an id that nobody knows.
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        self.statuses.add(response.status_code)
        return response.status_code

    def ask_all(self, operation: Operation, auth: AuthBase | None = None) -> set[int]:
        """The statuses of the answers to what is at the edges of the document, and to what is made up."""
        self.statuses = set()
        generation = operation.schema.config.generation
        modes = list(GenerationMode)
        for case in operation.schema.iter_coverage_cases(
            operation, generation_modes=modes, generation_config=generation
        ):
            self.ask(case, auth)
        cases = st.sampled_from(modes).flatmap(lambda mode: operation.as_strategy(generation_mode=mode))
        known = {name: st.sampled_from(self.known[name]) for name in self.known if f"{{{name}}}" in operation.path}

        @MADE_UP
        @given(cases, st.none() | st.fixed_dictionaries(known))
        def ask(case: Case[Any], places: dict[str, str] | None) -> None:
            case.path_parameters.update(places or {})
            self.ask(case, auth)

        ask()
        return self.statuses


class Key(AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["authorization"] = f"Bearer {KEY}"
        return request


class Signature(AuthBase):
    """Of the sender that the path names, under the id of its own that the body has."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        assert isinstance(body, bytes)
        _, _, route, name = urlsplit(request.url or "").path.split("/")
        secrets = SECRETS.get(name, SECRET) if route == "sources" else SECRET
        secret = secrets if isinstance(secrets, str) else secrets[0]
        headers = proof(name if route == "sources" else "webhook", secret, body, hashlib.sha256(body).hexdigest())
        headers.pop("content-type", None)  # the case has its own
        request.headers.update(headers)
        return request


@pytest.fixture(scope="module")
def client(runtime: Runtime) -> Iterator[Client]:
    failed = runtime.send("failed", {"input": "[fail] x"}, "support").json()["run_id"]
    waiting = [runtime.send(f"desk-{n}", {"input": "[tool refund] x"}, "desk").json()["run_id"] for n in range(2)]
    assert runtime.ended(failed)["status"] == "failed"
    until(lambda: all(runtime.ticket(run_id)["status"] == "paused" for run_id in waiting), 30)
    approvals = [runtime.ticket(run_id)["approval"]["id"] for run_id in waiting]
    known = {
        # The last of each is nothing that Postgres could look for.
        "id": ["support", "second", "desk", "\0"],
        "source": [*SECRETS, "store", "webhook", "\0"],
        "delivery_id": ["failed", "desk-0", "\0"],
        "run_id": [failed, *waiting, "\0"],
        "approval_id": [*approvals, "\0"],
    }
    with requests.Session() as session:
        session.trust_env = False
        yield Client(session, known)


def operation_of(api: BaseSchema, label: str) -> Operation:
    method, path = label.split(" ")
    return api[path][method]


def test_these_are_all_routes_of_ours(api: BaseSchema) -> None:
    found = [result.ok() for result in api.get_all_operations() if isinstance(result, Ok)]
    assert sorted(operation.label for operation in found) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_as_documented(api: BaseSchema, client: Client, label: str) -> None:
    """With the key; to the routes whose senders sign, it is no signature."""
    statuses = client.ask_all(operation_of(api, label), Key())
    assert statuses & ({401} if label in SIGNED else {200, 202, 409}), statuses


@pytest.mark.parametrize("label", SIGNED)
def test_every_answer_to_a_sender_is_as_documented(api: BaseSchema, client: Client, label: str) -> None:
    statuses = client.ask_all(operation_of(api, label), Signature())
    assert 202 in statuses and statuses & {400, 422}, "no body was read"


@pytest.mark.parametrize("label", sorted({*OPERATIONS} - {*SIGNED}))
def test_that_a_key_is_needed_is_documented(api: BaseSchema, client: Client, label: str) -> None:
    operation = operation_of(api, label)
    case = operation.Case(path_parameters={name: values[0] for name, values in client.known.items()})
    assert client.ask(case) == 401
