/** The bar on top: boards, alerts, range of time, refresh, theme, Grafana. */

import { button, h, icon, link } from "./dom.js";
import { timePicker } from "./timepicker.js";
import { variableBar } from "./variables.js";

const REFRESH = [["off", "Off"], ["10s", "10 s"], ["30s", "30 s"], ["1m", "1 min"]];
const THEMES = ["system", "light", "dark"];

/**
 * @param {HTMLElement} bar
 * @param {{range: function, variable: function, every: function, refresh: function, href: function(string): string}} actions
 */
export function toolbar(bar, actions) {
  const nav = h("nav", { "aria-label": "Dashboards" });
  const badge = h("span.badge", { hidden: true });
  const times = timePicker(actions.range);
  const variables = variableBar(actions.variable);
  const refresh = button("Refresh (r)", { class: "ghost refresh", onclick: actions.refresh }, icon("refresh"));
  const every = h(
    "select",
    { "aria-label": "Refresh by itself", "data-tip": "Refresh by itself", onchange: () => actions.every(every.value) },
    ...REFRESH.map(([value, text]) => h("option", { value }, text)),
  );
  const outside = h("span.outside");
  const alerts = h("a.tab.alerts", { href: "/dashboards/alerts" }, icon("alerts"), "Alerts", badge);
  const tools = h("div.tools", {}, times.element, h("span.group", {}, refresh, every), themeButton(), outside);
  bar.replaceChildren(h("div.top", {}, nav, tools), h("div.below", {}, variables.element));
  let boards = [];
  let grafana = null;

  return {
    variables,
    openTimes: () => times.element.click(),
    openVariables: () => bar.querySelector(".variables button, .variables input")?.[bar.querySelector(".variables button") ? "click" : "focus"](),
    toggleTheme: () => bar.querySelector(".theme").click(),
    /** @param {{uid, title, description}[]} found */
    setBoards(found) {
      boards = found;
      nav.replaceChildren(...found.map(({ uid, title, description }) => h("a.tab", { href: actions.href(uid), "data-uid": uid, "data-tip": description || null }, title)), alerts);
    },
    /** What is shown now: `view` a board's uid or "alerts". */
    set(view, { from, to, refresh: seconds }, range) {
      for (const tab of nav.children) {
        const uid = tab.dataset.uid ?? "alerts";
        tab.href = actions.href(uid);
        if (uid === view) tab.setAttribute("aria-current", "page");
        else tab.removeAttribute("aria-current");
      }
      nav.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
      times.set({ from, to }, range);
      every.value = REFRESH.some(([value]) => value === seconds) ? seconds : "off";
      bar.classList.toggle("without-range", view === "alerts");
      const same = outside.querySelector("a");
      if (same) same.href = grafana + (view === "alerts" ? "/alerting/list" : `/d/${encodeURIComponent(view)}?from=${encodeURIComponent(from)}&to=${encodeURIComponent(to)}`);
      document.title = `${view === "alerts" ? "Alerts" : (boards.find(({ uid }) => uid === view)?.title ?? "Dashboards")} · Dashboards`;
    },
    setSettings({ grafana_url: url, environment }) {
      grafana = url;
      outside.replaceChildren(
        ...(environment ? [h("span.environment", { "data-tip": "The environment of this stack" }, environment)] : []),
        ...(grafana ? [link(grafana, { class: "ghost", "data-tip": "The same in Grafana" }, "Grafana", icon("external"))] : []),
      );
    },
    /** How many alerts fire; null: not known. */
    setFiring(count) {
      badge.hidden = !count;
      badge.textContent = String(count ?? "");
      alerts.setAttribute("aria-label", count ? `Alerts: ${count} firing` : "Alerts");
    },
    busy: (on) => refresh.classList.toggle("busy", on),
  };
}

function themeButton() {
  const element = h("button.ghost.theme", { type: "button" });
  const show = () => {
    const now = window.theme.chosen();
    element.replaceChildren(icon(now));
    element.setAttribute("aria-label", `Theme: ${now}`);
    element.dataset.tip = `Theme: ${now} (d)`;
  };
  element.addEventListener("click", () => {
    window.theme.choose(THEMES[(THEMES.indexOf(window.theme.chosen()) + 1) % THEMES.length]);
    show();
  });
  show();
  return element;
}
