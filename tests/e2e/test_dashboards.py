"""The dashboards in a real browser, on the real ClickHouse: drawn, empty, dark, light, wide, narrow, and used by hand.

Pictures of every board are left in tests/artifacts/dashboards.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from playwright.sync_api import Browser, BrowserContext, expect

from stack.alone import running, temporary_home
from stack.home import Home
from telemetry.clickhouse.client import connect
from telemetry.clickhouse.migrate import migrate
from tests.e2e.pages import BOARDS, PHONE, SECONDS, WIDE, Visit, browser, serving
from tests.e2e.seeds import refresh, seed
from tests.integration.runtimes import until

UIDS = sorted(path.stem for path in BOARDS.glob("*.json"))
HOSTILE = "<img src=x onerror=alert(1)>&\"'${run_id} %{x} <b>bold</b>"  # an agent's name
SPANS = 8_000
HOURS = 5
RUN = (
    "INSERT INTO otel_traces (Timestamp, TraceId, SpanId, SpanName, ServiceName, SpanAttributes, Duration, StatusCode)"
    " VALUES (now64(9) - 2, {trace:String}, {trace:String}, {name:String}, 'agent-runtime', map("
    "'gen_ai.operation.name', 'invoke_agent', 'agno.run.kind', 'agent', 'agno.run.status', {status:String},"
    " 'gen_ai.agent.id', {agent:String}, 'agno.run.id', {trace:String}, 'session.id', {agent:String},"
    " 'error.type', {agent:String}), 1500000000, 'Error')"
)

pytestmark = pytest.mark.timeout(300)
_number = itertools.count(1)

expect.set_options(timeout=SECONDS * 1000)


@pytest.fixture(scope="module")
def clickhouse() -> Iterator[Home]:
    """With two databases: `otel` is filled, `otel_empty` has its tables only."""
    with temporary_home() as home, running(home, "clickhouse"):
        for url in (home.clickhouse_url, empty(home.clickhouse_url)):
            migrate(url)
        otel = connect(home.clickhouse_url)
        seed(otel, SPANS, HOURS)
        insert_run(otel, "agent-1")
        otel.close()
        yield home


def empty(url: str) -> str:
    return f"{url}_empty"


@pytest.fixture(scope="module")
def otel(clickhouse: Home) -> Iterator[Client]:
    client = connect(clickhouse.clickhouse_url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def filled(clickhouse: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("filled"), clickhouse.clickhouse_readonly_url) as url:
        yield url


@pytest.fixture(scope="module")
def nothing(clickhouse: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("nothing"), empty(clickhouse.clickhouse_readonly_url)) as url:
        yield url


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


def context(chrome: Browser, theme: str) -> Iterator[BrowserContext]:
    """With a cache of its own, which the visits of a module share as those of a person do."""
    opened = chrome.new_context(viewport=WIDE, color_scheme=theme)  # type: ignore[arg-type]
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def dark(chrome: Browser) -> Iterator[BrowserContext]:
    yield from context(chrome, "dark")


@pytest.fixture(scope="module")
def light(chrome: Browser) -> Iterator[BrowserContext]:
    yield from context(chrome, "light")


@pytest.fixture
def visit(dark: BrowserContext, filled: str) -> Iterator[Visit]:
    yield from visiting(dark, filled)


@pytest.fixture
def empty_visit(light: BrowserContext, nothing: str) -> Iterator[Visit]:
    yield from visiting(light, nothing)


def visiting(context: BrowserContext, url: str) -> Iterator[Visit]:
    visit = Visit(context.new_page(), url)
    yield visit
    visit.page.evaluate("localStorage.clear()")
    visit.page.close()
    assert not visit.problems


def failed_run(otel: Client) -> str:
    """One with calls within it."""
    failed = "status = 'error' AND input_tokens > 0"
    return str(otel.command(f"SELECT run_id FROM runs WHERE {failed} ORDER BY started_at DESC LIMIT 1"))


def insert_run(otel: Client, agent: str, status: str = "error") -> str:
    trace = f"{next(_number):032x}".replace("0", "a", 1)
    values = {"trace": trace, "name": f"invoke_agent {agent}", "agent": agent, "status": status}
    otel.command(RUN, parameters=values)
    refresh(otel)
    return trace


@pytest.mark.parametrize("uid", UIDS)
def test_a_board_with_data(uid: str, visit: Visit, otel: Client) -> None:
    parameters = {"var-run_id": failed_run(otel)} if uid == "run" else {}
    visit.open(uid, **parameters)
    states = visit.settle()
    assert set(states.values()) <= {"drawn", "empty"}, states
    assert list(states.values()).count("drawn") > len(states) / 2, states
    visit.picture(f"{uid}-dark")
    visit.theme("light")
    visit.settle()
    visit.picture(f"{uid}-light")
    visit.resize(PHONE)
    assert set(visit.settle().values()) <= {"drawn", "empty"}
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    visit.picture(f"{uid}-phone")


@pytest.mark.parametrize("uid", UIDS)
def test_an_empty_board_says_so_in_words(uid: str, empty_visit: Visit) -> None:
    empty_visit.open(uid)
    states = empty_visit.settle()
    assert set(states.values()) <= {"drawn", "empty"} and "empty" in states.values(), states
    words = empty_visit.page.locator(".panel[data-state=empty] .empty").all_inner_texts()
    assert len(words) == list(states.values()).count("empty") and all(words)
    empty_visit.picture(f"{uid}-empty")


def test_dragging_across_a_chart_sets_the_range_of_the_page(visit: Visit) -> None:
    visit.open("fleet", **{"from": "now-6h", "to": "now"})
    visit.settle()
    chart = visit.page.locator(".panel[data-type=timeseries] .chart").first
    box = chart.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    visit.page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    expect(visit.page.locator("#tip .row").first).to_be_visible()
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=5)
    visit.page.mouse.up()
    expect(visit.page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    found = re.search(r"from=(\d+)&to=(\d+)", visit.page.url)
    assert found
    assert 0.2 * 6 < (int(found[2]) - int(found[1])) / 3_600_000 < 0.35 * 6, "a quarter of six hours"
    expect(visit.page.locator(".picker")).to_have_text(re.compile(r"\d\d:\d\d"))
    visit.settle()
    visit.page.go_back()
    expect(visit.page.locator(".picker")).to_have_text("Last 6 hours")
    visit.settle()


def test_variables_are_chosen_and_stand_in_the_address(visit: Visit) -> None:
    visit.open("fleet", **{"from": "now-6h", "to": "now", "refresh": "off"})
    visit.settle()
    agents = visit.panel("Agents, the worst first").locator("tbody tr")
    assert agents.count() > 5
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("agent-1")
    visit.page.get_by_role("checkbox", name="agent-1", exact=True).check()
    visit.page.get_by_role("checkbox", name="agent-12", exact=True).check()
    visit.page.keyboard.press("Escape")
    expect(visit.page).to_have_url(re.compile("var-agent=agent-1&var-agent=agent-12"))
    expect(visit.page.locator("[data-variable=agent]")).to_have_text(re.compile("agent-1, agent-12"))
    expect(agents).to_have_count(2)
    visit.page.locator("[data-variable=interval]").click()
    visit.page.get_by_role("radio", name="1 h").click()
    expect(visit.page).to_have_url(re.compile("var-interval=3600"))
    visit.page.reload()
    expect(agents).to_have_count(2)
    visit.settle()


def test_from_the_fleet_to_the_run_and_its_spans_without_loading_the_page_again(visit: Visit) -> None:
    visit.open("fleet", **{"from": "now-6h", "to": "now"})
    visit.settle()
    visit.page.evaluate("window.loadedOnce = true")
    visit.panel("Agents, the worst first").locator("tbody a").first.click()
    expect(visit.page).to_have_url(re.compile(r"/dashboards/agent\?.*var-agent=agent-\d+"))
    visit.settle()
    visit.panel("Failed runs").locator("tbody a").first.click()
    expect(visit.page).to_have_url(re.compile(r"/dashboards/run\?.*var-run_id="))
    spans = visit.page.get_by_role("treeitem")
    expect(spans).to_have_count(8)
    spans.first.focus()
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".details")).to_contain_text("agno.run.id")
    visit.page.keyboard.press("ArrowLeft")
    expect(spans).to_have_count(2)
    visit.settle()
    assert visit.page.evaluate("window.loadedOnce")
    visit.page.go_back()
    expect(visit.page.locator("nav [aria-current]")).to_have_text("Agent")
    visit.settle()


def test_it_refreshes_by_itself_and_by_hand_and_not_while_it_is_off(visit: Visit, otel: Client) -> None:
    insert_run(otel, "refreshed")
    visit.page.clock.install()
    visit.open("fleet", **{"var-agent": "refreshed"})
    runs = visit.panel("Runs").locator(".figure")
    expect(runs).to_have_text("1")
    insert_run(otel, "refreshed")
    visit.page.clock.fast_forward(31_000)
    expect(runs).to_have_text("2")
    visit.page.get_by_label("Refresh by itself").select_option("off")
    expect(visit.page).to_have_url(re.compile("refresh=off"))
    insert_run(otel, "refreshed")
    visit.page.clock.fast_forward(120_000)
    visit.page.clock.run_for(1_000)
    expect(runs).to_have_text("2")
    visit.page.keyboard.press("r")
    visit.page.clock.run_for(1_000)
    expect(runs).to_have_text("3")


def test_the_theme_is_kept(visit: Visit) -> None:
    root = visit.page.locator("html")
    visit.open("tools")
    expect(root).to_have_attribute("data-theme", "dark")
    visit.theme("light")
    expect(root).to_have_attribute("data-theme", "light")
    visit.page.reload()
    expect(root).to_have_attribute("data-theme", "light")
    visit.settle()


def test_everything_is_reached_by_keyboard(visit: Visit) -> None:
    visit.open("fleet")
    visit.settle()
    keyboard = visit.page.keyboard
    keyboard.press("?")
    expect(visit.page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    keyboard.press("Escape")
    keyboard.press("t")
    expect(visit.page.get_by_role("button", name="Last hour", exact=True)).to_be_focused()
    keyboard.press("Escape")
    menu = visit.page.get_by_role("button", name="Menu of Tokens per minute")
    chart = visit.panel("Tokens per minute").locator(".chart")
    menu.focus()
    keyboard.press("Tab")
    expect(chart).to_be_focused()
    keyboard.press("ArrowLeft")
    expect(visit.page.locator("#tip")).to_contain_text("input")
    keyboard.press("v")
    expect(visit.page).to_have_url(re.compile("viewPanel="))
    expect(visit.page.locator(".panel:visible")).to_have_count(1)
    keyboard.press("Escape")
    expect(visit.page.locator(".panel:visible")).to_have_count(16)
    keyboard.press("g")
    keyboard.press("p")
    expect(visit.page.locator("nav [aria-current]")).to_have_text("Pipeline")
    visit.settle()


def test_a_panel_shows_its_sql_and_its_data(visit: Visit) -> None:
    visit.open("fleet")
    visit.settle()
    menu = visit.page.get_by_role("button", name="Menu of Tokens per minute")
    menu.click()
    visit.page.get_by_role("button", name="Show the SQL").click()
    expect(visit.page.locator("dialog .sql")).to_contain_text("SELECT")
    visit.page.keyboard.press("Escape")
    menu.click()
    visit.page.get_by_role("button", name="Show the data as a table").click()
    expect(visit.page.locator("dialog tbody tr").first).to_be_visible()
    visit.page.keyboard.press("Escape")
    menu.click()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Download CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("time,") and len(lines) > 5


def test_alerts_with_their_value_their_objective_and_where_to_look(visit: Visit) -> None:
    visit.open("alerts")
    rule = visit.page.locator("[data-rule=DeadLetters]")
    expect(rule.locator(".state").first).to_have_text("Firing")
    instance = rule.locator("li", has_text="agent-1").first
    expect(instance.locator(".measure")).to_contain_text("objective 0")
    expect(instance.get_by_role("link", name="Worst trace")).to_have_attribute("href", re.compile("phoenix.example"))
    expect(rule.get_by_role("link", name="Runbook")).to_have_attribute("href", re.compile("/dashboards/docs/alerts#"))
    expect(visit.page.locator(".history tbody tr").first).to_be_visible()
    firing = int(visit.page.locator(".summary [data-state=firing] b").inner_text())
    expect(visit.page.locator("nav .badge")).to_have_text(str(firing))
    visit.grow()
    visit.picture("alerts-dark")
    visit.theme("light")
    visit.picture("alerts-light")
    instance.get_by_role("link", name="Dashboard").click()
    expect(visit.page).to_have_url(re.compile("/dashboards/pipeline.*var-agent=agent-1"))
    expect(visit.page.locator("[data-variable=agent]")).to_contain_text("agent-1")
    visit.settle()


def test_hostile_names_are_text(visit: Visit, otel: Client) -> None:
    run = insert_run(otel, HOSTILE)
    visit.open("fleet", **{"from": "now-15m", "to": "now"})
    visit.settle()
    agents = visit.panel("Agents, the worst first")
    expect(agents.get_by_text(HOSTILE, exact=True)).to_be_visible()
    expect(visit.panel("Errors by type")).to_contain_text(HOSTILE)
    agents.get_by_role("link", name=HOSTILE, exact=True).click()
    expect(visit.page.locator("[data-variable=agent]")).to_contain_text(HOSTILE)
    visit.settle()
    expect(visit.panel("Runs").locator(".figure")).to_have_text("1")
    errors = visit.panel("Errors by type")
    expect(errors.locator(".legend")).to_contain_text(HOSTILE)
    errors.locator(".chart").focus()
    visit.page.keyboard.press("ArrowLeft")
    expect(visit.page.locator("#tip")).to_contain_text(HOSTILE)
    visit.open("run", **{"var-run_id": run})
    visit.settle()
    expect(visit.page.get_by_role("treeitem")).to_contain_text(HOSTILE)
    assert visit.page.locator("img, b:text-is('bold')").count() == 0
    answers = [
        visit.import_("links.js", f"m.safe({address!r})")
        for address in ("javascript:alert(1)", "data:text/html,x", "//elsewhere.example", "/d/run?var-run_id=a")
    ]
    assert answers == [None, None, "http://elsewhere.example/", "/dashboards/run?var-run_id=a"]


def test_values_are_written_as_in_grafana(visit: Visit) -> None:
    visit.open("alerts")
    values = [
        (1.25, "s", "1.25 s"),
        (0.35, "s", "350 ms"),
        (150, "s", "2.5 min"),
        (1250, "ms", "1.25 s"),
        (12.3 * 2**20, "bytes", "12.3 MiB"),
        (12_300_000, "decbytes", "12.3 MB"),
        (4500, "short", "4.5 K"),
        (0, "short", "0"),
        (0.123, "percentunit", "12.3%"),
        (0.0123, "currencyUSD", "$0.0123"),
        (12.5, "currencyUSD", "$12.50"),
        (12, "cpm", "12 /min"),
        (1234567, "none", "1,234,567"),
        (None, "s", ""),
    ]
    for value, unit, text in values:
        written = "null" if value is None else repr(value)
        assert visit.import_("format.js", f"m.format({written}, {unit!r})") == text
    assert visit.import_("format.js", "m.fromNow(Date.now() - 185000)") == "3 minutes ago"


def test_clickhouse_goes_away_and_comes_back(chrome: Browser, tmp_path: Path) -> None:
    with temporary_home() as home, running(home, "clickhouse") as process:
        migrate(home.clickhouse_url)
        with serving(tmp_path, home.clickhouse_readonly_url) as url:
            context = chrome.new_context(viewport=WIDE)
            visit = Visit(context.new_page(), url)
            visit.open("fleet")
            visit.settle()
            banner = visit.page.locator("#banner")
            expect(banner).to_be_hidden()
            process.kill()
            process.wait()
            visit.page.keyboard.press("r")
            expect(banner).to_contain_text("ClickHouse does not answer")
            visit.picture("away")
            with running(home, "clickhouse"):
                expect(banner).to_be_hidden()
                until(lambda: "error" not in visit.settle().values(), SECONDS)
            context.close()
