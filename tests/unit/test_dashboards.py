"""What is generated is what is committed."""

from pathlib import Path

from dashboards.source.__main__ import files

DASHBOARDS = Path(__file__).parents[2] / "dashboards"


def test_generated_files_are_those_that_are_committed() -> None:
    for path, text in files().items():
        assert (DASHBOARDS / path).read_text() == text, f"{path}: run `make generate`"


def test_no_board_is_committed_that_is_not_generated() -> None:
    committed = {path.relative_to(DASHBOARDS) for path in (DASHBOARDS / "grafana" / "dashboards").iterdir()}
    assert committed == {path for path in files() if path.parent == Path("grafana/dashboards")}
