/** Lines of logs, newest as the query has them; a line opens to its labels. */

import { h, icon, link } from "../dom.js";
import { column } from "../frame.js";
import { dateTime } from "../format.js";
import { firstLink } from "../links.js";
import { fieldConfig } from "../fields.js";
import { pairs } from "./spans.js";

const FIRST = 200;
const LEVELS = [
  [/^(fatal|critical|crit|alert|emerg|panic)/i, "critical"],
  [/^err/i, "error"],
  [/^warn/i, "warning"],
  [/^(info|notice)/i, "info"],
  [/^(debug|trace|verbose)/i, "debug"],
];

const levelOf = (text) => LEVELS.find(([pattern]) => pattern.test(text ?? ""))?.[1] ?? "unknown";

export function render(body, panel, [frame], { memory, context }) {
  memory.open ??= new Set();
  memory.rows ??= FIRST;
  const value = (name, row) => column(frame, name)?.values[row] ?? null;
  const again = () => render(body, panel, [frame], { memory, context });
  const lines = Array.from({ length: Math.min(frame.rows, memory.rows) }, (_, row) => {
    const at = value("timestamp", row);
    const text = String(value("body", row) ?? "");
    return line({
      at,
      text,
      level: levelOf(value("level", row)),
      word: value("level", row) || "",
      key: `${at} ${text}`,
      labels: pairs(value("labels", row)),
      trace: value("traceID", row),
    });
  });
  const rest = frame.rows - memory.rows;
  const top = body.querySelector(".logs")?.scrollTop ?? 0;
  const box = h(
    "div.logs",
    { tabindex: "0", role: "log", "aria-live": "off", "aria-label": panel.title },
    ...lines,
    rest > 0
      ? h(
          "button.rest",
          {
            type: "button",
            onclick: () => {
              memory.rows += 500;
              again();
            },
          },
          `Show ${Math.min(500, rest)} more of ${rest} lines`,
        )
      : null,
  );
  body.replaceChildren(box);
  box.scrollTop = top;

  function line({ at, text, level, word, key, labels, trace }) {
    const open = memory.open.has(key);
    const toggle = () => {
      if (!memory.open.delete(key)) memory.open.add(key);
      again();
    };
    const config = fieldConfig(panel, { name: "traceID", kind: "string", refId: frame.refId });
    const target = trace ? firstLink(config, { value: trace, text: trace, row: { traceID: trace }, context }) : null;
    return h(
      "div.line",
      { "data-level": level, class: open ? "line open" : "line" },
      h(
        "button",
        { type: "button", "aria-expanded": String(open), onclick: toggle },
        icon("chevron"),
        h("time", {}, dateTime(at)),
        h("span.level", {}, word.toLowerCase()),
        h("span.text", {}, text),
      ),
      open
        ? h(
            "dl",
            {},
            ...[["traceID", target ? link(target.url, {}, trace) : trace], ...labels]
              .filter(([, one]) => one)
              .flatMap(([name, one]) => [h("dt", {}, name), h("dd", {}, one instanceof Node ? one : String(one))]),
          )
        : null,
    );
  }
}
