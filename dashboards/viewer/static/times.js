/** Ranges of time: Grafana's relative times (now-6h, now-7d/d), steps, and the ticks of a time axis. */

import { clock, dateTime } from "./format.js";

const MS = { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 };
const STEPS = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 604800, 2592000];
const NAMES = { s: "second", m: "minute", h: "hour", d: "day", w: "week", M: "month", y: "year" };
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export const QUICK = ["5m", "15m", "30m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "14d", "30d", "90d"];

/** Unix milliseconds of what is written in the URL or a board, or null when it is no time. `end`: of a day that is rounded. */
export function resolve(text, now = Date.now(), end = false) {
  if (/^-?\d+$/.test(text)) return Number(text);
  const found = /^now(?:([+-])(\d+)([smhdwMy]))?(?:\/([hdwMy]))?$/.exec(text);
  if (!found) return null;
  const [, sign, count, unit, round] = found;
  const at = new Date(now);
  const amount = Number(count ?? 0) * (sign === "-" ? -1 : 1);
  if (unit === "M") at.setMonth(at.getMonth() + amount);
  else if (unit === "y") at.setFullYear(at.getFullYear() + amount);
  else if (unit) at.setTime(at.getTime() + amount * MS[unit]);
  return round ? rounded(at, round, end).getTime() : at.getTime();
}

function rounded(at, unit, end) {
  at.setMinutes(0, 0, 0);
  if (unit !== "h") at.setHours(0);
  if (unit === "w") at.setDate(at.getDate() - ((at.getDay() + 6) % 7));
  if (unit === "M" || unit === "y") at.setDate(1);
  if (unit === "y") at.setMonth(0);
  if (!end) return at;
  if (unit === "h") at.setHours(at.getHours() + 1);
  else if (unit === "d" || unit === "w") at.setDate(at.getDate() + (unit === "d" ? 1 : 7));
  else at.setMonth(at.getMonth() + (unit === "M" ? 1 : 12));
  at.setMilliseconds(-1);
  return at;
}

/** "Last 6 hours", or the two times. */
export function rangeText(from, to) {
  const last = /^now-(\d+)([smhdwMy])$/.exec(from);
  if (last && to === "now") {
    return last[1] === "1" ? `Last ${NAMES[last[2]]}` : `Last ${last[1]} ${NAMES[last[2]]}s`;
  }
  return rangeWords(resolve(from), resolve(to, undefined, true));
}

export function rangeWords(from, to) {
  const [first, last] = [dateTime(from).slice(0, 16), dateTime(to).slice(0, 16)];
  return first.slice(0, 10) === last.slice(0, 10) ? `${first} – ${last.slice(11)}` : `${first} – ${last}`;
}

/** Seconds of a step so that a range has about as many points; not below `least`. */
export function interval(from, to, points, least = 0) {
  const wanted = Math.max((to - from) / 1000 / points, least);
  return STEPS.find((step) => step >= wanted) ?? STEPS.at(-1);
}

/** Grafana's "1m", "30s" in seconds. */
export function toSeconds(text) {
  const found = /^>?(\d+)(ms|[smhdw])$/.exec(text ?? "");
  return found ? (Number(found[1]) * (MS[found[2]] ?? 1)) / 1000 : 0;
}

/** [{at, text}] on round local times. */
export function timeTicks(from, to, most) {
  const seconds = interval(from, to, Math.max(1, most));
  const step = seconds * 1000;
  const offset = new Date(from).getTimezoneOffset() * 6e4;
  const ticks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step)
    ticks.push({ at, text: tickText(at, seconds, to - from) });
  return ticks;
}

function tickText(at, seconds, span) {
  const date = new Date(at);
  const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
  if (seconds >= 86400 || (midnight && span > MS.h)) return `${MONTHS[date.getMonth()]} ${date.getDate()}`;
  return clock(at, seconds < 60);
}

/** Plotly draws times as if they were UTC: what it is given is shifted so that it shows local ones. */
export const toPlot = (ms) => ms - new Date(ms).getTimezoneOffset() * 6e4;

export function fromPlot(value) {
  const shifted = typeof value === "number" ? value : Date.parse(`${String(value).replace(" ", "T")}Z`);
  return shifted + new Date(shifted + new Date(shifted).getTimezoneOffset() * 6e4).getTimezoneOffset() * 6e4;
}
