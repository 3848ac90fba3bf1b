/** The alerts: each rule with its instances, and what has been. */

import * as api from "./api.js";
import { h, icon, link } from "./dom.js";
import { dateTime, format, fromNow } from "./format.js";
import { safe } from "./links.js";

const ORDER = { firing: 0, error: 1, pending: 2, ok: 3 };
const LATE = 180; // seconds after which an evaluation is old
const WORDS = { firing: "Firing", pending: "Pending", ok: "OK", error: "Cannot be evaluated", resolved: "Resolved" };

export class AlertsView {
  constructor(host, answered) {
    this.host = host;
    this.answered = answered;
    this.opened = new Set();
    host.replaceChildren(h("div.alerts-view", { "aria-busy": "true" }, h("h1.sr", {}, "Alerts"), h("div.skeleton", {}, h("i"), h("i"), h("i"))));
  }

  /** @param {?Object} found what the badge has just been told; else it is asked for */
  async refresh(found) {
    this.controller?.abort();
    this.controller = new AbortController();
    try {
      this.show(found ?? (await api.alerts(this.controller.signal)));
      this.answered(null);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.answered(error);
      if (!this.shown) this.host.firstChild.replaceChildren(h("div.problem", { role: "alert" }, h("b", {}, error.title ?? ""), h("p", {}, error.message), h("button", { type: "button", onclick: () => this.refresh() }, "Try again")));
    }
  }

  show(answer) {
    this.shown = true;
    const rules = answer.rules.toSorted((a, b) => ORDER[a.state] - ORDER[b.state] || (b.severity === "critical") - (a.severity === "critical"));
    const all = rules.flatMap(({ instances }) => instances ?? []);
    const count = (state) => (state === "firing" || state === "pending" ? all : rules).filter((one) => one.state === state).length;
    const words = { ...WORDS, ok: "rules within their objectives", error: "rules cannot be evaluated" };
    const summary = h(
      "header.summary",
      {},
      ...["firing", "pending", "error", "ok"].map((state) => (count(state) || state === "firing" || state === "ok" ? h(count(state) ? "span.any" : "span", { "data-state": state }, h("b", {}, String(count(state))), ` ${words[state].toLowerCase()}`) : null)),
      h(`span.evaluated${late(answer.evaluated_at) ? ".failed" : ""}`, { "data-tip": answer.evaluated_at ? dateTime(time(answer.evaluated_at)) : null }, answer.evaluated_at ? `evaluated ${fromNow(time(answer.evaluated_at))}` : "not evaluated yet"),
    );
    const problem = answer.error ? h("p.problem", { role: "alert" }, `The rules could not be evaluated: ${answer.error}`) : null;
    const groups = Map.groupBy(rules.filter(({ state }) => state === "ok"), ({ group }) => group || "Other");
    const busy = rules.filter(({ state }) => state !== "ok").map((rule) => this.rule(rule));
    const calm = [...groups].map(([group, members]) => h("section", {}, h("h3", {}, group), h("ul.calm", {}, ...members.map(calmRule))));
    const focused = document.activeElement?.closest?.("[data-key]")?.dataset.key;
    this.host.firstChild.replaceChildren(
      h("h1.sr", {}, "Alerts"),
      summary,
      ...(problem ? [problem] : []),
      ...(busy.length ? busy : answer.error || !rules.length ? [] : [h("p.fine", {}, icon("check"), "Nothing is over its objective.")]),
      ...(rules.length ? [] : [h("p.empty", {}, "There are no rules: dashboards/alerts.json is empty.")]),
      calm.length ? h("section.ok-rules", {}, h("h2", {}, "Within their objectives"), h("div.columns", {}, ...calm)) : "",
      history(answer.history ?? [], new Map(rules.map(({ name, title }) => [name, title]))),
    );
    this.host.firstChild.removeAttribute("aria-busy");
    if (focused) this.host.querySelector(`[data-key="${CSS.escape(focused)}"] a`)?.focus();
  }

  rule({ name, title, severity, state, description, error, runbook_url: runbook, instances = [] }) {
    const over = instances.filter((one) => one.state !== "ok");
    const active = over.toSorted((a, b) => ORDER[a.state] - ORDER[b.state] || b.value / b.objective - a.value / a.objective);
    const others = instances.length - over.length;
    return h(
      "article.rule",
      { "data-state": state, "data-rule": name },
      h("header", {}, stateChip(state), h("h2", {}, title || name), h(`span.severity.${severity === "critical" ? "critical" : "warning"}`, {}, severity ?? ""), runbookLink(runbook)),
      description ? h("p.muted", {}, description) : null,
      error ? h("p.failed", {}, error) : null,
      active.length ? h("ul.instances", {}, ...active.map((one) => instance(name, one)), others ? h("li.others.muted", {}, `${others} more ${others === 1 ? "is" : "are"} within the objective.`) : null) : null,
    );
  }

  dispose() {
    this.controller?.abort();
  }
}

const time = (value) => (typeof value === "number" ? (value < 1e11 ? value * 1000 : value) : Date.parse(value));
const late = (evaluated) => evaluated !== null && Date.now() - time(evaluated) > LATE * 1000;
const stateChip = (state) => h("span.state", { "data-state": state }, WORDS[state] ?? state);

function runbookLink(address) {
  const url = address && safe(address);
  return url ? link(url, { class: "out" }, "Runbook") : null;
}

function instance(rule, { labels = {}, state, value, objective, unit, since, summary, trace_id: trace, trace_url: traceUrl, dashboard_url: boardUrl }) {
  const name = Object.values(labels).filter(Boolean).join(" · ") || "all";
  const measured = objective > 0;
  const share = Math.max(0, Math.min(1, value > 0 ? objective / value : 1));
  const links = [[traceUrl, "Worst trace", trace], [boardUrl, "Dashboard", ""]].map(([address, text, tip]) => {
    const url = address && safe(address);
    return url ? link(url, { class: "out", "data-tip": tip || null }, text) : null;
  });
  return h(
    "li",
    { "data-key": `${rule} ${name}`, "data-state": state },
    h("div.who", {}, h("b", {}, name), summary ? h("span.muted", {}, summary) : null),
    h("div.measure", {}, h("span.value", {}, format(value, unit)), h("span.muted", {}, `objective ${format(objective, unit)}`), measured ? h("span.track", { "aria-hidden": "true" }, h("i"), h("u", { style: `left:${share * 100}%` })) : null),
    h("div.since", { "data-tip": since ? dateTime(time(since)) : null }, stateChip(state), since ? h("span.muted", {}, `since ${fromNow(time(since)).replace(" ago", "")}`) : null),
    h("div.links", {}, ...links.filter(Boolean)),
  );
}

function calmRule({ name, title, description, runbook_url: runbook }) {
  return h("li", { "data-rule": name, "data-state": "ok" }, h("span.dot", { "aria-label": "OK", role: "img" }), h("span", { "data-tip": description || null, tabindex: description ? "0" : null }, title || name), runbookLink(runbook));
}

/** `titles`: of the rules, by name. */
function history(entries, titles) {
  const rows = entries.map(({ at, rule, state, labels = {}, value, objective, unit, trace_url: traceUrl, summary }) => {
    const url = traceUrl && safe(traceUrl);
    return h(
      "tr",
      {},
      h("td", { title: fromNow(time(at)) }, dateTime(time(at))),
      h("td", {}, stateChip(state)),
      h("td", { title: rule }, titles.get(rule) ?? rule),
      h("td", {}, Object.values(labels).filter(Boolean).join(" · ") || "–"),
      h("td.right", {}, value === null || value === undefined ? "–" : format(value, unit)),
      h("td.right", {}, objective === null || objective === undefined ? "–" : format(objective, unit)),
      h("td", { title: summary || null }, url ? link(url, {}, "Worst trace") : "–"),
    );
  });
  const heads = ["When", "State", "Rule", "Of", "Value", "Objective", "Trace"];
  return h(
    "section.history",
    {},
    h("h2", {}, "History"),
    rows.length
      ? h("div.table", { tabindex: "0", role: "region", "aria-label": "History of alerts" }, h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { class: /Value|Objective/.test(text) ? "right" : null }, text)))), h("tbody", {}, ...rows)))
      : h("p.empty", {}, "No alert has changed its state since this page's server began to keep its history."),
  );
}
