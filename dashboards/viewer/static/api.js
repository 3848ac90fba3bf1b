/** The page's HTTP API. Problems (RFC 9457) become errors that say what to do. */

const ROOT = "/dashboards/api";

/** `status` 0: the page's own server does not answer. */
export class Problem extends Error {
  constructor(status, title, detail = "") {
    super(detail || title);
    this.status = status;
    this.title = title;
  }

  /** Is it a store that is away, rather than a question that is wrong? */
  get away() {
    return this.status === 0 || this.status === 503;
  }
}

async function request(path, signal) {
  let response;
  try {
    response = await fetch(`${ROOT}${path}`, { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The page's server does not answer");
  }
  const text = await response.text();
  if (response.ok) return text;
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // a proxy's page, or nothing
  }
  const detail = typeof problem.detail === "string" ? problem.detail : "";
  throw new Problem(response.status, problem.title ?? `${response.status} ${response.statusText}`, detail);
}

const json = async (path, signal) => JSON.parse(await request(path, signal));
const board = (uid) => `/boards/${encodeURIComponent(uid)}`;

export const boards = () => json("/boards");
export const settings = () => json("/settings");
export const boardJson = (uid, signal) => json(board(uid), signal);
export const alerts = (signal) => json("/alerts", signal);
export const variables = (uid, query, signal) => json(`${board(uid)}/variables?${query}`, signal);
export const annotations = (uid, query, signal) => json(`${board(uid)}/annotations?${query}`, signal);

/** What a panel's query answers, and a text that is the same when the answer is the same. */
export async function panel(uid, id, refId, query, signal) {
  const text = await request(`${board(uid)}/panels/${encodeURIComponent(id)}/${encodeURIComponent(refId)}?${query}`, signal);
  const end = text.lastIndexOf('"statistics"');
  return { answer: JSON.parse(text), same: end < 0 ? text : text.slice(0, end) };
}

/** The parameters that every question of a board has. `now`: what all of one refresh are asked for. */
export function query({ from, to, variables: chosen }, extra = {}) {
  const parameters = new URLSearchParams({ from, to, ...extra });
  for (const [name, values] of Object.entries(chosen)) {
    for (const value of values) parameters.append(`var-${name}`, value);
  }
  return parameters.toString();
}
