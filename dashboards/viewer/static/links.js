/** Grafana's data links: templates that are filled with what was clicked on. What cannot be filled is no link. */

const VARIABLE = /\$\{([^{}:]+)(?::(\w+))?\}/g;

/**
 * @param {string} template such as /d/run?var-run_id=${__value.raw}&${__url_time_range}
 * @param {{value?, text?: string, row?: Object, series?: string, labels?: Object, context: {variables, constants, from, to}}} source
 * @returns {?string} an address that is http(s), or of this page; null when a part of it is missing
 */
export function fillLink(template, source) {
  let missing = false;
  const filled = template.replace(VARIABLE, (whole, name, form, offset) => {
    const text = part(name.trim(), form, source);
    if (text === null || text === undefined || text === "") missing = true;
    const ready =
      offset === 0 ||
      form === "queryparam" ||
      name === "__url_time_range" ||
      name === "__all_variables" ||
      isAddress(name, source);
    return ready ? text : encodeURIComponent(text);
  });
  return missing
    ? null
    : safe(
        filled.replace(/\$(\w+)/g, (whole, name) => {
          const values = source.context.variables[name];
          return values ? encodeURIComponent(values.join(",")) : whole;
        }),
      );
}

const isAddress = (name, { context }) => name in context.constants;

function part(name, form, { value, text, row = {}, series, labels = {}, context }) {
  if (name === "__value.raw" || name === "__value.numeric") return value;
  if (name === "__value.text") return text;
  if (name === "__value.time") return row.time;
  if (name === "__series.name" || name === "__field.name") return series;
  if (name === "__url_time_range") return `from=${encodeURIComponent(context.from)}&to=${encodeURIComponent(context.to)}`;
  if (name === "__all_variables")
    return Object.keys(context.variables)
      .map((one) => parameters(one, context))
      .join("&");
  const field = /^__data\.fields(?:\.([\w -]+)|\[["']?([^"'\]]+)["']?\])$/.exec(name);
  if (field) return row[field[1] ?? field[2]];
  const label = /^__field\.labels(?:\.([\w-]+)|\["([^"]+)"\])$/.exec(name);
  if (label) return labels[label[1] ?? label[2]];
  if (name in context.constants) return context.constants[name];
  if (!(name in context.variables)) return null;
  return form === "queryparam" ? parameters(name, context) : context.variables[name].join(",");
}

const parameters = (name, { variables }) =>
  variables[name].map((value) => `var-${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&");

/** Grafana's /d/UID is ours: /dashboards/UID. Anything but http, https or this origin is no link. */
export function safe(address) {
  let url;
  try {
    url = new URL(address, location.origin);
  } catch {
    return null;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  if (url.origin !== location.origin) return url.href;
  const board = /^\/d\/([^/]+)/.exec(url.pathname);
  return `${board ? `/dashboards/${board[1]}` : url.pathname}${url.search}${url.hash}`;
}

/** The first of a field's links that can be filled: {url, title} or null. */
export function firstLink(config, source) {
  for (const { url, title } of config.links ?? []) {
    const address = fillLink(url, source);
    if (address) return { url: address, title: title || "Open" };
  }
  return null;
}

/** Variables in a title: what was chosen, in words. */
export function fillText(template, context, texts = {}) {
  return (template ?? "").replace(/\$\{(\w+)(?::\w+)?\}|\$(\w+)/g, (whole, braced, plain) => {
    const name = braced ?? plain;
    if (!(name in context.variables)) return whole;
    return texts[name] ?? context.variables[name].map((value) => (value === "$__all" ? "All" : value)).join(", ");
  });
}
