/** The range of time: quick ones, or two times. */

import { h, icon, popover } from "./dom.js";
import { QUICK, rangeText, resolve } from "./times.js";

const MORE = [
  ["now/d", "now/d", "Today"],
  ["now-1d/d", "now-1d/d", "Yesterday"],
  ["now/w", "now/w", "This week"],
];

/** A button that shows the range. `choose(from, to)`: as they stand in the URL. */
export function timePicker(choose) {
  const label = h("span");
  const element = h(
    "button.picker",
    { type: "button", "aria-haspopup": "dialog", "aria-expanded": "false", "data-tip": "Range of time (t)" },
    icon("clock"),
    label,
  );
  let now = { from: "now-6h", to: "now" };
  element.addEventListener("click", () => open(element, now, choose));
  return {
    element,
    set({ from, to }) {
      now = { from, to };
      label.textContent = MORE.find(([first, last]) => first === from && last === to)?.[2] ?? rangeText(from, to);
      element.setAttribute("aria-label", `Range of time: ${label.textContent}`);
    },
  };
}

function open(anchor, { from, to }, choose) {
  const quick = [...QUICK.map((length) => [`now-${length}`, "now", rangeText(`now-${length}`, "now")]), ...MORE];
  const done = (first, last) => {
    box.hidePopover();
    choose(first, last);
  };
  const items = quick.map(([first, last, text]) =>
    h(
      "button.item",
      { type: "button", "aria-pressed": String(first === from && last === to), onclick: () => done(first, last) },
      text,
    ),
  );
  const start = field("From", resolve(from));
  const end = field("To", resolve(to, undefined, true));
  const error = h("p.failed", { role: "alert" });
  const form = h(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        const [first, last] = [start.input.valueAsTime(), end.input.valueAsTime()];
        error.textContent =
          Number.isNaN(first) || Number.isNaN(last)
            ? "Both times are needed."
            : first >= last
              ? "The first time has to be before the second."
              : "";
        if (!error.textContent) done(String(first), String(last));
      },
    },
    h("h3", {}, "From one time to another"),
    start.element,
    end.element,
    error,
    h("button.primary", { type: "submit" }, "Show"),
    h("p.muted", {}, `Times of ${Intl.DateTimeFormat().resolvedOptions().timeZone}. Or drag across a chart.`),
  );
  const box = popover(anchor, h("div.times", {}, h("div.quick", {}, ...items), form), { label: "Range of time" });
  box.querySelector("[aria-pressed=true]")?.focus();
}

function field(label, ms) {
  const shifted = new Date(ms - new Date(ms).getTimezoneOffset() * 6e4);
  const input = h("input", { type: "datetime-local", step: "1", required: true, value: shifted.toISOString().slice(0, 19) });
  input.valueAsTime = () => new Date(input.value).getTime();
  return { input, element: h("label", {}, h("span", {}, label), input) };
}
