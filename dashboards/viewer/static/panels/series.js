/** A query's answer as series over time: {name, label, config, times, values}. */

import { displayName, fieldConfig } from "../fields.js";

/** Wide: each number column is a series. Long: the string column names it. */
export function toSeries(panel, frames) {
  const found = new Map();
  for (const frame of frames) {
    const time = frame.columns.find((one) => one.kind === "time");
    if (!time) continue;
    const texts = frame.columns.filter((one) => one.kind === "string");
    const numbers = frame.columns.filter((one) => one.kind === "number");
    for (const number of numbers) {
      for (let row = 0; row < frame.rows; row += 1) {
        const labels = Object.fromEntries(texts.map((one) => [one.name, one.values[row] ?? ""]));
        const words = Object.values(labels).map((value) => value || "(none)");
        if (numbers.length > 1 || !words.length) words.unshift(number.name);
        const name = words.join(" ");
        const key = `${frame.refId} ${name}`;
        if (!found.has(key)) found.set(key, start(panel, frame, number, name, labels));
        const one = found.get(key);
        one.times.push(time.values[row]);
        one.values.push(number.values[row]);
      }
    }
  }
  return [...found.values()];
}

function start(panel, frame, number, name, labels) {
  const plain = Object.keys(labels).length ? displayName(panel.fieldConfig?.defaults ?? {}, number.name, labels) || name : name;
  const shown = plain === number.name && Object.keys(labels).length ? name : plain;
  const config = fieldConfig(panel, { name: shown, kind: "number", refId: frame.refId });
  const label = Object.keys(labels).length ? shown : displayName(config, name);
  return { name: shown, label, labels, config, times: [], values: [] };
}

/** All times of all series, in order. */
export function allTimes(series) {
  return [...new Set(series.flatMap(({ times }) => times))].sort((a, b) => a - b);
}

/** The smallest distance of two times: what one bar or one point stands for. */
export function stepOf(times, fallback) {
  let step = Infinity;
  for (let index = 1; index < times.length; index += 1) step = Math.min(step, times[index] - times[index - 1]);
  return step === Infinity ? fallback : step;
}

/** Index of the time that is nearest, by halves. */
export function nearest(times, at) {
  let [low, high] = [0, times.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= at) low = middle;
    else high = middle;
  }
  return Math.abs(times[high] - at) < Math.abs(times[low] - at) ? high : low;
}
