"""The dashboards' page as a process of its own, and a real browser that looks at it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from stack.ports import find_free
from stack.process import PROJECT
from tests.integration.runtimes import until

PICTURES = PROJECT / "tests" / "artifacts" / "dashboards"
BOARDS = PROJECT / "dashboards" / "grafana" / "dashboards"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60  # that a page may take on a busy machine
WIDE, PHONE = {"width": 1440, "height": 1000}, {"width": 390, "height": 844}
UNSETTLED = """() => [...document.querySelectorAll('.panel[data-state]')]
    .filter((panel) => panel.offsetParent)
    .filter((panel) => panel.dataset.state === 'loading' || panel.getAttribute('aria-busy') === 'true')
    .map((panel) => panel.dataset.id)"""
STATES = """() => Object.fromEntries([...document.querySelectorAll('.panel[data-state]')].map(
    (panel) => [`${panel.dataset.id} ${panel.querySelector('h3').textContent}`, panel.dataset.state]))"""


def chromium() -> str:
    """Fails the test when there is none: a page that nobody has looked at is not tested."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail(
            "no browser: install one (apt install chromium), or set CHROMIUM to the path of a Chromium or Chrome"
        )
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]  # a GPU made of CPU is slow
        opened = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield opened
        opened.close()


@contextmanager
def serving(directory: Path, clickhouse_url: str, **settings: str) -> Iterator[str]:
    """`python -m dashboards.viewer` on a free port; answers its address."""
    port = find_free(set())
    environment = {
        **os.environ,
        "CLICKHOUSE_READONLY_URL": clickhouse_url,
        "DASHBOARDS_PORT": str(port),
        "DASHBOARDS_STATE": str(directory / "alerts.sqlite"),
        "PHOENIX_URL": "http://phoenix.example",
        "RUNTIME_URL": "http://runtime.example",
        **settings,
    }
    log = directory / "viewer.log"
    with log.open("ab") as output:
        command = [sys.executable, "-m", "dashboards.viewer"]
        process = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{url}/dashboards/api/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        until(is_up, SECONDS)
        yield url
    finally:
        process.terminate()
        process.wait(SECONDS)


@dataclass
class Visit:
    """One tab. What its console complains of, and every request that failed, is in `problems`."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(SECONDS * 1000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"{error}\n{error.stack}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)
        self.page.on("dialog", lambda dialog: self.problems.append(f"a dialog: {dialog.message}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console: {message.text} {message.location}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # what was asked for an older state is given up
            self.problems.append(f"{request.failure}: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def open(self, path: str, **parameters: str) -> None:
        query = f"?{urlencode(parameters)}" if parameters else ""
        self.page.goto(f"{self.url}/dashboards/{path}{query}")

    def settle(self) -> dict[str, str]:
        """Makes the window as tall as the page, so that every panel is in sight; answers {id and title: state}."""
        until(lambda: self.page.locator(".panel[data-state]").count() > 0, SECONDS)
        self.grow()
        until(lambda: not self.page.evaluate(UNSETTLED), SECONDS)
        states: dict[str, str] = self.page.evaluate(STATES)
        return states

    def grow(self) -> None:
        size = self.page.viewport_size
        assert size is not None
        height = self.page.evaluate("document.getElementById('board').getBoundingClientRect().bottom + scrollY")
        self.page.set_viewport_size({"width": size["width"], "height": max(size["height"], int(height))})

    def resize(self, size: Any) -> None:
        self.page.set_viewport_size(size)

    def theme(self, theme: str) -> None:
        """As somebody does who presses d until it is right."""
        for _ in range(3):
            if self.page.evaluate("window.theme.chosen()") == theme:
                return
            self.page.keyboard.press("d")
        assert self.page.evaluate("window.theme.chosen()") == theme

    def picture(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")

    def panel(self, title: str) -> Any:
        return self.page.locator(".panel", has=self.page.locator("h3", has_text=re.compile(f"^{re.escape(title)}$")))

    def import_(self, module: str, expression: str) -> Any:
        """What the expression is, with the names that the page's module exports."""
        return self.page.evaluate(
            f"async () => {{ const m = await import('/dashboards/static/{module}'); return {expression}; }}"
        )
