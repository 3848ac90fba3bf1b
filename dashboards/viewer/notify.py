"""Posts alerts to a webhook, in the format of Alertmanager's (version 4): one post per rule and status."""

import itertools
import json
import logging
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from dashboards.viewer.history import History, Instance
from dashboards.viewer.links import Links

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(10.0, connect=3.0)
ATTEMPTS = 3  # then it waits for the next evaluation


class Away(Exception):
    """The receiver did not take it, and may later."""


class Notifier:
    """`deliver` is for one thread at a time."""

    def __init__(self, url: str, secret: str | None, history: History, links: Links) -> None:
        self._url = url
        self._history = history
        self._links = links
        self._said = ""
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        self._client = httpx.Client(timeout=TIMEOUT, headers=headers, follow_redirects=False)

    def close(self) -> None:
        self._client.close()

    def deliver(self, now: float) -> None:
        """Posts what is due. What is not taken stays due; what is refused for good is not sent again.

        Raises sqlite3.Error.
        """
        due = sorted(self._history.due(), key=_group)
        for (rule, status), alerts in itertools.groupby(due, key=_group):
            group = list(alerts)
            body = json.dumps(self._body(rule, status, [json.loads(one.notice) for one in group]), ensure_ascii=False)
            try:
                self._retrying()(self._post, body)
            except Away as error:
                self._say(f"alerts wait for {httpx.URL(self._url).host}: {error}")
                return
            for one in group:
                self._history.posted(one, now)

    def _body(self, rule: str, status: str, alerts: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "version": "4",
            "groupKey": f'{{}}:{{alertname="{rule}"}}',
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "dashboards",
            "groupLabels": {"alertname": rule},
            "commonLabels": _common([alert["labels"] for alert in alerts]),
            "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
            "externalURL": self._links.alerts,
            "alerts": alerts,
        }

    def _post(self, body: str) -> None:
        try:
            answer = self._client.post(self._url, content=body.encode(), headers={"content-type": "application/json"})
        except httpx.HTTPError as error:
            raise Away(type(error).__name__) from error
        if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
            raise Away(f"status {answer.status_code}")
        if answer.status_code == 404:
            self._say(
                "nobody takes alerts: no agent has a trigger for alertmanager, or ALERT_WEBHOOK_URL is wrong (404)"
            )
        elif not answer.is_success:
            self._say(f"an alert was refused with status {answer.status_code}: is ALERT_WEBHOOK_SECRET right?")
        else:
            self._said = ""

    def _retrying(self) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=0.25, max=4),
            retry=retry_if_exception_type(Away),
            reraise=True,
        )

    def _say(self, text: str) -> None:
        """Once, not at every attempt."""
        if text != self._said:
            log.warning("%s", text)
        self._said = text


def _group(instance: Instance) -> tuple[str, str]:
    return instance.rule, instance.state


def _common(given: list[dict[str, str]]) -> dict[str, str]:
    """What all of them have, with the same value."""
    return {key: value for key, value in given[0].items() if all(one.get(key) == value for one in given)}
