"""Agents found by path, and found again when their files change."""

import gc
import itertools
import logging
import os
import sys
import textwrap
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runtime import components
from runtime.generation import forget
from runtime.loader import Loaded, Loader

HEAD = """
from agno.agent import Agent
from agno.team import Team
from agno.workflow import Workflow, Step, Steps, Parallel, Condition
from runtime.offline import OfflineModel
from runtime.triggers import Trigger
"""


def agent(name: str, more: str = "", description: str = "") -> str:
    made = f"{name} = Agent(id={name!r}, model=OfflineModel(), description={description!r})"
    return f"{HEAD}{textwrap.dedent(more)}\n{made}\n"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("runtime.loader")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


class Directory:
    """Files written by name (`desk/inner`), loaded by one loader."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loader = Loader(path)
        self.loaded = Loaded()

    def write(self, files: dict[str, str]) -> "Directory":
        for name, text in files.items():
            path = self.path / (name if "." in name else f"{name}.py")
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        return self

    def load(self, files: dict[str, str] | None = None) -> Loaded:
        self.write(files or {})
        self.loaded = self.loader.load()
        return self.loaded

    def value(self, id: str) -> Any:
        return self.loaded.components[id].value

    @property
    def errors(self) -> dict[str, str]:
        return {path.name: failure.message for path, failure in self.loaded.errors.items()}

    def file(self, name: str) -> Any:
        return next(file for file in self.loaded.files if file.path.name == name)


@pytest.fixture
def agents(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def test_files_and_packages_and_no_helpers(agents: Directory) -> None:
    found = agents.load(
        {
            "desk/__init__": "from .inner import inner\n",
            "desk/inner": agent("inner"),
            "plain": agent("plain"),
            "_hidden": agent("hidden"),
            ".dotted.py": agent("dotted"),
            "my-agent": agent("dashed"),
        }
    )
    assert sorted(found.components) == ["dashed", "inner", "plain"]
    assert found.errors == {}
    assert found.components["inner"].file == agents.path / "desk"


def test_nothing_changed_is_nothing_done(agents: Directory) -> None:
    agents.load({"one": agent("one", "import time; at = time.monotonic_ns()")})
    before = agents.value("one")
    agents.load()
    assert agents.value("one") is before


def test_only_what_changed_is_imported_again(agents: Directory) -> None:
    agents.load({"one": agent("one"), "two": agent("two")})
    one, two = agents.value("one"), agents.value("two")
    agents.load({"one": agent("one", description="new")})
    assert agents.value("one") is not one and agents.value("one").description == "new"
    assert agents.value("two") is two


def test_the_same_text_at_another_time_is_no_change(agents: Directory) -> None:
    agents.load({"one": agent("one")})
    before = agents.value("one")
    os.utime(agents.path / "one.py", (1, 1))
    agents.load()
    assert agents.value("one") is before


def test_a_write_of_the_same_size_within_the_same_tick_is_a_change(agents: Directory) -> None:
    agents.load({"one": agent("one", description="a")})
    times = (agents.path / "one.py").stat()
    agents.write({"one": agent("one", description="b")})
    os.utime(agents.path / "one.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    agents.load()
    assert agents.value("one").description == "b"


@pytest.mark.parametrize(
    "use",
    [
        "from ._helper import said",
        "from . import _helper; said = _helper.said",
        "from ._between import said",
        "def late():\n    from ._helper import said\n    return said\nsaid = late()",
        "import importlib; said = importlib.import_module('._helper', __package__).said",
        "from .lib.deep import said",
    ],
)
def test_a_changed_helper_changes_who_imports_it(agents: Directory, use: str) -> None:
    files = {
        "_helper": "said = 'old'\n",
        "_between": "from ._helper import said\n",
        "lib/deep": "from .._helper import said\n",
        "user": agent("user", use) + "user.description = said\n",
        "other": agent("other"),
    }
    agents.load(files)
    user, other = agents.value("user"), agents.value("other")
    assert user.description == "old" and agents.errors == {}
    agents.load({"_helper": "said = 'new'\n"})
    assert agents.value("user").description == "new" and user.description == "old"
    assert agents.value("other") is other


def test_a_package_is_one(agents: Directory) -> None:
    agents.load({"desk/__init__": "from .a import a\nfrom .b import b\n", "desk/a": agent("a"), "desk/b": agent("b")})
    before = agents.value("a")
    agents.load({"desk/b": agent("b", description="new")})
    assert agents.value("b").description == "new" and agents.value("a") is not before


def test_texts_beside_the_files_are_read_again(agents: Directory) -> None:
    code = "from pathlib import Path\ntext = Path(__file__).with_name('prompts').joinpath('p.md').read_text()"
    agents.load({"prompts/p.md": "old", "one": agent("one", code) + "one.description = text\n"})
    agents.load({"prompts/p.md": "new"})
    assert agents.value("one").description == "new"


def test_a_broken_file_leaves_the_others_alone(agents: Directory) -> None:
    broken = {"bad": agent("half") + "raise RuntimeError('no luck')", "syntax": "x = 1\ndef", "good": agent("good")}
    found = agents.load(broken)
    assert list(found.components) == ["good"]
    assert agents.errors == {"bad.py": "RuntimeError: no luck", "syntax.py": "SyntaxError: invalid syntax"}
    assert agents.file("bad.py").failure.where == f"bad.py:{broken['bad'].count(chr(10)) + 1}"
    assert agents.file("syntax.py").failure.where == "syntax.py:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def f():\n    f()\nf()", "RecursionError: maximum recursion depth exceeded"),
        ("from . import _gone", "ImportError: cannot import name '_gone' from '.' (unknown location)"),
        ("from ._gone import x", "ModuleNotFoundError: No module named '._gone'"),
        ("x = " + "(" * 300, "SyntaxError: too many nested parentheses"),
        ("x = '\0'", "Error: source code string cannot contain null bytes"),
        ("import agents_of_another_package", "ModuleNotFoundError: No module named 'agents_of_another_package'"),
    ],
)
def test_what_a_file_raises_is_its_error_and_its_last_good_version_serves(
    agents: Directory, text: str, message: str
) -> None:
    agents.load({"one": agent("one"), "two": agent("two")})
    before = agents.value("one")
    agents.load({"one": text})
    assert agents.value("one") is before and "two" in agents.loaded.components
    assert list(agents.errors) == ["one.py"] and message in agents.errors["one.py"]
    file = agents.file("one.py")
    assert file.candidate is None and file.hash != file.serving.hash
    at = file.failure.at
    agents.load()
    assert agents.file("one.py").failure.at == at  # since when it is so
    agents.load({"one": agent("one", description="mended")})
    assert agents.value("one").description == "mended" and agents.errors == {}


def test_a_file_that_cannot_be_read_or_decoded_is_an_error(agents: Directory) -> None:
    agents.load({"one": agent("one")})
    (agents.path / "one.py").write_bytes(b"x = '\xff'\n")
    agents.load()
    assert "one" in agents.loaded.components and agents.errors["one.py"].startswith("SyntaxError: (unicode error)")
    (agents.path / "link.py").symlink_to("nowhere.py")
    os.mkfifo(agents.path / "pipe.py")
    (agents.path / "round").symlink_to(".")
    agents.load()
    assert set(agents.errors) == {"one.py"}


def test_a_broken_helper_keeps_all_that_need_it(agents: Directory) -> None:
    uses = "from ._helper import said"
    agents.load({"_helper": "said = 1\n", "one": agent("one", uses), "two": agent("two", uses), "six": agent("six")})
    one, two = agents.value("one"), agents.value("two")
    agents.load({"_helper": "said = 1 / 0\n", "six": agent("six", description="new")})
    assert (agents.value("one"), agents.value("two")) == (one, two) and agents.value("six").description == "new"
    assert agents.errors == dict.fromkeys(("one.py", "two.py"), "ZeroDivisionError: division by zero")
    assert agents.file("one.py").failure.where == "_helper.py:1"
    agents.load({"_helper": "said = 2\n"})
    assert agents.errors == {} and agents.value("one") is not one


def test_a_file_that_is_gone_takes_its_agents_with_it(agents: Directory) -> None:
    agents.load({"one": agent("one"), "two": agent("two")})
    (agents.path / "one.py").unlink()
    assert list(agents.load().components) == ["two"]


def test_a_directory_that_is_gone_takes_nothing(agents: Directory) -> None:
    agents.load({"one": agent("one")})
    agents.path.rename(agents.path.with_name("elsewhere"))
    assert list(agents.load().components) == ["one"]
    assert "there is no directory" in agents.errors[agents.path.name]
    agents.path.with_name("elsewhere").rename(agents.path)
    assert agents.load().errors == {}


def test_no_directory_is_no_agents(tmp_path: Path) -> None:
    assert Loader(tmp_path / "nowhere").load().components == {}


def test_replaced_code_goes_on_with_what_it_began_with_and_is_freed_then(agents: Directory) -> None:
    late = """
        def tool():
            from ._helper import said
            from . import _unused
            return said + _unused.said
    """
    agents.load(
        {
            "_helper": "said = 'old'",
            "_unused": "said = ' old'",
            "one": agent("one", late) + "one.metadata = {'tool': tool}",
        }
    )
    old = agents.value("one").metadata["tool"]
    agents.load({"_helper": "said = 'new'", "_unused": "said = ' new'"})
    agents.load({"one": agent("one", late, "newer") + "one.metadata = {'tool': tool}"})
    assert old() == "old old"
    assert agents.value("one").metadata["tool"]() == "new new"
    globals_of_old = weakref.ref(sys.modules[old.__module__]) if old.__module__ in sys.modules else None
    del old
    agents.load({"one": agent("one", late, "newest") + "one.metadata = {'tool': tool}"})
    gc.collect()
    assert globals_of_old is None or globals_of_old() is None


def test_reloads_leave_nothing_behind(agents: Directory) -> None:
    agents.load({"_helper": "said = 1", "one": agent("one", "from ._helper import said")})
    for n in range(20):
        agents.load({"one": agent("one", "from ._helper import said", str(n))})
    assert sum(name.startswith("_agent_files_") for name in sys.modules) < 10
    gc.collect()
    named = [o for o in gc.get_objects() if type(o).__name__ == "Agent" and getattr(o, "id", "") == "one"]
    assert len(named) < 5


def test_other_threads_import_meanwhile() -> None:
    stopped = threading.Event()

    def change() -> None:
        for number in itertools.cycle(range(100)):
            if stopped.is_set():
                return
            sys.modules[f"imported_{number}"] = ModuleType("imported")
            sys.modules.pop(f"imported_{(number + 50) % 100}", None)

    other = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    other.start()
    try:
        for _ in range(500):
            forget(but=set())
    finally:
        stopped.set()
        other.join()
        sys.setswitchinterval(interval)
        for number in range(100):
            sys.modules.pop(f"imported_{number}", None)


def test_an_id_that_two_files_use_names_both(agents: Directory) -> None:
    found = agents.load({"one": agent("same"), "two": agent("same") + agent("more")})
    assert list(found.components) == ["same"] and found.components["same"].file.name == "one.py"
    assert agents.errors == {
        "two.py": f"the id 'same' is defined in {agents.path / 'one.py'} and in {agents.path / 'two.py'}"
    }


def test_an_id_stays_with_the_file_that_serves_it(agents: Directory) -> None:
    agents.load({"two": agent("same")})
    found = agents.load({"one": agent("same")})
    assert found.components["same"].file.name == "two.py" and set(agents.errors) == {"one.py"}
    found = agents.load({"two": agent("other")})
    assert {id: c.file.name for id, c in found.components.items()} == {"same": "one.py", "other": "two.py"}
    assert agents.errors == {}


def test_ids_change_places(agents: Directory) -> None:
    agents.load({"one": agent("a"), "two": agent("b")})
    found = agents.load({"one": agent("b"), "two": agent("a")})
    assert {id: c.file.name for id, c in found.components.items()} == {"a": "two.py", "b": "one.py"}
    assert agents.errors == {}


def test_a_version_that_cannot_serve_gives_back_the_ids_of_the_one_before(agents: Directory) -> None:
    agents.load({"one": agent("a"), "two": agent("b"), "six": agent("c")})
    found = agents.load({"one": agent("b"), "two": agent("c")})  # c is six's, so two keeps b, so one keeps a
    assert {id: c.file.name for id, c in found.components.items()} == {"a": "one.py", "b": "two.py", "c": "six.py"}
    assert set(agents.errors) == {"one.py", "two.py"}


def test_what_another_file_defines_is_that_file_s(agents: Directory) -> None:
    team = "from .member import member\nteam = Team(id='team', model=OfflineModel(), members=[member])\n"
    found = agents.load({"ateam": HEAD + team, "member": agent("member")})
    assert {id: c.file.name for id, c in found.components.items()} == {"team": "ateam.py", "member": "member.py"}
    agents.load({"member": agent("member", description="new")})
    assert agents.value("team").members[0] is agents.value("member")
    agents.load({"ateam": "broken(", "member": agent("member", description="newer")})
    assert agents.value("member").description == "newer" and agents.value("team").members[0].description == "new"
    assert set(agents.errors) == {"ateam.py"}


def test_an_agent_of_a_helper_may_be_used_by_many(agents: Directory) -> None:
    uses = "from ._shared import shared\n"
    agents.load({"_shared": agent("shared"), "one": uses, "two": uses})
    assert agents.errors == {} and agents.loaded.components["shared"].file.name in ("one.py", "two.py")
    agents.load({"_shared": agent("shared", description="new"), "one": uses + "1 / 0"})
    assert agents.value("shared").description == "new" and set(agents.errors) == {"one.py"}


def test_teams_and_workflows_share_the_ids(agents: Directory) -> None:
    found = agents.load({"one": agent("same"), "two": HEAD + "t = Team(id='same', model=OfflineModel(), members=[])"})
    assert found.components["same"].kind == "agent" and len(found.errors) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = Agent(id='x')", "agent 'x' has no model"),
        ("x = Team(id='x', members=[])", "team 'x' has no model"),
        (
            "x = Team(id='x', model=OfflineModel(), members=[Team(id='y', members=[])])",
            "team 'y' in team 'x' has no model",
        ),
        (
            "x = Workflow(id='x', name='X', steps=[Step(name='s', agent=Agent(id='y'))])",
            "agent 'y' in workflow 'x' has no model",
        ),
        (
            "x = Workflow(id='x', name='X', steps=Steps(name='all', steps=[Parallel(Agent(id='y'), name='p')]))",
            "agent 'y' in workflow 'x' has no model",
        ),
        (
            "x = Workflow(id='x', name='X', steps=[Condition(evaluator=True, steps=[Team(id='y', members=[])])])",
            "team 'y' in workflow 'x' has no model",
        ),
    ],
)
def test_without_a_model_is_an_error_and_not_openai(agents: Directory, text: str, message: str) -> None:
    found = agents.load({"bare": HEAD + text})
    assert found.components == {}
    assert message in agents.errors["bare.py"] and "OpenAI" in agents.errors["bare.py"]


def test_members_take_the_team_s_model(agents: Directory) -> None:
    agents.load({"team": HEAD + "x = Team(id='x', model=OfflineModel(), members=[Agent(id='y')])"})
    assert agents.errors == {}


def test_a_name_makes_an_id_and_nothing_does_not(agents: Directory) -> None:
    found = agents.load(
        {
            "named": HEAD + "a = Agent(name='Night Watch', model=OfflineModel())",
            "unnamed": HEAD + "a = Agent(model=OfflineModel())",
        }
    )
    assert list(found.components) == ["night-watch"]
    assert "neither an id nor a name" in agents.errors["unnamed.py"]


def test_triggers_by_source_in_order_of_files_and_lines(agents: Directory) -> None:
    more = "second = Trigger(to={id!r}, source='github', priority=2)\n"
    first = "first = Trigger(to=b, source='github', priority=1)\n" + more.format(id="a")
    agents.load({"b": agent("b") + first, "a": agent("a") + "web = Trigger(to=a)\n" + more.format(id="b")})
    found = agents.loaded.triggers
    assert [(t.component_id, t.priority) for t in found["github"]] == [("b", 2), ("b", 1), ("a", 2)]
    assert [t.component_id for t in found["webhook"]] == ["a"]


def test_a_trigger_leads_to_what_is_loaded(agents: Directory) -> None:
    agents.load({"a": agent("a"), "b": agent("b") + "t = Trigger(to='c', source='x')"})
    assert agents.errors == {"b.py": "a trigger leads to 'c', which is not loaded"}
    agents.load({"b": agent("b") + "t = Trigger(to='a', source='x')"})
    assert agents.errors == {} and len(agents.loaded.triggers["x"]) == 1
    (agents.path / "a.py").unlink()
    agents.load()
    assert "b" in agents.loaded.components and agents.loaded.triggers == {}
    assert agents.errors == {"b.py": "a trigger leads to 'a', which is not loaded any more"}


def test_the_directory_s_env_file_is_there_before_the_agents(
    agents: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADER_OUTSIDE", "outside")
    reads = "import os\nsaid = ' '.join(os.environ.get('LOADER_' + n, '-') for n in ('OUTSIDE', 'ONE', 'TWO'))"
    text = agent("one", reads) + "one.description = said\n"
    agents.load({".env": "LOADER_OUTSIDE=inside\nLOADER_ONE=1\nLOADER_TWO=${LOADER_ONE}2\n", "one": text})
    assert agents.value("one").description == "outside 1 12"
    agents.load({".env": "LOADER_ONE=3\n"})
    assert agents.value("one").description == "outside 3 -"
    (agents.path / ".env").write_bytes(b"LOADER_ONE=\xff\n")
    agents.load()
    assert agents.value("one").description == "outside 3 -" and ".env" in agents.errors
    (agents.path / ".env").unlink()
    agents.load()
    assert agents.value("one").description == "outside - -" and agents.errors == {}
    assert os.environ["LOADER_OUTSIDE"] == "outside"


def test_agents_stays_the_name_of_whoever_has_it(agents: Directory) -> None:
    before = sys.modules.get("agents")
    agents.load({"plain": agent("plain")})
    assert sys.modules.get("agents") is before and str(agents.path) not in sys.path


def test_a_file_with_the_name_of_a_package_is_told(agents: Directory) -> None:
    agents.load({"desk/__init__": agent("inner"), "desk": agent("outer")})
    assert list(agents.loaded.components) == ["inner"]
    assert agents.errors == {"desk.py": "the directory desk/ has the same name"}


def test_modules_are_what_python_expects(agents: Directory) -> None:
    code = """
        from __future__ import annotations
        import dataclasses, inspect, importlib.resources, pickle, typing
        @dataclasses.dataclass
        class Order:
            id: int
        def tool(order: Order) -> Order: ...
        assert typing.get_type_hints(tool)['order'] is Order
        assert pickle.loads(pickle.dumps(Order(3))) == Order(3)
        assert 'def tool' in inspect.getsource(tool)
        assert importlib.resources.files(__package__).joinpath('data.txt').read_text() == 'data'
        assert __file__.endswith('desk/__init__.py')
    """
    agents.load({"desk/__init__": textwrap.dedent(code) + agent("desk"), "desk/data.txt": "data"})
    assert agents.errors == {}


def test_a_component_that_cannot_be_prepared_is_its_file_s_error(tmp_path: Path) -> None:
    def prepare(found: Any) -> None:
        for component in found:
            if component.id == "bad":
                raise RuntimeError("not this one")

    agents = Directory(tmp_path)
    agents.loader = Loader(tmp_path, prepare)
    assert list(agents.load({"bad": agent("bad"), "good": agent("good")}).components) == ["good"]
    assert agents.errors == {"bad.py": "RuntimeError: not this one"}


def test_thousands_of_files(agents: Directory) -> None:
    count = 3000
    agents.write({"_helper": "said = 1"} | {f"a{n}": agent(f"a{n}", "from ._helper import said") for n in range(count)})
    assert len(agents.load().components) == count
    before = agents.value("a7")
    agents.load({"a6": agent("a6", description="new")})
    assert agents.value("a6").description == "new" and agents.value("a7") is before
    agents.load({"_helper": "said = 2"})
    assert agents.value("a7") is not before and agents.errors == {}
    assert set(components.KINDS.values()) == {"agent", "team", "workflow"}
