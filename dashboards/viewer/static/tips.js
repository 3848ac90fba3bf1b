/** One tooltip for the page: of whatever has data-tip, on hover and on focus; and of charts, beside the pointer. */

import { h } from "./dom.js";

const box = h("div.tip", { role: "tooltip", id: "tip", hidden: true });
let shownFor = null;

export function start() {
  document.body.append(box);
  const enter = (event) => {
    const element = event.target.closest?.("[data-tip]");
    if (element && element !== shownFor) attach(element, event.type === "focusin" && !element.matches(":focus-visible"));
    else if (!element && shownFor) hide();
  };
  document.addEventListener("pointerover", enter);
  document.addEventListener("focusin", enter);
  document.addEventListener("focusout", hide);
  document.addEventListener("pointerdown", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}

function attach(element, silent) {
  if (silent || !element.dataset.tip) return;
  shownFor = element;
  box.replaceChildren(...element.dataset.tip.split("\n").map((line) => h("div", {}, line)));
  const at = element.getBoundingClientRect();
  show(at.left + at.width / 2, at.bottom + 6, at.top - 6, true, element.closest("dialog[open], [popover]:popover-open"));
}

/** `content`: elements. Beside (x, y) in the window. */
export function showAt(x, y, content) {
  shownFor = null;
  box.replaceChildren(...content);
  show(x, y, y, false, null);
}

function show(x, below, above, centred, layer) {
  (layer ?? document.body).append(box); // what lies in the top layer covers all else
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  let left = centred ? x - width / 2 : x + 14;
  if (!centred && left + width > innerWidth - 8) left = x - width - 14;
  const top = centred ? (below + height > innerHeight - 8 ? above - height : below) : below - height / 2;
  box.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  box.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
}

export function hide() {
  box.hidden = true;
  shownFor = null;
}
