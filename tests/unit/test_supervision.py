"""supervisord's configuration."""

from configparser import RawConfigParser
from pathlib import Path

from stack.home import Home
from stack.services import SERVICES
from stack.supervision import Supervisor, configuration, socket_path


def parsed(home: Home) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read_string(configuration(home))
    return parser


def test_every_service_stops_before_what_it_needs(tmp_path: Path) -> None:
    parser = parsed(Home.open(tmp_path))
    order = sorted(SERVICES, key=lambda name: parser.getint(f"program:{name}", "priority"))
    assert order.index("postgres") < order.index("runtime")
    assert order.index("clickhouse") < order.index("collector") < order.index("runtime")
    assert order.index("phoenix") < order.index("collector")


def test_postgres_is_stopped_by_its_fast_shutdown(tmp_path: Path) -> None:
    assert parsed(Home.open(tmp_path)).get("program:postgres", "stopsignal") == "INT"


def test_an_odd_path_is_escaped(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "50% of it")
    assert "50%% of it/logs/runtime.log" in parsed(home).get("program:runtime", "stdout_logfile")


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    home = Home.open(tmp_path / ("long" * 30))
    assert len(str(socket_path(home))) < 90
    assert socket_path(home) != socket_path(Home.open(tmp_path / ("other" * 30)))


def test_nothing_runs_in_a_new_home(tmp_path: Path) -> None:
    supervisor = Supervisor(Home.open(tmp_path))
    assert not supervisor.running()
    assert supervisor.processes() == {}
