"""From when to when: Unix milliseconds or Grafana's relative times, and the seconds between two points. All UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dashboards.viewer.problems import Problem

LATEST = 4_102_444_800_000  # 2100 in milliseconds
LONGEST = 1100 * 86_400_000  # three years: the rollups keep 400 days
MOST_POINTS = 11_000  # of one series, as Prometheus has it
WANTED_POINTS = 300  # when the page does not say
NICE = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800)

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_RELATIVE = re.compile(r"now(?:([+-])([0-9]{1,6})([smhdwMy]))?(?:/([smhdwMy]))?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MONTHS = {"M": 1, "y": 12}


@dataclass(frozen=True)
class Range:
    """Milliseconds since 1970, `end` after `start`."""

    start: int
    end: int


def parse(given_from: str, given_to: str, now: datetime | None = None) -> Range:
    """Raises a Problem (400) that names `from` or `to`."""
    now = now or datetime.now(UTC)
    start, end = _moment("from", given_from, now, up=False), _moment("to", given_to, now, up=True)
    if start >= end:
        raise _bad("to", "it must be after `from`")
    if end - start > LONGEST:
        raise _bad("from", f"at most {LONGEST // 86_400_000} days at once")
    return Range(start, end)


def interval(given: str | None, range: Range) -> int:
    """Seconds between two points; without one, what makes about 300 of them. Raises a Problem (400)."""
    seconds = (range.end - range.start) / 1000
    if given is None:
        return next((nice for nice in NICE if seconds / nice <= WANTED_POINTS), NICE[-1])
    if not _NUMBER.fullmatch(given) or not 1 <= int(given) <= 31 * 86_400:
        raise _bad("interval", "write whole seconds, from 1 to 31 days")
    if seconds / int(given) > MOST_POINTS:
        raise _bad("interval", f"every {given} s would be {seconds / int(given):,.0f} points; at most {MOST_POINTS:,}")
    return int(given)


def _moment(name: str, text: str, now: datetime, *, up: bool) -> int:
    """`up`: what is rounded to a unit is its end, as Grafana does with `to`."""
    if _NUMBER.fullmatch(text):
        found = int(text)
    else:
        match = _RELATIVE.fullmatch(text)
        if match is None:
            raise _bad(name, "write Unix milliseconds, or now, now-6h, now-7d/d")
        sign, count, unit, rounded = match.groups()
        try:
            moment = _shifted(now, int(f"{sign}{count}"), unit) if sign else now
            moment = _rounded(moment, rounded, up=up) if rounded else moment
            found = int(moment.timestamp() * 1000)
        except (OverflowError, ValueError):
            found = -1
    if not 0 <= found <= LATEST:
        raise _bad(name, "it must be between 1970 and 2100")
    return found


def _shifted(moment: datetime, count: int, unit: str) -> datetime:
    if unit in _SECONDS:
        return moment + timedelta(seconds=count * _SECONDS[unit])
    months = moment.year * 12 + moment.month - 1 + count * _MONTHS[unit]
    return moment.replace(year=months // 12, month=months % 12 + 1, day=min(moment.day, 28))


def _rounded(moment: datetime, unit: str, *, up: bool) -> datetime:
    if unit in _MONTHS:
        start = moment.replace(month=1 if unit == "y" else moment.month, day=1)
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
        end = _shifted(start, 1, unit)
    else:
        seconds = _SECONDS[unit]
        offset = 3 * 86_400 if unit == "w" else 0  # 1970 began on a Thursday, weeks begin on Mondays
        at = int(moment.timestamp())
        start = datetime.fromtimestamp(at - (at + offset) % seconds, UTC)
        end = start + timedelta(seconds=seconds)
    return end - timedelta(milliseconds=1) if up else start


def _bad(name: str, why: str) -> Problem:
    return Problem(400, f"{name}: {why}", parameter=name)
