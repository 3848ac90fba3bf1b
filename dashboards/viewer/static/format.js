/** Values as Grafana writes them: 350 ms, 12.3 MiB, 4.5 K, 12.3%, $0.0123, 3 minutes ago. */

const SECONDS = [
  [1e-6, 1e-9, " ns"],
  [1e-3, 1e-6, " µs"],
  [1, 1e-3, " ms"],
  [60, 1, " s"],
  [3600, 60, " min"],
  [86400, 3600, " h"],
  [Infinity, 86400, " d"],
];
const LARGE = [
  [1e12, " T"],
  [1e9, " B"],
  [1e6, " M"],
  [1e3, " K"],
];
const AGO = [
  [60, 1, "second"],
  [3600, 60, "minute"],
  [86400, 3600, "hour"],
  [86400 * 30, 86400, "day"],
  [86400 * 365, 86400 * 30, "month"],
  [Infinity, 86400 * 365, "year"],
];

/** Three significant digits, without zeros at the end; as many decimals as asked for where they are. */
function digits(value, decimals) {
  if (decimals !== null && decimals !== undefined) return grouped(value, decimals, decimals);
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return grouped(value, 0, 0);
  const most = Math.max(0, Math.min(8, 2 - Math.floor(Math.log10(size))));
  return grouped(value, 0, most);
}

const formats = new Map();

function grouped(value, least, most) {
  const key = `${least},${most}`;
  if (!formats.has(key)) {
    formats.set(key, new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: most }));
  }
  return formats.get(key).format(value);
}

export function seconds(value, decimals) {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  const [, divisor, unit] = SECONDS.find(([below]) => size < below * 0.99995);
  return digits(value / divisor, decimals) + unit;
}

function scaled(value, decimals, base, units) {
  let power = 0;
  while (Math.abs(value) >= base * 0.9995 && power < units.length - 1) {
    value /= base;
    power += 1;
  }
  return `${digits(value, power === 0 && Number.isInteger(value) ? 0 : decimals)} ${units[power]}`;
}

function short(value, decimals) {
  const found = LARGE.find(([from]) => Math.abs(value) >= from * 0.9995);
  if (!found) return digits(value, decimals);
  return digits(value / found[0], decimals) + found[1];
}

function dollars(value, decimals) {
  const size = Math.abs(value);
  const sign = value < 0 ? "-" : "";
  if (size >= 9999.5) return `${sign}$${short(size, decimals)}`;
  if (decimals !== null && decimals !== undefined) return `${sign}$${digits(size, decimals)}`;
  const places = size === 0 || size >= 0.995 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(size)));
  return `${sign}$${grouped(size, places, places)}`;
}

const two = (number) => String(number).padStart(2, "0");

/** 2026-11-22 01:34:05, in the browser's time zone. */
export function dateTime(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms)}`;
}

export function clock(ms, withSeconds = true) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}${withSeconds ? `:${two(at.getSeconds())}` : ""}`;
}

export function fromNow(ms, now = Date.now()) {
  const age = (now - ms) / 1000;
  const size = Math.abs(age);
  if (size < 1) return "now";
  const [, divisor, name] = AGO.find(([below]) => size < below);
  const count = Math.floor(size / divisor);
  const text = `${count} ${name}${count === 1 ? "" : "s"}`;
  return age < 0 ? `in ${text}` : `${text} ago`;
}

const IEC = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const SI = ["B", "kB", "MB", "GB", "TB", "PB"];

/** By Grafana's ids of units. Times of day are Unix milliseconds. */
const UNITS = {
  s: seconds,
  ms: (value, decimals) => seconds(value / 1e3, decimals),
  µs: (value, decimals) => seconds(value / 1e6, decimals),
  ns: (value, decimals) => seconds(value / 1e9, decimals),
  bytes: (value, decimals) => scaled(value, decimals, 1024, IEC),
  decbytes: (value, decimals) => scaled(value, decimals, 1000, SI),
  binBps: (value, decimals) => `${scaled(value, decimals, 1024, IEC)}/s`,
  Bps: (value, decimals) => `${scaled(value, decimals, 1000, SI)}/s`,
  short,
  none: digits,
  percentunit: (value, decimals) => `${digits(value * 100, decimals)}%`,
  percent: (value, decimals) => `${digits(value, decimals)}%`,
  currencyUSD: dollars,
  cpm: (value, decimals) => `${short(value, decimals)} /min`,
  ops: (value, decimals) => `${short(value, decimals)} /s`,
  reqps: (value, decimals) => `${short(value, decimals)} /s`,
  dateTimeAsIso: (value) => dateTime(value),
  dateTimeFromNow: (value) => fromNow(value),
};

/** The text of a value: numbers by their unit, lists and maps as JSON. Nothing is "". */
export function format(value, unit = "none", decimals = null) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value !== "number") return String(value);
  const write = UNITS[unit];
  if (write) return write(value, decimals);
  const text = digits(value, decimals);
  return unit === "string" ? String(value) : unit.startsWith("suffix:") ? text + unit.slice(7) : text;
}

/** Is the text of such a value another one a minute later? */
export const changesWithTime = (unit) => unit === "dateTimeFromNow";
