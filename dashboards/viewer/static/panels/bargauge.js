/** Names with a bar and a number each, the longest bar being the largest. */

import { css, seriesColors } from "../colors.js";
import { h, link } from "../dom.js";
import { display, displayName, fieldConfig } from "../fields.js";
import { firstLink } from "../links.js";

export function render(body, panel, frames, { context }) {
  const bars = frames.flatMap((frame) => barsOf(panel, frame)).filter(({ value }) => value !== null);
  const highest = Math.max(...bars.map(({ value, config }) => config.max ?? value), 0) || 1;
  const palette = seriesColors(bars.map(({ name }) => name));
  const rows = bars.map(({ name, value, row, config }, index) => {
    const { text, color } = display(config, value);
    const chosen = config.color?.mode?.startsWith("palette") ? palette[index] : (color ?? css("blue"));
    const low = config.min ?? 0;
    const share = Math.max(0, Math.min(1, (value - low) / ((config.max ?? highest) - low || 1)));
    const target = firstLink(config, { value, text, row, series: name, context });
    const label = target ? link(target.url, { "data-tip": target.title }, name) : name;
    return h(
      "li",
      {},
      h("span.name", { title: name }, label),
      h("span.track", { "aria-hidden": "true" }, h("i", { style: `width:${(share * 100).toFixed(2)}%;background:${chosen}${share ? "" : ";min-width:0"}` })),
      h("span.value", {}, text),
    );
  });
  body.replaceChildren(h("ul.bars", { "aria-label": panel.title }, ...rows));
}

/** A string column names the rows; without one, each number column is a bar. */
function barsOf(panel, frame) {
  const names = frame.columns.find((one) => one.kind === "string");
  const numbers = frame.columns.filter((one) => one.kind === "number");
  const rowAt = (index) => Object.fromEntries(frame.columns.map((one) => [one.name, one.values[index]]));
  if (!names) {
    return numbers.map((one) => {
      const config = fieldConfig(panel, { name: one.name, kind: "number", refId: frame.refId });
      return { name: displayName(config, one.name), value: one.values.at(-1), row: rowAt(0), config };
    });
  }
  return names.values.map((name, index) => {
    const number = numbers[0];
    const base = fieldConfig(panel, { name: number.name, kind: "number", refId: frame.refId });
    const own = fieldConfig(panel, { name, kind: "number", refId: frame.refId });
    const overridden = (panel.fieldConfig?.overrides ?? []).some(({ matcher }) => matcher.options === name);
    return { name: name || "(none)", value: number.values[index], row: rowAt(index), config: overridden ? { ...base, ...own } : base };
  });
}
