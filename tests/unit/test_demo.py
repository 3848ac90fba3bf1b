"""The demo's script: believable, bounded, and never without what it is there to show."""

import pytest

from stack.demo import FAILING, FAILING_ONCE, PAUSING, PROMPTS, SLOW, script


@pytest.mark.parametrize("seconds", [1.0, 6.0, 60.0])
def test_every_script_has_a_pause_a_slow_run_a_failure_and_duplicates(seconds: float) -> None:
    actions = script(seconds)
    chosen = [(action.agent, action.prompt) for action in actions]
    assert chosen.count(PAUSING) == 1 and chosen[0] == PAUSING
    assert {SLOW, FAILING} <= set(chosen)
    assert {agent for agent, _ in chosen} == {*PROMPTS, "refunds"}
    assert any(action.copies > 1 for action in actions)
    assert all(0 <= action.at < seconds for action in actions)


def test_a_minute_has_ninety_deliveries_and_a_second_attempt_and_a_sample_has_not() -> None:
    assert len(script(60.0)) == 90
    assert FAILING_ONCE in {(action.agent, action.prompt) for action in script(60.0)}
    assert FAILING_ONCE not in {(action.agent, action.prompt) for action in script(6.0)}


def test_only_the_failing_run_is_not_tried_again() -> None:
    for action in script(60.0):
        assert ("metadata" in action.body()) == ((action.agent, action.prompt) == FAILING)


def test_sessions_belong_to_one_user_and_differ_between_demos() -> None:
    users: dict[str, set[str]] = {}
    for action in script(60.0):
        users.setdefault(action.session, set()).add(action.user)
    assert all(len(names) == 1 for names in users.values())
    assert not {action.session for action in script(60.0)} & set(users)
