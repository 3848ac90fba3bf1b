/** Elements out of code. Data only ever becomes text: nothing here parses HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** Strokes on 16 by 16. */
const ICONS = {
  alerts: "M4 11V7a4 4 0 0 1 8 0v4l1 1H3zM7 14h2",
  check: "M3 8.5l3.2 3L13 4.5",
  chevron: "M4.5 6.5L8 10l3.5-3.5",
  clock: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2zM8 5v3.2l2 1.3",
  close: "M4 4l8 8M12 4l-8 8",
  dark: "M12.8 9.6A5.4 5.4 0 0 1 6.4 3.2a5.4 5.4 0 1 0 6.4 6.4z",
  external: "M6.5 4H4v8h8V9.5M9 3.5h3.5V7M12.3 3.7L7.5 8.5",
  info: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2zM8 7.4v3.4M8 5.2v.1",
  light:
    "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M12.6 3.4l-1.1 1.1M4.5 11.5l-1.1 1.1",
  more: "M8 3.5v.1M8 8v.1M8 12.5v.1",
  refresh: "M13 8a5 5 0 1 1-1.5-3.6M13 2.5v3h-3",
  search: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 10l3.2 3.2",
  system: "M2.5 3.5h11v7h-11zM6 13.5h4M8 10.5v3",
};

/**
 * An element: h("button.primary", {type: "button", onclick}, "Save").
 * Attributes that are null, undefined or false are left out; so are such children.
 */
export function h(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  return fill(element, attributes, children);
}

/** The same in SVG's namespace. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  return svg("svg", { viewBox: "0 0 16 16", class: `icon icon-${name}`, "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

/** A link that is safe to make of data: `url` has gone through links.js. Links out of the page open a tab of their own. */
export function link(url, attributes, ...children) {
  const inside = url.startsWith("/dashboards/") && !url.startsWith("/dashboards/docs");
  const outside = inside ? {} : { target: "_blank", rel: "noopener noreferrer" };
  return h("a", { href: url, ...outside, ...attributes }, ...children);
}

export function button(label, attributes, ...children) {
  return h("button", { type: "button", "aria-label": label, "data-tip": label, ...attributes }, ...children);
}

/** Opens `content` below `anchor`; Esc and a click elsewhere close it. Answers the popover. */
export function popover(anchor, content, { label, onclose } = {}) {
  const box = h("div.popover", { popover: "auto", role: "dialog", "aria-label": label }, content);
  document.body.append(box);
  anchor.setAttribute("aria-expanded", "true");
  box.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    anchor.setAttribute("aria-expanded", "false");
    const within = box.contains(document.activeElement) || document.activeElement === document.body;
    box.remove();
    if (within) anchor.focus();
    onclose?.();
  });
  box.showPopover({ source: anchor });
  const at = anchor.getBoundingClientRect();
  const size = box.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
  const below = at.bottom + 4 + size.height <= innerHeight - 8 || at.top < size.height + 12;
  box.style.top = `${below ? at.bottom + 4 : at.top - size.height - 4}px`;
  box.style.maxHeight = `${below ? innerHeight - at.bottom - 12 : at.top - 12}px`;
  box.querySelector("[autofocus], input, button, a")?.focus();
  return box;
}

/** A modal dialog with a title; Esc closes it and gives the focus back. */
export function dialog(title, ...content) {
  const box = h(
    "dialog.dialog",
    { "aria-label": title },
    h("header", {}, h("h2", {}, title), button("Close", { class: "ghost", onclick: () => box.close() }, icon("close"))),
    h("div.content", {}, ...content),
  );
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

/** Resolves before the next frame is painted; at once where frames are not (a hidden tab). */
export function frame() {
  return new Promise((resolve) => (document.hidden ? setTimeout(resolve) : requestAnimationFrame(resolve)));
}
