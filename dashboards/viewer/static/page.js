/** Puts the page together: what the URL says is shown, and kept fresh. */

import { AlertsView } from "./alerts.js";
import * as api from "./api.js";
import { Board } from "./board.js";
import { h } from "./dom.js";
import { shortcuts } from "./keyboard.js";
import { constants, effective, read, write } from "./state.js";
import { resolve } from "./times.js";
import { toolbar } from "./toolbar.js";
import * as tips from "./tips.js";

const SECONDS = { "10s": 10, "30s": 30, "1m": 60 };
const AWAY = 5; // seconds between two tries while a store is away
const OPTIONS_AFTER = 100; // ms after the panels: they are what one waits for
const ALERTS = 30; // seconds between two looks at the alerts

const host = document.getElementById("board");
const banner = document.getElementById("banner");
const jsons = new Map(); // uid -> a board as Grafana has it
let state = read();
let shown = null; // a Board or the AlertsView
let json = null; // the board's
let settings = {};
let known = []; // boards
let away = false;
let refreshedAt = 0;
let timer = 0;
let opening = new AbortController();

const page = {
  zoom: (from, to) => change({ from: String(Math.round(from)), to: String(Math.round(to)) }),
  view: (panel) => change({ panel: panel ? String(panel.json.id) : null }),
  answered,
};

const bar = toolbar(document.getElementById("bar"), {
  range: (from, to) => change({ from, to }),
  variable: (name, values) => change({ variables: { ...state.variables, [name]: values } }),
  every: (refresh) => change({ refresh }, true),
  refresh: () => refresh(true),
  href: (view) => write({ ...state, view, panel: null }),
});

/** Another state: into the URL, and onto the page. */
function change(changes, replace = false) {
  const before = state;
  state = { ...state, ...changes };
  if (write(state) === write(before)) return;
  history[replace ? "replaceState" : "pushState"](null, "", write(state));
  apply(before);
}

function go(address) {
  const url = new URL(address, location.origin);
  const before = state;
  state = read(url);
  history.pushState(null, "", url.pathname + url.search);
  apply(before);
  if (state.view !== before.view) scrollTo(0, 0);
}

async function apply(before) {
  if (!shown || state.view !== before?.view) return open();
  if (state.view === "alerts") return;
  shown.show(state.panel);
  const same = (one) => JSON.stringify(effective(one, json));
  if (same(state) !== same(before))
    refresh(
      state.from !== before.from ||
        state.to !== before.to ||
        JSON.stringify(state.variables) !== JSON.stringify(before.variables),
    );
}

/** Opens what the URL names. */
async function open() {
  opening.abort();
  const { signal } = (opening = new AbortController());
  shown?.dispose();
  shown = null;
  tips.hide();
  banner.hidden = !away;
  const { view } = state;
  if (view === "alerts") {
    json = null;
    bar.variables.build(null);
    bar.set(view, effective(state, null));
    shown = new AlertsView(host, answered);
    return refresh();
  }
  if (!jsons.has(view)) host.replaceChildren(placeholder());
  try {
    const found = jsons.get(view) ?? (await api.boardJson(view, signal));
    if (signal.aborted) return;
    jsons.set(view, found);
    json = found;
  } catch (error) {
    if (!signal.aborted && error.name !== "AbortError") missing(error);
    return;
  }
  await ready; // settings are in links
  if (signal.aborted) return;
  bar.variables.build(json);
  shown = new Board(host, json, page);
  shown.show(state.panel);
  refresh(true);
}

const placeholder = () =>
  h(
    "div.grid",
    { "aria-hidden": "true" },
    ...[6, 6, 6, 6, 12, 12].map((w, index) =>
      h(
        "section.panel",
        {
          style: `--x:${index < 4 ? index * 6 + 1 : (index - 4) * 12 + 1};--y:${index < 4 ? 1 : 5};--w:${w};--h:${index < 4 ? 4 : 8}`,
        },
        h("div.body", {}, h("div.skeleton", {}, h("i"), h("i"))),
      ),
    ),
  );

function missing(error) {
  if (error.away) answered(error);
  const text = error.status === 404 ? `There is no dashboard “${state.view}”.` : error.message;
  host.replaceChildren(
    h(
      "div.problem.page",
      { role: "alert" },
      h("b", {}, text),
      h("p", {}, h("a", { href: "/dashboards/fleet" }, "Fleet"), " shows all agents."),
      h("button", { type: "button", onclick: () => open() }, "Try again"),
    ),
  );
}

/** Asks for everything in sight, for one and the same range. `options`: also what the variables can be. */
function refresh(options = false) {
  clearTimeout(timer);
  if (!shown) return;
  refreshedAt = Date.now();
  const now = effective(state, json);
  bar.set(state.view, now);
  if (state.view === "alerts") watchAlerts(true);
  else {
    const range = [resolve(now.from, refreshedAt), resolve(now.to, refreshedAt, true)];
    const view = {
      uid: state.view,
      range,
      variables: now.variables,
      texts: {},
      annotations: [],
      context: { variables: now.variables, constants: constants(json, settings), from: now.from, to: now.to },
    };
    bar.variables.set(now.variables);
    if (options && unchosen(now.variables).length) return choose(view);
    view.texts = bar.variables.texts();
    shown.refresh(view);
    if (options) setTimeout(() => loadOptions(view), OPTIONS_AFTER);
  }
  schedule();
}

async function loadOptions(view) {
  const query = api.query({ from: view.range[0], to: view.range[1], variables: view.variables });
  const found = await api.variables(view.uid, query, opening.signal).catch(() => null);
  if (found && state.view === view.uid) bar.variables.options(found);
  return found;
}

/** Variables that have to have a value and have none yet. */
const unchosen = (values) =>
  json.templating.list.filter(({ type, includeAll, name }) => type === "query" && !includeAll && !values[name]?.length);

/** Takes the first that there is, as Grafana does, and goes on; with none, the panels say so. */
async function choose(view) {
  const found = (await loadOptions(view)) ?? {};
  if (state.view !== view.uid || opening.signal.aborted) return;
  const first = unchosen(view.variables)
    .map(({ name }) => [name, found[name]?.options?.[0]?.value])
    .filter(([, value]) => value !== undefined);
  if (!first.length) return refresh();
  state = {
    ...state,
    variables: { ...state.variables, ...Object.fromEntries(first.map(([name, value]) => [name, [String(value)]])) },
  };
  history.replaceState(null, "", write(state));
  refresh(true);
}

/** The next refresh: sooner while a store is away, none while nobody looks. */
function schedule() {
  clearTimeout(timer);
  const every = away ? AWAY : SECONDS[effective(state, json).refresh];
  if (!every || document.hidden) return;
  timer = setTimeout(() => refresh(), Math.max(0, refreshedAt + every * 1000 - Date.now()));
}

/** What a question was answered: null, or a problem. A store that is away is said once, for the whole page. */
function answered(problem) {
  if (problem && !problem.away) return;
  const was = away;
  away = Boolean(problem);
  if (away) {
    const server = problem.status === 0;
    banner.replaceChildren(
      h("b", {}, server ? "The server of this page does not answer." : "ClickHouse does not answer."),
      h(
        "span",
        {},
        ` ${server ? "" : "What is shown is what was there before. "}The page tries again every ${AWAY} seconds. In the embedded stack, `,
        h("code", {}, "uv run stack status"),
        " says what runs and what does not; its services are restarted by themselves.",
      ),
    );
  }
  banner.hidden = !away;
  if (was === away) return;
  if (was)
    refresh(true); // it is back: what failed is asked for again
  else schedule();
}

async function watchAlerts(show = false) {
  clearTimeout(watchAlerts.timer);
  const found = await api.alerts().catch((error) => error);
  const failed = found instanceof Error;
  if (!failed)
    bar.setFiring(found.rules.flatMap(({ instances }) => instances ?? []).filter((one) => one.state === "firing").length);
  if (show && shown instanceof AlertsView) failed ? shown.refresh() : shown.refresh(found);
  if (!document.hidden) watchAlerts.timer = setTimeout(() => watchAlerts(shown instanceof AlertsView), ALERTS * 1000);
}

/** A link to a board or to the alerts opens here, without loading the page again. */
function followed(event) {
  const anchor = event.target.closest?.("a[href]");
  if (!anchor || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
    return;
  const url = new URL(anchor.href, location.origin);
  const view = /^\/dashboards\/([^/]+)\/?$/.exec(url.pathname)?.[1];
  if (url.origin !== location.origin || !view || (view !== "alerts" && !known.some(({ uid }) => uid === view))) return;
  event.preventDefault();
  anchor.closest("[popover]")?.hidePopover();
  go(url.href);
}

const panelInSight = () =>
  shown instanceof Board && (shown.find(document.activeElement) ?? shown.find(document.querySelector(".panel:hover")));

document.addEventListener("click", followed);
document.addEventListener(
  "themechange",
  () => shown instanceof Board && shown.panels.forEach((panel) => panel.isChart && panel.view && panel.draw()),
);
document.addEventListener("visibilitychange", () => {
  schedule();
  if (!document.hidden) watchAlerts(shown instanceof AlertsView);
});
addEventListener("popstate", () => {
  const before = state;
  state = read();
  apply(before);
});
shortcuts({
  refresh: () => refresh(true),
  times: bar.openTimes,
  variables: bar.openVariables,
  theme: bar.toggleTheme,
  larger: () => (state.panel ? page.view(null) : panelInSight() && page.view(panelInSight())),
  back: () => state.panel && page.view(null),
  go: (view) => (view === "alerts" || known.some(({ uid }) => uid === view)) && go(write({ ...state, view, panel: null })),
});
tips.start();

const ready = Promise.all([
  api.settings().then(
    (found) => (settings = found),
    () => {},
  ),
  api.boards().then(
    (found) => (known = found),
    () => {},
  ),
]).then(() => {
  bar.setSettings(settings);
  bar.setBoards(known);
  if (state.view === "alerts") bar.set("alerts", effective(state, null));
});
if (/^\/dashboards\/?$/.test(location.pathname)) history.replaceState(null, "", write(state));
open();
watchAlerts();
