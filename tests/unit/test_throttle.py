"""How many deliveries a source may send."""

import time

import pytest

from runtime.problems import Problem
from runtime.throttle import Throttle, rate_of


def test_a_source_is_told_when_to_come_back_and_others_go_on() -> None:
    throttle = Throttle("3/hour")
    for _ in range(3):
        throttle.count("github")
    with pytest.raises(Problem, match="github may send 3 deliveries in 3600 s") as problem:
        throttle.count("github")
    assert problem.value.status == 429
    assert problem.value.retry_after is not None and 3590 <= problem.value.retry_after <= 3600
    throttle.count("grafana")


def test_it_may_go_on_after_the_window() -> None:
    throttle = Throttle("1/second")
    throttle.count("github")
    with pytest.raises(Problem) as problem:
        throttle.count("github")
    assert problem.value.retry_after == 1
    time.sleep(1.1)
    throttle.count("github")


@pytest.mark.parametrize("rate", ["", "many", "0/second", "-1/second", "5", "1/fortnight"])
def test_what_is_no_rate(rate: str) -> None:
    with pytest.raises(ValueError, match="1000/second"):
        rate_of(rate)
