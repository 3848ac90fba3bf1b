"""Problems as RFC 9457 wants them."""

import json

from runtime.problems import Problem


def test_a_problem_says_what_and_when_to_come_back() -> None:
    answer = Problem(503, "the database is away", retry_after=2, field="x").response()
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    assert json.loads(bytes(answer.body)) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "the database is away",
        "field": "x",
    }


def test_a_problem_for_good_says_no_time() -> None:
    assert "retry-after" not in Problem(404, "no").response().headers
