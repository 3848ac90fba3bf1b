/** Lines, areas and bars over time, with a legend that can be reached by keyboard. */

import { draw, purge } from "../charts.js";
import { css, resolved, seriesColors, withAlpha } from "../colors.js";
import { h } from "../dom.js";
import { dateTime, format } from "../format.js";
import { valueAxis } from "../ticks.js";
import { interval, toPlot } from "../times.js";
import { allTimes, nearest, stepOf, toSeries } from "./series.js";

const MOST = 30; // series in one chart; more cannot be told apart

export async function render(body, panel, frames, { range, memory, annotations, onzoom, signal, again }) {
  let series = toSeries(panel, frames).filter(({ values }) => values.some((value) => value !== null));
  const total = ({ values }) => values.reduce((sum, value) => sum + Math.abs(value ?? 0), 0);
  const left = Math.max(0, series.length - MOST);
  if (left) series = series.sort((a, b) => total(b) - total(a)).slice(0, MOST);
  const colors = seriesColors(series.map(({ name }) => name));
  series.forEach((one, index) => {
    const { mode, fixedColor } = one.config.color ?? {};
    one.color = mode === "fixed" && fixedColor ? css(fixedColor) : colors[index];
  });
  memory.hidden ??= new Set();
  const host = body.querySelector(".chart") ?? h("div.chart");
  const legend = legendOf(panel, series, memory.hidden, left, again);
  if (host.isConnected) body.querySelector(".legend")?.remove();
  else body.replaceChildren(host);
  if (legend) body.append(legend);
  const shown = series.filter(({ name }) => !memory.hidden.has(name));
  await draw(host, chartOf(panel, shown.length ? shown : [], series, range, annotations, onzoom, host), signal);
}

export const dispose = (body) => {
  const host = body.querySelector(".chart");
  if (host) purge(host);
};

function legendOf(panel, series, hidden, left, again) {
  const wanted = panel.options?.legend?.showLegend !== false && panel.options?.legend?.displayMode !== "hidden";
  if (!wanted || (series.length < 2 && !Object.keys(series[0]?.labels ?? {}).length)) return null;
  const toggle = (name, alone) => {
    const others = series.filter((one) => one.name !== name);
    if (alone) {
      const already = !hidden.has(name) && others.every((one) => hidden.has(one.name));
      for (const one of others) already ? hidden.delete(one.name) : hidden.add(one.name);
      hidden.delete(name);
    } else if (!hidden.delete(name)) hidden.add(name);
    again();
  };
  return h(
    "div.legend",
    { role: "group", "aria-label": "Series" },
    ...series.map(({ name, label, color }) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(!hidden.has(name)),
          title: `${label}\nclick: show or hide; shift-click: only this one`,
          onclick: (event) => toggle(name, event.shiftKey || event.ctrlKey || event.metaKey),
        },
        h("i", { style: `background:${color}` }),
        h("span", {}, label),
      ),
    ),
    left ? h("span.muted", {}, `and ${left} smaller ones`) : null,
  );
}

/** Which of the two axes: as the board says, else by unit: what has another unit than the first series is on the right. */
function onRight(one, first) {
  const placed = one.config.custom.axisPlacement;
  if (placed === "right") return true;
  return (
    placed !== "left" && first !== one && one.config.unit !== first.config.unit && first.config.custom.axisPlacement !== "right"
  );
}

function chartOf(panel, series, all, range, annotations, onzoom, host) {
  const times = allTimes(series);
  const step = stepOf(times, interval(...range, 60) * 1000);
  const first = all[0];
  const sides = [series.filter((one) => !onRight(one, first)), series.filter((one) => onRight(one, first))];
  if (!sides[0].length) sides.reverse();
  const most = Math.max(2, Math.floor(host.clientHeight / 42));
  const [y, y2] = sides.map((side) => (side.length ? axisOf(side, times, most) : null));
  const traces = sides.flatMap((side, index) => side.map((one) => traceOf(one, times, step, index, series.length === 1)));
  return {
    traces,
    y: y ?? valueAxis([], { ...first.config }, most),
    y2,
    range,
    annotations,
    onzoom,
    lines: limits(panel),
    tip: (time) => tipAt(series, times, step, time),
    step: (at, direction) =>
      times[Math.max(0, Math.min(times.length - 1, at === undefined ? times.length - 1 : nearest(times, at) + direction))],
    label: `${panel.title}: ${series.map(({ label, values }) => `${label} ${spoken(values, series)}`).join(", ")}. Arrow keys read the points.`,
  };
}

function spoken(values, [{ config }]) {
  const numbers = values.filter((value) => value !== null);
  return numbers.length ? `last ${format(numbers.at(-1), config.unit, config.decimals)}` : "no value";
}

const stacked = ({ config }) => config.custom.stacking?.mode && config.custom.stacking.mode !== "none";

function axisOf(side, times, most) {
  const values = side.filter((one) => !stacked(one)).flatMap((one) => one.values);
  const piles = side.filter(stacked);
  if (piles.length) {
    const sums = new Map();
    for (const one of piles)
      one.times.forEach((time, index) => sums.set(time, (sums.get(time) ?? 0) + Math.max(0, one.values[index] ?? 0)));
    values.push(...sums.values());
  }
  const { unit, min, max, custom } = side[0].config;
  const axis = valueAxis(values, { unit: unit ?? "short", min, max: max ?? undefined }, most);
  return { ...axis, title: custom.axisLabel || undefined };
}

function traceOf(one, times, step, axis, single) {
  const { custom } = one.config;
  const color = resolved(one.color);
  const at = new Map(one.times.map((time, index) => [time, one.values[index]]));
  const base = { yaxis: axis ? "y2" : "y", hoverinfo: "none", name: "" };
  if (custom.drawStyle === "bars") {
    const opacity = (custom.fillOpacity ?? 80) / 100;
    return {
      ...base,
      type: "bar",
      x: one.times.map((time) => toPlot(time) + step / 2),
      y: one.values,
      width: step * 0.86,
      marker: { color: withAlpha(color, Math.max(0.6, opacity)), line: { width: 0 } },
    };
  }
  const values = times.map((time) => at.get(time) ?? null);
  // Several areas above each other only make mud: the lines say it.
  const alone = values.map(
    (value, index) => value !== null && (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null,
  );
  const points = custom.drawStyle === "points" || custom.showPoints === "always";
  const markers = points || alone.some(Boolean);
  return {
    ...base,
    type: "scatter",
    x: times.map(toPlot),
    y: values,
    mode: custom.drawStyle === "points" ? "markers" : markers ? "lines+markers" : "lines",
    line: {
      color,
      width: custom.lineWidth ?? 1.6,
      dash: custom.lineStyle?.fill === "dash" ? "dash" : undefined,
      shape: custom.lineInterpolation === "stepAfter" ? "hv" : "linear",
    },
    ...(markers ? { marker: { color, size: points ? 4 : alone.map((isolated) => (isolated ? 5 : 0)), line: { width: 0 } } } : {}),
    connectgaps: custom.spanNulls === true,
    fillcolor: withAlpha(color, Math.min(0.7, (custom.fillOpacity ?? 0) / 100)),
    ...(stacked(one) ? { stackgroup: `stack${axis}` } : { fill: custom.fillOpacity && single ? "tozeroy" : "none" }),
  };
}

/** Thresholds that the board wants to be seen as lines. */
function limits(panel) {
  const { thresholds, custom } = panel.fieldConfig?.defaults ?? {};
  if (!/line|dashed/.test(custom?.thresholdsStyle?.mode ?? "")) return [];
  return (thresholds?.steps ?? [])
    .filter(({ value }) => value !== null)
    .map(({ value, color }) => ({ at: value, color: resolved(css(color)) }));
}

function tipAt(series, times, step, time) {
  if (!times.length) return null;
  const bars = series.some(({ config }) => config.custom.drawStyle === "bars");
  const at = times[nearest(times, bars ? time - step / 2 : time)];
  if (Math.abs(at - time) > step * 3) return null;
  const rows = series
    .map((one) => ({ one, value: one.values[one.times.indexOf(at)] ?? null }))
    .filter(({ value }) => value !== null)
    .sort((a, b) => (series.length > 4 ? b.value - a.value : 0));
  const shown = rows
    .slice(0, 14)
    .map(({ one, value }) =>
      h(
        "div.row",
        {},
        h("i", { style: `background:${one.color}` }),
        h("span", {}, one.label),
        h("b", {}, format(value, one.config.unit ?? "short", one.config.decimals)),
      ),
    );
  if (rows.length > shown.length) shown.push(h("div.muted", {}, `and ${rows.length - shown.length} more`));
  return { at: bars ? at + step / 2 : at, title: dateTime(at), rows: shown };
}
