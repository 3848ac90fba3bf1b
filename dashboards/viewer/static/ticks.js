/** Round numbers on an axis of values: of seconds by 60, of bytes by 1024, of all else by 10. */

import { format } from "./format.js";

const TENS = [1, 2, 2.5, 5, 10];
const SIXTIES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function roundStep(wanted, unit, whole) {
  const factor = unit === "ms" ? 1000 : 1;
  if ((unit === "s" || unit === "ms") && wanted / factor >= 1 && wanted / factor <= 86400) {
    return SIXTIES.find((step) => step >= wanted / factor) * factor;
  }
  const base = unit === "bytes" && wanted >= 1024 ? 1024 ** Math.floor(Math.log(wanted) / Math.log(1024)) : 1;
  const power = 10 ** Math.floor(Math.log10(wanted / base));
  const step = TENS.find((ten) => ten * power >= (wanted / base) * 0.999) * power * base;
  return whole ? Math.max(1, Math.ceil(step)) : step;
}

/**
 * The range of an axis and its ticks: {low, high, ticks: [{at, text}]}. Nought is on it when all values are on one side.
 * @param {{min?: number, max?: number, unit?: string}} config the axis' own limits
 */
export function valueAxis(values, config, most) {
  let [low, high] = [Infinity, -Infinity];
  let whole = true;
  for (const value of values) {
    if (value === null || value === undefined) continue;
    if (value < low) low = value;
    if (value > high) high = value;
    if (whole && !Number.isInteger(value)) whole = false;
  }
  low = config.min ?? Math.min(low === Infinity ? 0 : low, 0);
  high = config.max ?? Math.max(high === -Infinity ? 0 : high, 0);
  if (high <= low) high = low + 1;
  const step = roundStep(
    (high - low) / Math.max(1, most),
    config.unit,
    whole && !["percentunit", "currencyUSD"].includes(config.unit),
  );
  const first = config.min ?? Math.floor(low / step + 1e-9) * step;
  const last = config.max ?? Math.ceil(high / step - 1e-9) * step;
  const ticks = [];
  for (let count = Math.ceil(first / step - 1e-9); count * step <= last + step * 1e-6; count += 1) {
    const at = Number((count * step).toPrecision(12));
    ticks.push({ at, text: format(at, config.unit ?? "short") });
  }
  return { low: first, high: last + (last - first) * 0.02, ticks };
}
