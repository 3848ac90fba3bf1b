/** A panel's fieldConfig: what holds for a column, and how a value of it is shown. */

import { css } from "./colors.js";
import { format } from "./format.js";

const MATCHERS = {
  byName: (options, name) => options === name,
  byNames: (options, name) => (options.names ?? options).includes(name),
  byRegexp: (options, name) => new RegExp(options.replace(/^\/|\/[a-z]*$/g, "")).test(name),
  byType: (options, _name, kind) => options === kind,
  byFrameRefID: (options, _name, _kind, refId) => options === refId,
};

/** Defaults and overrides as one: {unit, decimals, min, max, color, thresholds, mappings, links, displayName, custom}. */
export function fieldConfig(panel, { name, kind, refId }) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const config = { ...defaults, custom: { ...defaults.custom } };
  for (const { matcher, properties } of overrides) {
    if (!MATCHERS[matcher.id]?.(matcher.options, name, kind, refId)) continue;
    for (const { id, value } of properties) {
      if (id.startsWith("custom.")) config.custom[id.slice(7)] = value;
      else config[id] = value;
    }
  }
  if (kind === "time" && !config.unit?.startsWith("dateTime")) config.unit = "dateTimeAsIso";
  return config;
}

/** `${__field.labels.NAME}` and `${__field.name}` in a display name. */
export function displayName(config, name, labels = {}) {
  if (!config.displayName) return name;
  return config.displayName.replace(/\$\{__field\.(name|labels(?:\.([\w-]+)|\["([^"]+)"\])?)\}/g, (_, what, plain, quoted) =>
    what === "name" ? name : (labels[plain ?? quoted] ?? Object.values(labels).join(" ")),
  );
}

/** The step of the thresholds that a value has reached, or null. */
export function threshold(config, value) {
  const steps = config.thresholds?.steps;
  if (!steps?.length || typeof value !== "number") return null;
  const { min = 0, max = 100 } = config;
  const measure = config.thresholds.mode === "percentage" ? ((value - min) / (max - min || 1)) * 100 : value;
  return steps.findLast((step, index) => index === 0 || step.value === null || measure >= step.value) ?? null;
}

function mapped(mappings, value) {
  for (const { type, options } of mappings ?? []) {
    const result =
      type === "value"
        ? Object.hasOwn(options, String(value))
          ? options[String(value)]
          : undefined
        : type === "range"
          ? typeof value === "number" &&
            value >= (options.from ?? -Infinity) &&
            value <= (options.to ?? Infinity) &&
            options.result
          : type === "regex"
            ? new RegExp(options.pattern.replace(/^\/|\/$/g, "")).test(String(value)) && options.result
            : special(options.match, value) && options.result;
    if (result) return result;
  }
  return null;
}

function special(match, value) {
  const nothing = value === null || value === undefined;
  return match === "null+nan" || match === "null" ? nothing : match === "empty" ? value === "" : match === String(value);
}

/** {text, color}: `color` is a CSS value or null, where nothing is said of the colour. */
export function display(config, value) {
  const mapping = mapped(config.mappings, value);
  const text = mapping?.text ?? format(value, config.unit, config.decimals);
  if (mapping?.color) return { text, color: css(mapping.color) };
  const mode = config.color?.mode;
  if (mode === "fixed" && config.color.fixedColor) return { text, color: css(config.color.fixedColor) };
  const step = mode === "thresholds" || mode === undefined ? threshold(config, value) : null;
  return { text, color: step ? css(step.color) : null };
}
