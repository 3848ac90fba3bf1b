"""The real Phoenix behind its key, fed by the real collector."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stack import phoenix
from stack.alone import running, temporary_home
from stack.home import Home
from tests.integration.collectors import Collector, send

pytestmark = pytest.mark.timeout(240)  # Phoenix alone takes half a minute to start


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with temporary_home() as home, running(home, "phoenix"):
        yield home


def test_the_key_opens_rest_and_nothing_else_does(home: Home) -> None:
    url = f"{home.phoenix_url}/v1/projects"
    with_key = httpx.get(url, headers={"authorization": f"Bearer {home.phoenix_api_key}"})
    assert with_key.status_code == 200, with_key.text
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"authorization": "Bearer wrong"}).status_code == 401
    nothing = httpx.post(
        f"{home.phoenix_url}/v1/traces", content=b"", headers={"content-type": "application/x-protobuf"}
    )
    assert nothing.status_code == 401


def test_the_login_that_up_prints_works(home: Home) -> None:
    login = {"email": phoenix.LOGIN, "password": home.secrets.phoenix_password}
    phoenix.keep_password(home)
    with httpx.Client(base_url=home.phoenix_url) as client:
        assert client.post("/auth/login", json=login).is_success
        viewer = client.post("/graphql", json={"query": "{ viewer { email passwordNeedsReset } }"}).json()
    assert viewer["data"]["viewer"] == {"email": phoenix.LOGIN, "passwordNeedsReset": False}


def test_the_collector_hands_spans_to_phoenix(home: Home, collector_binary: Path) -> None:
    collector = Collector(home, collector_binary)
    collector.start()
    try:
        send(collector.url, requests=5, each=4)
        headers = {"authorization": f"Bearer {home.phoenix_api_key}"}
        deadline = time.monotonic() + 60
        found = 0
        while found < 20 and time.monotonic() < deadline:
            time.sleep(0.5)
            url = f"{home.phoenix_url}/v1/projects/default/spans"
            answer = httpx.get(url, params={"limit": 100}, headers=headers)
            found = len(answer.json()["data"]) if answer.is_success else 0
        assert found == 20
    finally:
        collector.kill()


def test_its_assistant_and_its_reports_home_are_off(home: Home) -> None:
    page = httpx.get(home.phoenix_url, follow_redirects=True).text
    assert "scarf" not in page.lower()
