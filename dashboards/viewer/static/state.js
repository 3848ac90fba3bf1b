/**
 * What the page shows is in its URL: /dashboards/UID?from=&to=&refresh=&var-NAME=&viewPanel=
 * So a link can be shared, and "back" works. What is not in the URL is as the board has it.
 */

import { resolve } from "./times.js";

export const ALL = "$__all";
const KEPT = ["from", "to", "refresh"];

/** {view: "alerts" or a board's uid, from, to, refresh, panel, variables: {NAME: [values]}}; null: not in the URL. */
export function read(address = location) {
  const parameters = new URLSearchParams(address.search);
  const variables = {};
  for (const [key, value] of parameters) if (key.startsWith("var-")) (variables[key.slice(4)] ??= []).push(value);
  const time = (name) => (parameters.has(name) && resolve(parameters.get(name)) !== null ? parameters.get(name) : null);
  return {
    view: decodeURIComponent(address.pathname.replace(/^\/dashboards\/?/, "").replace(/\/$/, "")) || "fleet",
    from: time("from"),
    to: time("to"),
    refresh: parameters.get("refresh"),
    panel: parameters.get("viewPanel"),
    variables,
  };
}

/** The URL of this state. */
export function write(state) {
  const parameters = new URLSearchParams();
  for (const name of KEPT) if (state[name] !== null && state[name] !== undefined) parameters.set(name, state[name]);
  if (state.panel) parameters.set("viewPanel", state.panel);
  for (const [name, values] of Object.entries(state.variables)) {
    for (const value of values) parameters.append(`var-${name}`, value);
  }
  const query = parameters.toString();
  return `/dashboards/${encodeURIComponent(state.view)}${query ? `?${query}` : ""}`;
}

/** Range, refresh and variables of a board in this state: what the URL says, else what the board does. */
export function effective(state, board) {
  const variables = {};
  for (const variable of board?.templating?.list ?? []) {
    if (variable.type === "constant") continue;
    variables[variable.name] = state.variables[variable.name] ?? defaults(variable);
  }
  const [from, to] =
    state.from || state.to
      ? [state.from ?? "now-6h", state.to ?? "now"]
      : [board?.time?.from ?? "now-6h", board?.time?.to ?? "now"];
  return { from, to, refresh: state.refresh ?? (board?.refresh === "" ? "off" : (board?.refresh ?? "30s")), variables };
}

function defaults(variable) {
  const value = variable.current?.value;
  const values = Array.isArray(value) ? value : value === undefined || value === null ? [] : [String(value)];
  if (values.length && !(variable.type === "query" && values.every((one) => one === ""))) return values;
  if (variable.includeAll) return [ALL];
  if (variable.type === "custom")
    return [variable.options?.[0]?.value ?? variable.query?.split(",")[0]?.split(":").at(-1)?.trim() ?? ""];
  return variable.type === "textbox" ? [variable.query ?? ""] : [];
}

/** Constants of a board (hidden): where Phoenix and the runtime are. */
export function constants(board, settings) {
  const values = { phoenix_url: settings.phoenix_url, runtime_url: settings.runtime_url };
  for (const variable of board?.templating?.list ?? []) {
    if (variable.type === "constant")
      values[variable.name] = settings[variable.name] ?? (variable.current?.value || variable.query || null);
  }
  return values;
}
