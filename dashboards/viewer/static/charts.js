/** What time series and heatmaps share: plotly when it is needed, axes, zoom by dragging, the pointer's tooltip, annotations. */

import { resolved } from "./colors.js";
import { frame, h } from "./dom.js";
import { dateTime } from "./format.js";
import { fromPlot, timeTicks, toPlot } from "./times.js";
import * as tips from "./tips.js";

const CHARACTER = 6.3; // px of a tick's text
const PATIENCE = 1500; // ms that the library waits for what is text
let texts = Promise.resolve();
let loading = null;
let queue = Promise.resolve();

/** plotly.js is large: it is fetched beside the first data, and run after what is text has been painted. */
export function prepare(drawnTexts) {
  if (loading) return;
  texts = Promise.race([drawnTexts, new Promise((done) => setTimeout(done, PATIENCE))]);
  document.head.append(
    h("link", { rel: "preload", as: "script", fetchpriority: "low", href: document.documentElement.dataset.plotly }),
  );
  plotly();
}

function plotly() {
  loading ??= new Promise((done, failed) => {
    const script = h("script", { src: document.documentElement.dataset.plotly, async: true });
    script.addEventListener("load", () => done(window.Plotly));
    script.addEventListener("error", () => {
      loading = null;
      script.remove();
      failed(new Error("The chart library could not be loaded."));
    });
    texts.then(frame).then(() => setTimeout(() => document.head.append(script)));
  });
  return loading;
}

/** One chart per frame, so that the page stays alive while many are drawn. */
function inTurn(draw) {
  const turn = queue.then(frame).then(draw);
  queue = turn.catch(() => {});
  return turn;
}

/**
 * Draws or redraws a chart in `host`.
 * @param {HTMLElement} host keeps the plot from one drawing to the next
 * @param {{traces: Object[], y: Axis, y2?: Axis, range: number[], annotations: Object[], lines?: Object[], layout?: Object,
 *   tip: function(number, number): ?{at: number, rows: Node[], title?: string}, step: function(number, number): number,
 *   onzoom: function(number, number): void, label: string}} chart
 */
export async function draw(host, chart, signal) {
  const Plotly = await plotly();
  await inTurn(async () => {
    if (signal.aborted || !host.isConnected) return;
    const parts = host.chartParts ?? furnish(host);
    const size = { width: host.clientWidth, height: host.clientHeight };
    if (size.width < 40 || size.height < 40) return;
    const margin = margins(chart);
    const width = size.width - margin.l - margin.r;
    const layout = layoutOf(chart, size, margin, width);
    const touch = matchMedia("(pointer: coarse)").matches;
    const config = { displayModeBar: false, doubleClick: false, responsive: false, staticPlot: touch, showTips: false };
    await Plotly.react(parts.plot, chart.traces, layout, config);
    if (!parts.listens && parts.plot.on) listen(parts, Plotly);
    Object.assign(parts, { chart, margin, width, height: size.height - margin.t - margin.b });
    host.setAttribute("aria-label", chart.label);
    annotate(parts);
  });
}

function margins({ y, y2 }) {
  const room = (axis) => Math.ceil(Math.max(...axis.ticks.map(({ text }) => text.length), 2) * CHARACTER) + 10;
  return { l: room(y) + (y.title ? 16 : 0), r: y2 ? room(y2) + (y2.title ? 16 : 0) : 10, t: 8, b: 26, pad: 0 };
}

function layoutOf(chart, size, margin, width) {
  const [muted, grid] = [resolved("var(--muted)"), resolved("var(--grid)")];
  const font = { family: "system-ui, sans-serif", size: 11, color: muted };
  const values = (axis, side) => ({
    range: [axis.low, axis.high],
    tickvals: axis.ticks.map(({ at }) => at),
    ticktext: axis.ticks.map(({ text }) => text),
    tickmode: "array",
    fixedrange: true,
    zeroline: false,
    gridcolor: grid,
    showgrid: side === "left",
    side,
    ticks: "",
    ...(axis.title ? { title: { text: axis.title.replaceAll("<", "&lt;"), standoff: 4, font } } : {}),
    ...(side === "right" ? { overlaying: "y" } : {}),
  });
  const ticks = timeTicks(...chart.range, Math.floor(width / 74));
  return {
    ...size,
    margin,
    font,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    showlegend: false,
    hovermode: false,
    dragmode: "zoom",
    selectdirection: "h",
    barmode: "relative",
    bargap: 0.12,
    xaxis: {
      type: "date",
      range: chart.range.map(toPlot),
      tickmode: "array",
      tickvals: ticks.map(({ at }) => toPlot(at)),
      ticktext: ticks.map(({ text }) => text),
      gridcolor: grid,
      zeroline: false,
      ticks: "",
      ticklabelstandoff: 4,
      showgrid: chart.traces[0]?.type !== "heatmap",
    },
    yaxis: values(chart.y, "left"),
    ...(chart.y2 ? { yaxis2: values(chart.y2, "right") } : {}),
    shapes: (chart.lines ?? []).map(({ at, color }) => ({
      type: "line",
      xref: "paper",
      x0: 0,
      x1: 1,
      y0: at,
      y1: at,
      line: { color, width: 1, dash: "dash" },
    })),
    ...chart.layout,
  };
}

function furnish(host) {
  const parts = { host, plot: h("div.plot"), cursor: h("div.cursor", { hidden: true }), marks: h("div.marks") };
  host.classList.add("chart");
  host.setAttribute("tabindex", "0");
  host.setAttribute("role", "img");
  host.replaceChildren(parts.plot, parts.cursor, parts.marks);
  host.chartParts = parts;
  host.addEventListener("pointermove", (event) => follow(parts, event));
  host.addEventListener("pointerleave", () => leave(parts));
  host.addEventListener("blur", () => leave(parts));
  host.addEventListener("keydown", (event) => walk(parts, event));
  return parts;
}

function listen(parts) {
  parts.listens = true;
  parts.plot.on("plotly_relayout", (change) => {
    const [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    if (from !== undefined && to !== undefined) parts.chart.onzoom(Math.round(fromPlot(from)), Math.round(fromPlot(to)));
  });
  parts.plot.on("plotly_doubleclick", () => {
    const [from, to] = parts.chart.range;
    parts.chart.onzoom(Math.round(from - (to - from) / 2), Math.round(to + (to - from) / 2));
  });
}

function xOf({ chart, margin, width }, at) {
  const [from, to] = chart.range;
  return margin.l + ((at - from) / (to - from)) * width;
}

function follow(parts, event) {
  if (!parts.chart || event.buttons) return leave(parts);
  const at = parts.host.getBoundingClientRect();
  const fraction = (event.clientX - at.left - parts.margin.l) / parts.width;
  const height = 1 - (event.clientY - at.top - parts.margin.t) / parts.height;
  if (fraction < 0 || fraction > 1 || height < -0.1 || height > 1.1) return leave(parts);
  const [from, to] = parts.chart.range;
  point(parts, from + fraction * (to - from), height, event.clientX, event.clientY);
}

function point(parts, time, height, x, y) {
  const found = parts.chart.tip(time, height);
  if (!found) return leave(parts);
  parts.at = found.at;
  parts.cursor.hidden = false;
  parts.cursor.style.cssText = `left:${xOf(parts, found.at)}px;top:${parts.margin.t}px;height:${parts.height}px`;
  tips.showAt(x, y, [h("div.when", {}, found.title ?? dateTime(found.at)), ...found.rows]);
}

function leave(parts) {
  if (parts.cursor.hidden) return;
  parts.cursor.hidden = true;
  tips.hide();
}

/** The arrow keys go from point to point. */
function walk(parts, event) {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!direction || !parts.chart) return;
  event.preventDefault();
  const time = parts.chart.step(parts.at, direction);
  if (time === undefined || time === null) return;
  const at = parts.host.getBoundingClientRect();
  point(parts, time, 0.5, at.left + xOf(parts, time), at.top + at.height / 2);
}

function annotate(parts) {
  const [from, to] = parts.chart.range;
  const shown = merged(
    parts,
    parts.chart.annotations.filter(({ time }) => time >= from && time <= to),
  );
  parts.marks.replaceChildren(
    ...shown.map(({ time, words, more, kind }) =>
      h(`div.mark.${kind === "alert" ? "alert" : "reload"}`, {
        style: `left:${xOf(parts, time)}px;top:${parts.margin.t}px;height:${parts.height}px`,
        "data-tip": more ? `${words}\nand ${more} more` : words,
      }),
    ),
  );
}

/** Those that would lie on each other are one mark, with the words of them all. */
function merged(parts, annotations) {
  const marks = [];
  for (const one of annotations.toSorted((a, b) => a.time - b.time)) {
    const last = marks.at(-1);
    const words = [one.title, one.text, dateTime(one.time)].filter(Boolean).join("\n");
    if (!last || xOf(parts, one.time) - xOf(parts, last.time) > 6 || last.kind !== one.kind)
      marks.push({ ...one, words, more: 0 });
    else last.more += 1;
  }
  return marks;
}

/** Takes a chart away for good. */
export function purge(host) {
  if (host.chartParts && window.Plotly) window.Plotly.purge(host.chartParts.plot);
}
