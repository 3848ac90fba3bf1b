/** The spans of a trace as a tree: who is whose child, and when. */

import { column } from "../frame.js";

/** Pairs out of Grafana's form [{key, value}], tuples [key, value], or a map. */
export function pairs(tags) {
  if (!tags) return [];
  if (!Array.isArray(tags)) return Object.entries(tags);
  return tags.map((tag) =>
    Array.isArray(tag) ? tag : "key" in tag ? [tag.key, tag.value] : (Object.entries(tag)[0] ?? ["", ""]),
  );
}

/**
 * [{id, parent, name, service, start, duration, tags, failed, children, depth}] in the order of the tree. Spans whose parent
 * is not there are roots; a circle of parents is broken at its first span. Times are milliseconds.
 */
export function spanTree(frame) {
  const value = (name, row) => column(frame, name)?.values[row] ?? null;
  const spans = Array.from({ length: frame.rows }, (_, row) => {
    const tags = pairs(value("tags", row));
    const status = String(value("statusCode", row) ?? tags.find(([key]) => key === "otel.status_code")?.[1] ?? "");
    return {
      id: value("spanID", row),
      parent: value("parentSpanID", row),
      trace: value("traceID", row),
      name: value("operationName", row) ?? "",
      service: value("serviceName", row) ?? "",
      start: Number(value("startTime", row)),
      duration: Number(value("duration", row)),
      tags,
      service_tags: pairs(value("serviceTags", row)),
      message: value("statusMessage", row) ?? "",
      failed: /error|^2$/i.test(status),
      children: [],
    };
  }).sort((a, b) => a.start - b.start);
  const byId = new Map(spans.map((span) => [span.id, span]));
  const roots = [];
  for (const span of spans) {
    const parent = byId.get(span.parent);
    if (parent && parent !== span) parent.children.push(span);
    else roots.push(span);
  }
  const ordered = [];
  const seen = new Set();
  const visit = (root) => {
    const stack = [[root, 0]];
    while (stack.length) {
      const [span, depth] = stack.pop();
      if (seen.has(span)) continue;
      seen.add(span);
      span.depth = depth;
      ordered.push(span);
      for (const child of span.children.toReversed()) stack.push([child, depth + 1]);
    }
  };
  roots.forEach(visit);
  spans.forEach((span) => seen.has(span) || visit(span));
  return ordered;
}

/** Spans that are to be seen when those in `collapsed` hide what is below them. */
export function visible(spans, collapsed) {
  let hiddenBelow = Infinity;
  return spans.filter((span) => {
    if (span.depth > hiddenBelow) return false;
    hiddenBelow = collapsed.has(span.id) ? span.depth : Infinity;
    return true;
  });
}

/** What a span is, by its attributes: it decides the colour of its bar. */
export function spanKind(span) {
  const operation = span.tags.find(([key]) => key === "gen_ai.operation.name")?.[1];
  if (operation === "chat") return "model";
  if (operation === "execute_tool") return "tool";
  if (operation === "invoke_agent" || operation === "invoke_workflow") return "run";
  if (operation === "retrieval") return "retrieval";
  const first = span.name.split(" ")[0];
  return (
    {
      webhook: "webhook",
      chat: "model",
      execute_tool: "tool",
      invoke_agent: "run",
      invoke_workflow: "run",
      retrieval: "retrieval",
    }[first] ?? "other"
  );
}
