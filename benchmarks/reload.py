"""Agents reloaded under load: from a saved file to its answer over HTTP, and whether any request failed meanwhile.

Starts its own Postgres and runtime. Four clients ask for the agents, for one that stays and one that changes, and send
signed webhooks to both, one request after the other; each answer must be right, not only a 200. Every fourth reload is
git-sync's: a new worktree, and the link to it renamed over the old one.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
from standardwebhooks import Webhook

from benchmarks.figures import Figure
from stack import postgres
from stack.alone import running, temporary_home, wait
from stack.ports import find_free
from stack.process import PROJECT

RELOADS, QUICK_RELOADS = 200, 20
SWAP_EVERY = 4
LONGEST_SECONDS = 20.0
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
AGENT = """
from agno.agent import Agent

from runtime.offline import OfflineModel
from ._helper import VERSION

made = OfflineModel(latency=0.0)
{id} = Agent(id={id!r}, name={id!r}, description={version!r}, metadata={{"helper": VERSION}}, model=made)
"""
HELPER = "VERSION = {version!r}\n"


class Agents:
    """A directory as git-sync lays it out: `current` is a link to a worktree, and the agents are within it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "current" / "agents"
        self.swap("0")

    def write(self, directory: Path, version: str) -> None:
        self.replace(directory / "changes.py", AGENT.format(id="changes", version=version))

    def save(self, version: str) -> None:
        self.write(self.directory, version)

    def swap(self, version: str) -> None:
        link = self.directory.parent
        new = self.root / ".worktrees" / uuid4().hex
        (new / "agents").mkdir(parents=True)
        (new / "agents" / "_helper.py").write_text(HELPER.format(version="1"))
        (new / "agents" / "stays.py").write_text(AGENT.format(id="stays", version="1"))
        self.write(new / "agents", version)
        old = os.readlink(link) if link.is_symlink() else None
        temporary = self.root / "tmp-link"
        temporary.symlink_to(new.relative_to(self.root))
        temporary.rename(link)
        if old is not None:
            shutil.rmtree(self.root / old)

    @staticmethod
    def replace(path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}.swp")
        temporary.write_text(text)
        temporary.rename(path)


class Load:
    """Clients in threads. `requests` counts what was sent, `failures` says what was wrong with which answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests = 0
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._numbers = itertools.count()

    @contextmanager
    def running(self) -> Iterator["Load"]:
        threads = [
            threading.Thread(target=self._run, args=(ask,))
            for ask in (self._all, self._one, self._webhook("stays"), self._webhook("changes"))
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def _run(self, ask: Callable[[httpx.Client], str | None]) -> None:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=20) as client:
            while not self._stopped.is_set():
                try:
                    wrong = ask(client)
                except httpx.HTTPError as error:
                    wrong = f"{type(error).__name__}: {error}"
                with self._lock:
                    self.requests += 1
                    if wrong is not None:
                        self.failures.append(wrong)
                time.sleep(0.002)

    @staticmethod
    def _all(client: httpx.Client) -> str | None:
        answer = client.get("/agents")
        ids = sorted(agent["id"] for agent in answer.json()) if answer.is_success else []
        return None if ids == ["changes", "stays"] else f"/agents: {answer.status_code} {answer.text[:200]}"

    @staticmethod
    def _one(client: httpx.Client) -> str | None:
        for id in ("changes", "stays"):
            answer = client.get(f"/agents/{id}")
            if not answer.is_success or answer.json()["id"] != id:
                return f"/agents/{id}: {answer.status_code} {answer.text[:200]}"
        return None

    def _webhook(self, id: str) -> Callable[[httpx.Client], str | None]:
        def send(client: httpx.Client) -> str | None:
            content = json.dumps({"input": "x"})
            delivery_id, at = f"load-{id}-{next(self._numbers)}", datetime.now(UTC)
            headers = {
                "content-type": "application/json",
                "webhook-id": delivery_id,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": Webhook(SECRET).sign(delivery_id, at, content),
            }
            answer = client.post(f"/api/webhooks/{id}", content=content, headers=headers)
            return None if answer.status_code == 202 else f"webhook {id}: {answer.status_code} {answer.text[:200]}"

        return send


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reloads", type=int, help=f"default {RELOADS}, {QUICK_RELOADS} with --quick")


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    reloads = arguments.reloads or (QUICK_RELOADS if arguments.quick else RELOADS)
    with temporary_home() as home, tempfile.TemporaryDirectory() as root:
        postgres.prepare(home)
        with running(home, "postgres"):
            postgres.create_database(home)
            agents = Agents(Path(root))
            with serving(home.database_url, agents.directory) as url, Load(url).running() as load:
                saved, swapped = measure(url, agents, reloads)
    for failure in load.failures[:5]:
        print(failure, file=sys.stderr)
    yield Figure("reload", "saved_to_served_ms", percentile(saved, 0.5), "ms", len(saved))
    yield Figure("reload", "saved_to_served_p95_ms", percentile(saved, 0.95), "ms", len(saved))
    if swapped:
        yield Figure("reload", "swapped_to_served_ms", percentile(swapped, 0.5), "ms", len(swapped))
        yield Figure("reload", "swapped_to_served_p95_ms", percentile(swapped, 0.95), "ms", len(swapped))
    yield Figure("reload", "failed_requests", len(load.failures), "request", load.requests)


def measure(url: str, agents: Agents, reloads: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each reload: by a file that was saved, by a link that was swapped."""
    saved: list[float] = []
    swapped: list[float] = []
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        for number in range(1, reloads + 1):
            version = str(number)
            is_swap = number % SWAP_EVERY == 0
            (agents.swap if is_swap else agents.save)(version)
            began = time.perf_counter()
            while client.get("/agents/changes").json()["description"] != version:
                if time.perf_counter() - began > LONGEST_SECONDS:
                    raise TimeoutError(f"version {version} is not served after {LONGEST_SECONDS} s")
                time.sleep(0.005)
            (swapped if is_swap else saved).append((time.perf_counter() - began) * 1000)
    return saved, swapped


@contextmanager
def serving(database_url: str, agents: Path) -> Iterator[str]:
    """The URL of a runtime on a database that is migrated first."""
    port = find_free(set())
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "RUNTIME_PORT": str(port),
        "AGENTS_DIR": str(agents),
        "WEBHOOK_SECRET": SECRET,
        "TELEMETRY_MODE": "off",
        "QUEUE_MAX_DEPTH": "1000000",
    }
    command = [sys.executable, "-m", "runtime"]
    subprocess.run([*command, "migrate"], env=environment, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    log = agents.parent.parent / "runtime.log"
    with log.open("ab") as output:
        process = subprocess.Popen([*command, "serve"], env=environment, cwd=PROJECT, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"

    def check() -> None:
        httpx.get(f"{url}/health", trust_env=False).raise_for_status()

    try:
        wait(check, 60, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def percentile(values: list[float], part: float) -> float:
    return round(sorted(values)[int(part * (len(values) - 1))], 1)
