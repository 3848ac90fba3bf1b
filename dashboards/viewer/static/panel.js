/** One panel: its frame, its menu, and what happens between a question and a drawing. */

import * as api from "./api.js";
import { button, dialog, h, icon, link, popover } from "./dom.js";
import { changesWithTime } from "./format.js";
import { isEmpty, toCsv, toFrame } from "./frame.js";
import { fillLink, fillText } from "./links.js";
import * as bargauge from "./panels/bargauge.js";
import * as heatmap from "./panels/heatmap.js";
import * as logs from "./panels/logs.js";
import * as stat from "./panels/stat.js";
import * as table from "./panels/table.js";
import * as timeseries from "./panels/timeseries.js";
import * as traces from "./panels/traces.js";
import { interval, rangeWords, toSeconds } from "./times.js";

const KINDS = { bargauge, gauge: bargauge, barchart: bargauge, heatmap, logs, stat, table, timeseries, traces };
const CHARTS = new Set(["heatmap", "timeseries"]);
const FOCUSABLE = "button, a, [tabindex]";

export class Panel {
  /**
   * @param {Object} json as Grafana has it
   * @param {Object} page what panels ask of the page: zoom(from, to), view(panel), answered(problem or null)
   */
  constructor(json, page) {
    this.json = json;
    this.page = page;
    this.memory = {}; // what a person has chosen in it: kept over refreshes
    this.frames = null;
    this.stale = true;
    this.title = h("h3");
    this.body = h("div.body");
    this.strip = h("div.strip", { role: "alert", hidden: true });
    this.element = h(
      "section.panel",
      { "data-id": String(json.id), "data-type": json.type, "data-state": "loading", "aria-busy": "true", class: `panel${json.transparent ? " transparent" : ""}` },
      h("header", {}, this.title, h("span.actions", {}, h("span.spinner", { "aria-hidden": "true" }), this.info(), this.menuButton())),
      this.strip,
      this.body,
    );
    this.body.append(h("div.skeleton", { "aria-hidden": "true" }, h("i"), h("i"), h("i")));
  }

  get isChart() {
    return CHARTS.has(this.json.type);
  }

  info() {
    const { description } = this.json;
    return description ? h("button.info", { type: "button", "aria-label": `What this shows: ${description}`, "data-tip": description }, icon("info")) : null;
  }

  menuButton() {
    const name = this.json.title || "this panel";
    const more = button(`Menu of ${name}`, { class: "ghost menu", "aria-haspopup": "dialog", "aria-expanded": "false", "data-tip": null }, icon("more"));
    more.addEventListener("click", () => this.openMenu(more));
    return more;
  }

  openMenu(anchor) {
    const item = (label, action, hint) => h("button.item", { type: "button", onclick: () => (box.hidePopover(), action()) }, label, hint ? h("kbd", {}, hint) : null);
    const targets = (this.json.links ?? []).map(({ url, title }) => ({ title, url: fillLink(url, { context: this.view?.context }) })).filter(({ url }) => url);
    const larger = this.element.classList.contains("viewed");
    const box = popover(
      anchor,
      h(
        "div.items",
        {},
        item(larger ? "Back to the board" : "View larger", () => this.page.view(larger ? null : this), "v"),
        item("Show the SQL", () => this.showSql()),
        item("Show the data as a table", () => this.showTable()),
        item("Download CSV", () => this.download()),
        ...targets.map(({ title, url }) => link(url, { class: "item" }, title)),
      ),
      { label: `Menu of ${this.json.title}` },
    );
  }

  showSql() {
    const texts = (this.json.targets ?? []).map(({ rawSql }) => rawSql ?? "");
    const copy = h("button", { type: "button", onclick: () => navigator.clipboard?.writeText(texts.join("\n\n")).then(() => (copy.textContent = "Copied")) }, "Copy");
    dialog(`SQL of “${this.json.title}”`, h("p.muted", {}, "As it is committed. The server puts range and variables in their places, and runs it with a read-only user."), ...texts.map((text) => h("pre.sql", { tabindex: "0" }, text.trim())), copy);
  }

  showTable() {
    const filled = (this.frames ?? []).filter(({ rows }) => rows);
    const { defaults = {}, overrides = [] } = this.json.fieldConfig ?? {};
    const kept = overrides.map(({ matcher, properties }) => ({ matcher, properties: properties.filter(({ id }) => id === "unit" || id === "decimals") }));
    const plain = { title: this.json.title, fieldConfig: { defaults: { unit: defaults.unit, decimals: defaults.decimals }, overrides: kept } };
    const bodies = filled.map((frame) => {
      const body = h("div.whole");
      table.render(body, plain, [frame], { memory: {}, context: this.view.context });
      return body;
    });
    dialog(this.json.title || "Data", ...(bodies.length ? bodies : [h("p.muted", {}, this.emptyText())]));
  }

  download() {
    const url = URL.createObjectURL(new Blob([toCsv(this.frames ?? [])], { type: "text/csv" }));
    const name = (this.json.title || "panel").toLowerCase().replace(/[^a-z0-9]+/g, "-");
    h("a", { href: url, download: `${name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  /** Asks and draws; what was asked before is given up. `view`: the state of the page that it is asked for. */
  async load(view) {
    this.abort();
    const { signal } = (this.controller = new AbortController());
    this.view = view;
    this.stale = false;
    this.title.textContent = fillText(this.json.title, view.context, view.texts);
    this.element.setAttribute("aria-busy", "true");
    try {
      const targets = (this.json.targets ?? []).filter(({ hide }) => !hide);
      const query = api.query({ from: view.range[0], to: view.range[1], variables: view.variables }, { interval: this.interval(view.range) });
      const answers = await Promise.all(targets.map(({ refId }) => api.panel(view.uid, this.json.id, refId, query, signal)));
      const same = answers.map((one) => one.same).join("\n");
      this.frames = same === this.same && this.frames ? this.frames : answers.map(({ answer }, index) => toFrame(answer, targets[index].refId));
      this.same = same;
      await this.draw(signal);
      this.page.answered(null);
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      this.fail(error);
    } finally {
      if (!signal.aborted) this.element.setAttribute("aria-busy", "false");
    }
  }

  abort() {
    this.controller?.abort();
  }

  /** Seconds between two points, as many as there is room for. */
  interval([from, to]) {
    const width = this.body.clientWidth || 600;
    const bars = this.json.fieldConfig?.defaults?.custom?.drawStyle === "bars" || this.json.type === "heatmap";
    const points = Math.min(this.json.maxDataPoints ?? Infinity, Math.max(20, Math.round(width / (bars ? 9 : 4))));
    return interval(from, to, points, toSeconds(this.json.interval));
  }

  /** Draws what is there, when it is not drawn yet just so. */
  async draw(signal = this.controller?.signal) {
    if (!this.frames) return;
    this.strip.hidden = true;
    this.element.classList.remove("broken");
    if (isEmpty(this.frames)) return this.showEmpty();
    if (this.drawn === this.drawingKey()) return this.settle("drawn");
    const { view, memory } = this;
    const frames = this.frames.filter(({ rows }) => rows);
    const kind = KINDS[this.json.type];
    if (!kind) return this.words(`A panel of the kind “${this.json.type}” is drawn in Grafana only.`);
    if (this.body.querySelector(":scope > .empty, :scope > .skeleton, :scope > .problem")) this.body.replaceChildren();
    const focused = [...this.body.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
    await kind.render(this.body, this.json, frames, {
      memory, signal, range: view.range, annotations: view.annotations, context: view.context,
      onzoom: (from, to) => this.page.zoom(from, to),
      again: () => ((this.drawn = null), this.draw()),
    });
    if (signal?.aborted) return;
    const again = [...this.body.querySelectorAll(FOCUSABLE)][focused];
    if (again && !this.body.contains(document.activeElement)) again.focus({ preventScroll: true });
    this.drawn = this.drawingKey();
    this.settle("drawn");
  }

  drawingKey() {
    const { defaults = {}, overrides = [] } = this.json.fieldConfig ?? {};
    const ages = [defaults.unit, ...overrides.flatMap(({ properties }) => properties.map(({ value }) => value))].some(changesWithTime);
    const size = `${this.body.clientWidth}x${this.body.clientHeight}`;
    const chart = this.isChart ? [this.view.range, size, document.documentElement.dataset.theme, this.view.annotations.length] : [];
    return JSON.stringify([this.same, chart, ages && Date.now(), this.view.context]);
  }

  settle(state) {
    this.element.dataset.state = state;
  }

  emptyText() {
    const said = this.json.fieldConfig?.defaults?.noValue;
    return said || `Nothing from ${rangeWords(...this.view.range)}: nothing was recorded, or the variables above leave it out.`;
  }

  showEmpty() {
    this.words(this.emptyText());
    this.settle("empty");
  }

  words(text) {
    KINDS[this.json.type]?.dispose?.(this.body);
    this.drawn = null;
    this.body.replaceChildren(h("p.empty", { class: `empty${text.length < 14 ? " brief" : ""}` }, text));
    this.settle("drawn");
  }

  /** What was drawn stays, dimmed, below the words of the problem. */
  fail(error) {
    this.page.answered(error);
    this.element.classList.add("broken");
    const retry = h("button", { type: "button", onclick: () => this.load(this.view) }, "Try again");
    const text = error instanceof api.Problem ? error.message : "This panel could not be drawn.";
    if (!(error instanceof api.Problem)) console.error(error);
    if (this.frames && error.away) this.strip.hidden = true; // the banner says it for all
    else if (this.frames) {
      this.strip.replaceChildren(h("span", {}, text), retry);
      this.strip.hidden = false;
    } else {
      const title = error.title && error.title !== text ? h("b", {}, error.title) : null;
      this.body.replaceChildren(h("div.problem", { role: "alert" }, title, h("p", {}, text), retry));
    }
    this.settle("error");
  }

  dispose() {
    this.abort();
    KINDS[this.json.type]?.dispose?.(this.body);
  }
}
