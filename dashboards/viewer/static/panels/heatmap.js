/** How many fell into which bucket, over time. */

import { draw, purge } from "../charts.js";
import { resolved } from "../colors.js";
import { h } from "../dom.js";
import { dateTime, format } from "../format.js";
import { interval, toPlot } from "../times.js";
import { nearest, stepOf } from "./series.js";

export async function render(body, panel, [frame], { range, annotations, onzoom, signal }) {
  const host = body.querySelector(".chart") ?? h("div.chart");
  const times = frame.columns.find((one) => one.kind === "time").values;
  const buckets = trimmed(frame.columns.filter((one) => one.kind === "number"));
  const step = stepOf(times, interval(...range, 60) * 1000);
  const unit = panel.options?.yAxis?.unit ?? panel.fieldConfig?.defaults?.unit ?? "none";
  const name = (bucket) =>
    Number.isFinite(Number(bucket.name)) && bucket.name !== "" ? format(Number(bucket.name), unit) : bucket.name;
  const highest = Math.max(...buckets.flatMap(({ values }) => values.map((value) => value ?? 0)), 1);
  body.querySelector(".heat")?.remove();
  if (!host.isConnected) body.replaceChildren(host);
  body.append(h("div.heat", {}, "1", h("i", { "aria-hidden": "true" }), format(highest, "short")));
  await draw(
    host,
    {
      traces: [
        {
          type: "heatmap",
          x: times.map((time) => toPlot(time) + step / 2),
          y: buckets.map((_, index) => index),
          hoverinfo: "none",
          showscale: false,
          z: buckets.map(({ values }) => values.map((value) => (value ? Math.sqrt(value / highest) : null))),
          zmin: 0,
          zmax: 1,
          xgap: times.length > 150 ? 0 : 1,
          ygap: 1,
          hoverongaps: false,
          colorscale: scale(),
        },
      ],
      y: rows(buckets, name, host.clientHeight),
      range,
      annotations,
      onzoom,
      tip: (time, height) => tipAt({ times, buckets, step, name }, time, height),
      step: (at, direction) =>
        times[
          Math.max(0, Math.min(times.length - 1, at === undefined ? times.length - 1 : nearest(times, at - step / 2) + direction))
        ],
      label: `${panel.title}: heatmap of ${buckets.length} buckets. Arrow keys read the columns.`,
    },
    signal,
  );
}

export const dispose = (body) => {
  const host = body.querySelector(".chart");
  if (host) purge(host);
};

/** Without the buckets below the first and above the last that ever hold anything. */
function trimmed(buckets) {
  const used = buckets.map(({ values }) => values.some((value) => value > 0));
  const [first, last] = [used.indexOf(true), used.lastIndexOf(true)];
  return first < 0 ? buckets : buckets.slice(Math.max(0, first - 1), last + 2);
}

const scale = () => [0, 0.25, 0.5, 0.75, 1].map((at, index) => [at, resolved(`var(--heat-${index + 1})`)]);

/** Upper bounds stand at the upper edges of their rows. */
function rows(buckets, name, height) {
  const every = Math.max(1, Math.ceil(buckets.length / Math.max(2, height / 26)));
  const ticks = buckets
    .map((bucket, index) => ({ at: index + 0.5, text: name(bucket) }))
    .filter((_, index) => index % every === 0);
  return { low: -0.5, high: buckets.length - 0.5, ticks };
}

function tipAt({ times, buckets, step, name }, time, height) {
  if (!times.length) return null;
  const index = nearest(times, time - step / 2);
  if (Math.abs(times[index] + step / 2 - time) > step) return null;
  const pointed = Math.max(0, Math.min(buckets.length - 1, Math.floor(height * buckets.length)));
  const rows = buckets
    .map((bucket, number) => ({ number, text: `up to ${name(bucket)}`, value: bucket.values[index] }))
    .filter(({ number, value }) => value || number === pointed)
    .reverse()
    .map(({ number, text, value }) =>
      h(`div.row${number === pointed ? ".pointed" : ""}`, {}, h("span", {}, text), h("b", {}, format(value ?? 0, "short"))),
    );
  return { at: times[index] + step / 2, title: dateTime(times[index]), rows };
}
