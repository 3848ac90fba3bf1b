/** Rows and columns: sorted by a click, cells with units, colours, bars and links. */

import { css } from "../colors.js";
import { h, link } from "../dom.js";
import { display, displayName, fieldConfig, threshold } from "../fields.js";
import { firstLink } from "../links.js";

const FIRST = 100; // rows drawn at once
const LONG = 160; // characters from which on a text is folded

export function render(body, panel, [frame], { memory, context }) {
  const columns = frame.columns
    .map((one) => ({ ...one, config: fieldConfig(panel, { name: one.name, kind: one.kind, refId: frame.refId }) }))
    .map((one) => ({ ...one, title: displayName(one.config, one.name), right: alignment(one) === "right" }))
    .map((one) => ({ ...one, range: gauge(one) ? rangeOf(one) : null }));
  const shown = columns.filter(({ config }) => !config.custom.hidden);
  const wide = widest(shown);
  if (wide) wide.wide = true;
  memory.sort ??= initialSort(panel, shown);
  memory.rows ??= FIRST;
  const order = sorted(columns, frame.rows, memory.sort);
  const row = (index) => Object.fromEntries(columns.map((one) => [one.name, one.values[index]]));
  const source = (index) => ({ row: row(index), context });
  const again = () => render(body, panel, [frame], { memory, context });
  const table = h(
    "table",
    {},
    h(
      "colgroup",
      {},
      ...shown.map(({ config }) => h("col", { style: config.custom.width ? `width:${config.custom.width}px` : null })),
    ),
    h("thead", {}, h("tr", {}, ...shown.map((one) => heading(one, memory, again)))),
    h(
      "tbody",
      {},
      ...order.slice(0, memory.rows).map((index) => h("tr", {}, ...shown.map((one) => cell(one, index, source(index))))),
    ),
  );
  const rest = frame.rows - memory.rows;
  const more =
    rest > 0 &&
    h(
      "button.rest",
      {
        type: "button",
        onclick: () => {
          memory.rows += 500;
          again();
        },
      },
      `Show ${Math.min(500, rest)} more of ${rest} rows`,
    );
  const top = body.querySelector(".table")?.scrollTop ?? 0;
  const box = h("div.table", { tabindex: "0", role: "region", "aria-label": panel.title }, table, more || null);
  body.replaceChildren(box);
  box.scrollTop = top;
}

const alignment = ({ kind, config }) => {
  const wanted = config.custom.align;
  return wanted && wanted !== "auto" ? wanted : kind === "number" && !/^dateTime/.test(config.unit ?? "") ? "right" : "left";
};

/** The column of long texts takes the room that the others leave. */
function widest(columns) {
  const length = ({ values }) => values.slice(0, FIRST).reduce((most, value) => Math.max(most, String(value ?? "").length), 0);
  const texts = columns.filter((one) => one.kind === "string" && !one.config.custom.width && length(one) > 28);
  return texts.sort((a, b) => length(b) - length(a))[0];
}

const cellType = ({ config }) => config.custom.cellOptions?.type ?? config.custom.displayMode ?? "auto";
const gauge = (one) => /gauge/.test(cellType(one)) && one.kind === "number";

function rangeOf({ values, config }) {
  const numbers = values.filter((value) => value !== null);
  return [config.min ?? Math.min(0, ...numbers), config.max ?? Math.max(...numbers, 0)];
}

function initialSort(panel, columns) {
  const [first] = panel.options?.sortBy ?? [];
  const found = first && columns.find(({ title, name }) => title === first.displayName || name === first.displayName);
  return found ? { name: found.name, down: Boolean(first.desc) } : null;
}

function sorted(columns, rows, sort) {
  const order = Array.from({ length: rows }, (_, index) => index);
  const found = sort && columns.find(({ name }) => name === sort.name);
  if (!found) return order;
  const { values } = found;
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const nothing = (value) => value === null || value === "";
  return order.sort((a, b) => {
    if (nothing(values[a]) || nothing(values[b])) return Number(nothing(values[a])) - Number(nothing(values[b]));
    return compare(values[a], values[b]) * (sort.down ? -1 : 1);
  });
}

/** First click: the largest number or the first name on top; second: the other way round; third: as it came. */
function heading({ name, title, kind, right }, memory, again) {
  const now = memory.sort?.name === name ? (memory.sort.down ? "descending" : "ascending") : "none";
  const first = kind !== "string";
  const next = now === "none" ? { name, down: first } : (now === "descending") === first ? { name, down: !first } : null;
  const choose = () => {
    memory.sort = next ?? { name: "", down: false };
    again();
  };
  return h(
    "th",
    { "aria-sort": now, class: right ? "right" : null },
    h("button", { type: "button", title, onclick: choose }, h("span", {}, title)),
  );
}

function cell(one, index, source) {
  const { config, values, right } = one;
  const value = values[index];
  const { text, color } = display(config, value);
  const target = text === "" ? null : firstLink(config, { ...source, value, text, series: one.name });
  const long = text.length > LONG || (config.custom.cellOptions?.wrapText && text.length > LONG / 2);
  const content = target
    ? link(target.url, { "data-tip": target.title === text ? null : target.title }, text)
    : long
      ? folded(text)
      : text;
  const type = cellType(one);
  const mapped = color && (config.mappings?.length || config.color?.mode === "fixed");
  const width = config.custom.width ? `max-width:${config.custom.width}px;` : "";
  const style =
    width +
    (/background/.test(type) && color ? `--fill:${color}` : (/text/.test(type) || mapped) && color ? `color:${color}` : "");
  const classes = [
    one.wide && "wide",
    right && "right",
    /background/.test(type) && color && color !== "transparent" && "filled",
    long && "long",
    text === "" && "none",
  ];
  const inner = one.range && value !== null ? bar(one, value, content) : content;
  return h(
    "td",
    { class: classes.filter(Boolean).join(" ") || null, style: style || null, title: text.length > 18 && !long ? text : null },
    text === "" ? "–" : inner,
  );
}

function bar({ config, range }, value, content) {
  const share = Math.max(0, Math.min(1, (value - range[0]) / (range[1] - range[0] || 1)));
  const fill = config.color?.mode === "fixed" ? css(config.color.fixedColor) : css(threshold(config, value)?.color ?? "blue");
  return h(
    "span.gauge",
    {},
    h("span.track", { "aria-hidden": "true" }, h("i", { style: `width:${(share * 100).toFixed(1)}%;background:${fill}` })),
    h("span", {}, content),
  );
}

/** A long text: its beginning, and all of it on a click. */
function folded(text) {
  const button = h("button.fold", { type: "button", "aria-expanded": "false" }, text.slice(0, 4 * LONG));
  button.addEventListener("click", () => {
    if (getSelection().toString()) return; // somebody marks a part of it
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? text : text.slice(0, 4 * LONG);
  });
  return button;
}
