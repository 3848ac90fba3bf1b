/** A board: its panels on Grafana's grid, of which those in sight are asked for first. */

import * as api from "./api.js";
import { prepare } from "./charts.js";
import { h, icon } from "./dom.js";
import { fillText } from "./links.js";
import { Panel } from "./panel.js";

const BEHIND = 80; // ms that annotations are asked for after the panels

export class Board {
  /** @param {HTMLElement} host @param {Object} json as Grafana has it @param {Object} page see Panel */
  constructor(host, json, page) {
    this.json = json;
    this.host = host;
    this.view = null;
    this.rows = [];
    this.panels = [];
    this.inSight = new Set();
    this.seen = new IntersectionObserver((entries) => this.moved(entries), { rootMargin: "240px" });
    this.sized = new ResizeObserver((entries) => this.resized(entries));
    const sections = split(json.panels ?? []).map((section) => this.section(section, page));
    host.replaceChildren(h("h1.sr", {}, json.title), ...sections.flat());
    for (const panel of this.panels) {
      this.seen.observe(panel.element);
      this.sized.observe(panel.body);
    }
  }

  section({ row, panels }, page) {
    const grid = h("div.grid");
    const top = Math.min(...panels.map(({ gridPos }) => gridPos.y));
    for (const json of panels.toSorted((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x)) {
      const panel = new Panel(json, page);
      const { x, y, w, h: height } = json.gridPos;
      panel.element.dataset.width = w <= (json.type === "stat" ? 4 : 6) ? "small" : w <= 12 ? "half" : "full";
      panel.element.style.cssText = `--x:${x + 1};--y:${y - top + 1};--w:${w};--h:${height}`;
      grid.append(panel.element);
      this.panels.push(panel);
    }
    if (!row) return [grid];
    const title = h("span");
    const toggle = h("button.row", { type: "button", "aria-expanded": String(!row.collapsed) }, icon("chevron"), title);
    toggle.addEventListener("click", () => {
      grid.hidden = !grid.hidden;
      toggle.setAttribute("aria-expanded", String(!grid.hidden));
    });
    grid.hidden = Boolean(row.collapsed);
    this.rows.push({ json: row, title });
    return [h("h2", {}, toggle), grid];
  }

  moved(entries) {
    const asked = [];
    for (const { target, isIntersecting } of entries) {
      const panel = this.panels.find(({ element }) => element === target);
      if (!isIntersecting) this.inSight.delete(panel);
      else {
        this.inSight.add(panel);
        if (panel.stale && this.view) asked.push(panel);
      }
    }
    this.load(asked);
  }

  /** What is text first: it is there at once, charts need their library. */
  load(panels) {
    const charts = panels.filter((panel) => panel.isChart);
    const texts = panels.filter((panel) => !panel.isChart).map((panel) => panel.load(this.view));
    for (const panel of charts) panel.load(this.view);
    if (charts.length) prepare(Promise.all(texts));
  }

  resized(entries) {
    for (const { target } of entries) {
      const panel = this.panels.find(({ body }) => body === target);
      if (panel?.isChart && panel.frames && target.clientWidth) panel.draw();
    }
  }

  /** Asks anew for what is in sight; for the rest when it comes into sight. */
  refresh(view) {
    view.annotations = this.view?.annotations ?? [];
    this.view = view;
    for (const { json, title } of this.rows) title.textContent = fillText(json.title, view.context, view.texts);
    for (const panel of this.panels) {
      if (this.inSight.has(panel)) continue;
      panel.abort();
      panel.stale = true;
      panel.title.textContent ||= fillText(panel.json.title, view.context, view.texts);
    }
    this.load([...this.inSight]);
    clearTimeout(this.later);
    this.later = setTimeout(() => this.annotate(view), BEHIND);
  }

  async annotate(view) {
    this.annotating?.abort();
    this.annotating = new AbortController();
    const query = api.query({ from: view.range[0], to: view.range[1], variables: view.variables });
    const found = await api.annotations(view.uid, query, this.annotating.signal).catch(() => null);
    if (!found || this.view !== view || JSON.stringify(found) === JSON.stringify(view.annotations)) return;
    view.annotations = found;
    for (const panel of this.panels) if (panel.isChart && panel.frames && panel.view === view) panel.draw();
  }

  /** Shows one panel alone, or all again. */
  show(id) {
    for (const panel of this.panels) panel.element.classList.toggle("viewed", String(panel.json.id) === id);
    this.host.classList.toggle(
      "viewing",
      this.panels.some(({ element }) => element.classList.contains("viewed")),
    );
  }

  find(element) {
    return this.panels.find((panel) => panel.element.contains(element)) ?? null;
  }

  dispose() {
    this.seen.disconnect();
    this.sized.disconnect();
    clearTimeout(this.later);
    this.annotating?.abort();
    for (const panel of this.panels) panel.dispose();
    this.host.classList.remove("viewing");
  }
}

/** Panels below the row that they stand under; a collapsed row carries its own. */
function split(panels) {
  const sections = [{ row: null, panels: [] }];
  for (const panel of panels.toSorted((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x)) {
    if (panel.type === "row") sections.push({ row: panel, panels: [...(panel.panels ?? [])] });
    else sections.at(-1).panels.push(panel);
  }
  return sections.filter((section) => section.panels.length);
}
