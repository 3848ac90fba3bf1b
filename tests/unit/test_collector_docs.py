"""docs/collector.md: its settings are those of otel-collector.yaml, and each of its results is a test."""

import re

from stack.collector import CONFIG
from stack.process import PROJECT

PAGE = (PROJECT / "docs" / "collector.md").read_text()
TESTS = PROJECT / "tests" / "integration"


def functions_in(pattern: str) -> set[str]:
    return {name for path in TESTS.glob(pattern) for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}


def test_every_variable_is_listed_with_its_default() -> None:
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? *\|", PAGE, re.M))
    used = dict(re.findall(r"\$\{env:(\w+):-([^}]*)\}", CONFIG.read_text()))
    assert listed == used


def test_every_result_is_a_test_and_every_conformance_test_has_its_result() -> None:
    named = set(re.findall(r"\| `(test_\w+)` \|$", PAGE, re.M))
    assert named - functions_in("test_*.py") == set()
    assert functions_in("test_conformance_*.py") - named == set()
