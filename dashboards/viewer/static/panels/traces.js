/** A trace as a waterfall: a tree of names beside bars of time. */

import { button, h, icon } from "../dom.js";
import { dateTime, seconds } from "../format.js";
import { spanKind, spanTree, visible } from "./spans.js";

const FIRST = 400; // rows drawn at once
const KINDS = { run: "Run", model: "Model call", tool: "Tool call", retrieval: "Retrieval", webhook: "Webhook", other: "Other" };

export function render(body, panel, [frame], { memory }) {
  const spans = spanTree(frame);
  memory.collapsed ??= new Set();
  memory.open ??= new Set();
  memory.rows ??= FIRST;
  const again = () => render(body, panel, [frame], { memory });
  const from = Math.min(...spans.map(({ start }) => start));
  const length = Math.max(...spans.map(({ start, duration }) => start + duration)) - from || 1;
  const shown = visible(spans, memory.collapsed);
  const focused = body.contains(document.activeElement) ? document.activeElement.dataset.span : null;
  const rows = shown
    .slice(0, memory.rows)
    .flatMap((span) => [row(span, { from, length, memory, again }), memory.open.has(span.id) ? details(span, from) : null]);
  const rest = shown.length - memory.rows;
  const top = body.querySelector(".waterfall")?.scrollTop ?? 0;
  const box = h(
    "div.waterfall",
    {},
    head(spans, length, memory, again),
    h("div.rows", { role: "tree", "aria-label": panel.title, onkeydown: (event) => keys(event, spans, memory, again) }, ...rows),
    rest > 0
      ? h(
          "button.rest",
          {
            type: "button",
            onclick: () => {
              memory.rows += 1000;
              again();
            },
          },
          `Show ${Math.min(1000, rest)} more of ${rest} spans`,
        )
      : null,
  );
  body.replaceChildren(box);
  box.scrollTop = top;
  const items = [...box.querySelectorAll("[role=treeitem]")];
  const current = items.find((item) => item.dataset.span === (focused ?? memory.at)) ?? items[0];
  current?.setAttribute("tabindex", "0");
  if (focused) current?.focus({ preventScroll: true });
}

function head(spans, length, memory, again) {
  const failed = spans.filter((span) => span.failed).length;
  const kinds = [...new Set(spans.map(spanKind))];
  const parents = spans.filter(({ children }) => children.length);
  const all = parents.length > 1 && memory.collapsed.size > 0;
  const fold = () => {
    memory.collapsed = all ? new Set() : new Set(parents.filter(({ depth }) => depth > 0).map(({ id }) => id));
    again();
  };
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((at) =>
    h("span", { style: `left:${at * 100}%` }, at === 0 ? "0" : seconds((length * at) / 1000)),
  );
  return h(
    "div.head",
    {},
    h(
      "div.summary",
      {},
      h("span", {}, `${spans.length} span${spans.length === 1 ? "" : "s"}, ${seconds(length / 1000)}`),
      failed ? h("span.failed", {}, `${failed} failed`) : null,
      ...kinds.map((kind) => h("span.kind", { "data-kind": kind }, KINDS[kind])),
      parents.length > 1 ? h("button.ghost", { type: "button", onclick: fold }, all ? "Unfold all" : "Fold") : null,
    ),
    h("div.scale", { "aria-hidden": "true" }, ...ticks),
  );
}

function row(span, { from, length, memory, again }) {
  const left = ((span.start - from) / length) * 100;
  const width = Math.max((span.duration / length) * 100, 0.15);
  const open = memory.open.has(span.id);
  const folded = memory.collapsed.has(span.id);
  const toggle = () => {
    memory.at = span.id;
    if (!memory.open.delete(span.id)) memory.open.add(span.id);
    again();
  };
  const fold = (event) => {
    event.stopPropagation();
    memory.at = span.id;
    if (!memory.collapsed.delete(span.id)) memory.collapsed.add(span.id);
    again();
  };
  const text = seconds(span.duration / 1000);
  const place = left + width < 84 ? `left:${left + width}%` : left > 16 ? `right:${100 - left}%` : `right:${100 - left - width}%`;
  const within = left + width >= 84 && left <= 16;
  return h(
    "div.span",
    {
      role: "treeitem",
      tabindex: "-1",
      "data-span": span.id,
      "data-kind": spanKind(span),
      class: ["span", span.failed && "failed", open && "open"].filter(Boolean).join(" "),
      "aria-level": String(span.depth + 1),
      "aria-expanded": span.children.length ? String(!folded) : null,
      "aria-selected": String(open),
      onclick: toggle,
      "aria-label": `${span.name}, ${text}${span.failed ? ", failed" : ""}`,
    },
    h(
      "div.label",
      { style: `padding-left:${Math.min(span.depth, 20) * 14 + 4}px` },
      span.children.length
        ? h("span.fold", { onclick: fold, class: folded ? "fold folded" : "fold" }, icon("chevron"))
        : h("span.leaf"),
      h("span.text", { title: `${span.name}\n${span.service}` }, span.name),
      folded ? h("span.count", {}, `${span.children.length}`) : null,
    ),
    h(
      "div.lane",
      {},
      h("i", { style: `left:${left}%;width:${width}%` }),
      h(within ? "span.time.within" : "span.time", { style: place }, text),
    ),
  );
}

/** Arrow keys as in any tree; Enter opens the attributes. */
function keys(event, spans, memory, again) {
  const item = event.target.closest("[role=treeitem]");
  if (!item || event.target !== item) return;
  const items = [...event.currentTarget.querySelectorAll("[role=treeitem]")];
  const index = items.indexOf(item);
  const span = spans.find(({ id }) => id === item.dataset.span);
  const go = (target) => {
    if (!target) return;
    memory.at = target.dataset.span;
    item.setAttribute("tabindex", "-1");
    target.setAttribute("tabindex", "0");
    target.focus();
  };
  const folded = memory.collapsed.has(span.id);
  const actions = {
    ArrowDown: () => go(items[index + 1]),
    ArrowUp: () => go(items[index - 1]),
    Home: () => go(items[0]),
    End: () => go(items.at(-1)),
    ArrowRight: () => (folded ? (memory.collapsed.delete(span.id), again()) : span.children.length && go(items[index + 1])),
    ArrowLeft: () =>
      span.children.length && !folded
        ? (memory.collapsed.add(span.id), again())
        : go(items.find((one) => one.dataset.span === span.parent)),
    Enter: () => item.click(),
    " ": () => item.click(),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  actions[event.key]();
}

function details(span, from) {
  const times = [
    ["starts after", seconds((span.start - from) / 1000)],
    ["began", dateTime(span.start)],
    ["took", seconds(span.duration / 1000)],
    ["service", span.service],
    ["span id", span.id],
    ["trace id", span.trace],
  ];
  const list = (entries) =>
    entries
      .filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .flatMap(([key, value]) => [h("dt", {}, key), h("dd", {}, written(value))]);
  return h(
    "div.details",
    {},
    span.message ? h("p.failed", {}, span.message) : null,
    h(
      "dl",
      {},
      ...list([...times, ...span.tags.toSorted(([a], [b]) => String(a).localeCompare(String(b), undefined, { numeric: true }))]),
    ),
    h("div", {}, copyButton(span)),
  );
}

/** JSON is laid out; all else stays as it is. */
function written(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  if (!/^\s*[[{]/.test(value) || value.length > 50_000) return value;
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}

function copyButton(span) {
  const copy = button("Copy the attributes as JSON", { class: "ghost", "data-tip": null }, "Copy as JSON");
  copy.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(JSON.stringify(Object.fromEntries(span.tags), null, 2));
    copy.textContent = "Copied";
  });
  return copy;
}
