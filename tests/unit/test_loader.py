"""Agents found by path."""

import logging
import os
import sys
from pathlib import Path

import pytest

from runtime.loader import Loaded, load

AGENT = """
from agno.agent import Agent
from runtime.offline import OfflineModel
{name} = Agent(id={name!r}, model=OfflineModel())
"""


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("runtime.loader").setLevel(logging.CRITICAL)


def loaded(directory: Path, **files: str) -> Loaded:
    """Names with `__` for a slash."""
    for name, text in files.items():
        path = directory / f"{name.replace('__', '/', 1) if not name.startswith('_') else name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return load(directory)


def test_files_and_packages_and_no_helpers(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "__init__.py").write_text("from .inner import inner\n")
    (tmp_path / "desk" / "inner.py").write_text(AGENT.format(name="inner"))
    found = loaded(tmp_path, plain=AGENT.format(name="plain"), _hidden=AGENT.format(name="hidden"))
    assert sorted(found.components) == ["inner", "plain"]
    assert found.errors == {}
    assert found.components["inner"].file == tmp_path / "desk"
    assert dict((attributes["kind"], number) for number, attributes in found.counts()) == {
        "agent": 2,
        "team": 0,
        "workflow": 0,
    }


def test_a_helper_is_imported_by_the_files_beside_it(tmp_path: Path) -> None:
    user = "from ._shared import shared\nfrom .other import other\n" + AGENT.format(name="user")
    found = loaded(tmp_path, _shared="shared = 1", other=AGENT.format(name="other"), user=user)
    assert sorted(found.components) == ["other", "user"] and found.errors == {}
    (tmp_path / "_shared.py").write_text("")
    os.utime(tmp_path / "_shared.py", (1, 1))  # another time than the cached bytecode's
    assert list(load(tmp_path).components) == ["other"]


def test_a_broken_file_leaves_the_others_alone(tmp_path: Path) -> None:
    broken = AGENT.format(name="half") + "raise RuntimeError('no luck')"
    found = loaded(tmp_path, bad=broken, syntax="def", exits="raise SystemExit(3)", good=AGENT.format(name="good"))
    assert list(found.components) == ["good"]
    assert {path.name for path in found.errors} == {"bad.py", "syntax.py", "exits.py"}
    assert found.errors[tmp_path / "bad.py"] == "RuntimeError: no luck"


def test_an_id_that_two_files_use_names_both(tmp_path: Path) -> None:
    found = loaded(tmp_path, one=AGENT.format(name="same"), two=AGENT.format(name="same"))
    assert list(found.components) == ["same"] and found.components["same"].file.name == "one.py"
    error = found.errors[tmp_path / "two.py"]
    assert "'same'" in error and "one.py" in error and "two.py" in error


def test_teams_and_workflows_share_the_ids(tmp_path: Path) -> None:
    team = "from agno.team import Team\nfrom runtime.offline import OfflineModel\n"
    team += "t = Team(id='same', model=OfflineModel(), members=[])"
    found = loaded(tmp_path, one=AGENT.format(name="same"), two=team)
    assert found.components["same"].kind == "agent" and len(found.errors) == 1


@pytest.mark.parametrize("kind", ["Agent(id='x')", "Team(id='x', members=[])"])
def test_without_a_model_is_an_error_and_not_openai(tmp_path: Path, kind: str) -> None:
    found = loaded(tmp_path, bare=f"from agno.agent import Agent\nfrom agno.team import Team\nx = {kind}")
    assert found.components == {}
    assert "'x' has no model" in found.errors[tmp_path / "bare.py"]


def test_a_name_makes_an_id_and_nothing_does_not(tmp_path: Path) -> None:
    head = "from agno.agent import Agent\nfrom runtime.offline import OfflineModel\n"
    found = loaded(
        tmp_path,
        named=head + "a = Agent(name='Night Watch', model=OfflineModel())",
        unnamed=head + "a = Agent(model=OfflineModel())",
    )
    assert list(found.components) == ["night-watch"]
    assert "neither an id nor a name" in found.errors[tmp_path / "unnamed.py"]


def test_the_directory_s_env_file_is_there_before_the_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADER_TEST_SET", "outside")
    monkeypatch.delenv("LOADER_TEST", raising=False)
    (tmp_path / ".env").write_text("LOADER_TEST=inside\nLOADER_TEST_SET=inside\n")
    text = "import os\nassert (os.environ['LOADER_TEST'], os.environ['LOADER_TEST_SET']) == ('inside', 'outside')\n"
    found = loaded(tmp_path, reads=text + AGENT.format(name="reads"))
    monkeypatch.delenv("LOADER_TEST")
    assert list(found.components) == ["reads"]


def test_no_directory_is_no_agents(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere").components == {}


def test_agents_stays_the_name_of_whoever_has_it(tmp_path: Path) -> None:
    before = sys.modules.get("agents")
    loaded(tmp_path, plain=AGENT.format(name="plain"))
    assert sys.modules.get("agents") is before and str(tmp_path) not in sys.path
