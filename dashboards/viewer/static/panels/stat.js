/** Big numbers: one row, each number column one of them. */

import { display, displayName, fieldConfig } from "../fields.js";
import { h, link } from "../dom.js";
import { firstLink } from "../links.js";

export function render(body, panel, frames, { context }) {
  const values = frames.flatMap((frame) => {
    const numbers = frame.columns.filter((one) => one.kind === "number");
    const shown = numbers.length ? numbers : frame.columns;
    const row = Object.fromEntries(frame.columns.map((one) => [one.name, one.values.at(-1)]));
    return shown.map((one) => ({ one, row, value: one.values.findLast((value) => value !== null) ?? null, refId: frame.refId }));
  });
  const box = h("div.stats", { "data-count": String(Math.min(values.length, 6)) });
  for (const { one, row, value, refId } of values) {
    const config = fieldConfig(panel, { name: one.name, kind: one.kind, refId });
    if (config.custom.hidden) continue;
    box.append(number(panel, config, { name: displayName(config, one.name), value, row, context, alone: values.length === 1 }));
  }
  body.replaceChildren(box);
}

function number(panel, config, { name, value, row, context, alone }) {
  const { text, color } = display(config, value);
  const parts = /^(-?[$]?[\d.,]+)\s*([^\d.,\s].{0,4})$/.exec(text);
  const written =
    value === null && !text
      ? h("span.nothing", {}, config.noValue && config.noValue.length < 12 ? config.noValue : "–")
      : parts
        ? [parts[1], h("small", {}, parts[2])]
        : [text];
  const background = panel.options?.colorMode?.startsWith("background") && color && color !== "var(--text)";
  const style =
    value === null || !color || panel.options?.colorMode === "none" ? null : background ? `--fill:${color}` : `color:${color}`;
  const target = firstLink(config, { value, text, row, series: name, context });
  const figure = h("span.figure", { style: background ? null : style }, ...[written].flat());
  const shown =
    panel.options?.textMode === "name" ? null : target ? link(target.url, { "data-tip": target.title }, figure) : figure;
  const named = !alone || panel.options?.textMode === "value_and_name" || panel.options?.textMode === "name";
  return h(
    `div.stat${background ? ".filled" : ""}`,
    { style: background ? style : null },
    named ? h("span.name", { title: name }, name) : null,
    shown,
  );
}
