/** The variables of a board: lists to choose from (with search, several at once), choices, and free texts. */

import { h, icon, popover } from "./dom.js";
import { ALL } from "./state.js";

/** @param {function(string, string[]): void} choose what was chosen for a variable, as it stands in the URL */
export function variableBar(choose) {
  const element = h("div.variables", { role: "group", "aria-label": "Variables" });
  let controls = [];
  return {
    element,
    /** New controls for a board. */
    build(board) {
      controls = (board?.templating?.list ?? [])
        .filter(({ type, hide }) => type !== "constant" && hide !== 2)
        .map((variable) => control(variable, choose));
      element.replaceChildren(...controls.map((one) => one.element));
    },
    set(values) {
      for (const one of controls) one.set(values[one.name] ?? []);
    },
    options(found) {
      for (const one of controls) if (found[one.name]) one.options?.(found[one.name].options);
    },
    /** {NAME: text} for titles. */
    texts: () => Object.fromEntries(controls.map((one) => [one.name, one.text()])),
  };
}

function control(variable, choose) {
  return variable.type === "textbox" ? textbox(variable, choose) : list(variable, choose);
}

function textbox(variable, choose) {
  const input = h("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: "none" });
  input.addEventListener("change", () => choose(variable.name, [input.value.trim()]));
  return {
    name: variable.name,
    element: h(
      "label.variable.textbox",
      { "data-variable": variable.name },
      h("span.label", {}, variable.label || variable.name),
      input,
    ),
    set: ([value]) => {
      if (document.activeElement !== input) input.value = value ?? "";
    },
    text: () => input.value,
  };
}

/** "auto : 0, 1 min : 60", where a board has no list of options. */
const parsed = (query) =>
  (query ?? "")
    .split(",")
    .map((part) => part.split(" : ").map((text) => text.trim()))
    .map(([text, value]) => ({ text, value: value ?? text }));

function list(variable, choose) {
  let options =
    variable.type === "custom"
      ? (variable.options?.length ? variable.options : parsed(variable.query)).filter(({ value }) => value !== ALL)
      : [];
  let chosen = [];
  const shown = h("span.value");
  const element = h(
    "button.variable",
    { type: "button", "data-variable": variable.name, "aria-haspopup": "dialog", "aria-expanded": "false" },
    h("span.label", {}, variable.label || variable.name),
    shown,
    icon("chevron"),
  );
  const textOf = (value) =>
    value === ALL ? "All" : (options.find((one) => String(one.value) === value)?.text ?? value) || "(none)";
  const words = () =>
    chosen.length > 2 ? `${textOf(chosen[0])} + ${chosen.length - 1}` : chosen.map(textOf).join(", ") || "nothing";
  const write = () => {
    shown.textContent = words();
    element.setAttribute("aria-label", `${variable.label || variable.name}: ${chosen.map(textOf).join(", ") || "nothing"}`);
  };
  let opened = null; // fills the list that is open anew
  element.addEventListener("click", () => {
    const done = (values) => {
      opened = null;
      if (values.join("\n") !== chosen.join("\n")) choose(variable.name, values);
    };
    opened = openList(element, { variable, options: () => options, chosen, done });
  });
  return {
    name: variable.name,
    element,
    set(values) {
      chosen = values;
      write();
    },
    options(found) {
      if (JSON.stringify(found) === JSON.stringify(options)) return;
      options = found;
      write();
      opened?.();
    },
    text: () => chosen.map(textOf).join(", "),
  };
}

/** Answers what fills it again, when there is more to choose from. */
function openList(anchor, { variable, options, chosen, done }) {
  const label = variable.label || variable.name;
  const all = variable.includeAll ? [{ value: ALL, text: "All" }] : [];
  let picked = new Set(chosen);
  let rows = [];
  const pick = (value, on) => {
    if (!variable.multi) picked = new Set([value]);
    else if (value === ALL) picked = new Set(on ? [ALL] : []);
    else {
      picked.delete(ALL);
      if (on) picked.add(value);
      else picked.delete(value);
    }
    if (!picked.size && all.length) picked.add(ALL);
    for (const row of rows) row.input.checked = picked.has(row.value);
    if (!variable.multi) box.hidePopover();
  };
  const row = ({ value, text }) => {
    const input = h("input", { type: variable.multi ? "checkbox" : "radio", name: `choice-${variable.name}` });
    input.checked = picked.has(String(value));
    input.addEventListener("change", () => pick(String(value), input.checked));
    const element = h("label.item", {}, input, h("span", { title: text }, text || "(none)"));
    return { value: String(value), text: String(text).toLowerCase(), input, element };
  };
  const none = h("p.muted", {}, "Nothing to choose from in this range of time.");
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": `Search ${label}`, autofocus: true });
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    for (const one of rows) one.element.hidden = !one.text.includes(wanted);
    none.hidden = rows.some((one) => !one.element.hidden);
  };
  const list = h("div.choices", { onkeydown: (event) => arrows(event, box) });
  const fill = () => {
    const gone = [...picked].filter((value) => value !== ALL && !options().some((one) => String(one.value) === value));
    rows = [...all, ...gone.map((value) => ({ value, text: `${value} (not in this range)` })), ...options()].map(row);
    list.replaceChildren(...rows.map(({ element }) => element), none);
    filter();
  };
  search.addEventListener("input", filter);
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") arrows(event, box);
    if (event.key !== "Enter") return;
    const first = rows.find((one) => !one.element.hidden && one.value !== ALL) ?? rows[0];
    if (first && search.value) pick(first.value, true);
    if (box.isConnected) box.hidePopover();
  });
  fill();
  const content = h("div.list", {}, options().length > 5 || variable.multi ? search : null, list);
  const onclose = () => done(rows.map(({ value }) => value).filter((value) => picked.has(value)));
  const box = popover(anchor, content, { label, onclose });
  return fill;
}

function arrows(event, box) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const inputs = [...box.querySelectorAll("input")].filter((input) => !input.closest("[hidden]"));
  inputs[Math.max(0, Math.min(inputs.length - 1, inputs.indexOf(document.activeElement) + step))]?.focus();
}
