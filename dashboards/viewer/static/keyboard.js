/** Shortcuts. None of them works while something is typed or a dialog is open. */

import { dialog, h } from "./dom.js";

const BOARDS = { f: "fleet", a: "agent", p: "pipeline", m: "models", t: "tools", r: "run", s: "storage", l: "alerts" };
const HELP = [
  ["r", "refresh now"],
  ["t", "range of time"],
  ["/", "variables"],
  ["d", "theme: system, light, dark"],
  ["v", "the panel under the pointer or with the focus: larger, and back"],
  ["g then f a p m t r s", "Fleet, Agent, Pipeline, Models, Tools, Run, Storage"],
  ["g then l", "alerts"],
  ["← →", "on a chart: from point to point; in a waterfall: fold and unfold"],
  ["Esc", "close what is open"],
  ["?", "this list"],
];

/** @param {{refresh, times, variables, theme, larger, back, go: function(string)}} actions */
export function shortcuts(actions) {
  let went = 0; // when g was pressed
  const keys = { r: actions.refresh, t: actions.times, "/": actions.variables, d: actions.theme, v: actions.larger, "?": help };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open], [popover]:popover-open")) return;
    if (event.key === "Escape") return actions.back();
    if (event.target.closest("input, textarea, select")) return;
    const second = Date.now() - went < 1500;
    went = 0;
    if (second && BOARDS[event.key]) {
      event.preventDefault();
      return actions.go(BOARDS[event.key]);
    }
    if (event.key === "g") {
      went = Date.now();
      return;
    }
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}

function help() {
  dialog(
    "Keyboard",
    h(
      "dl.keys",
      {},
      ...HELP.flatMap(([key, text]) => [
        h(
          "dt",
          {},
          ...key
            .split(" then ")
            .flatMap((part, index) => [index ? " then " : null, ...part.split(" ").map((one) => h("kbd", {}, one))]),
        ),
        h("dd", {}, text),
      ]),
    ),
  );
}
