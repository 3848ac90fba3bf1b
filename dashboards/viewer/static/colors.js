/** Colours by name; the values stand in page.css, once for dark and once for light. What a name means is the boards' to say. */

const GRAFANA = /^(?:super-light-|light-|semi-dark-|dark-)?(red|green|yellow|orange|blue|purple)$/;
const NEUTRAL = { text: "--text", transparent: "transparent", white: "--text", black: "--text", gray: "--grey", grey: "--grey" };
const SERIES = 9;

const remembered = new Map(); // name -> number of its colour

/** A CSS value for a colour's name as Grafana has it, or for #rrggbb. */
export function css(name) {
  const found = GRAFANA.exec(name);
  if (found) return `var(--${found[1]})`;
  if (name in NEUTRAL) return name === "transparent" ? name : `var(${NEUTRAL[name]})`;
  return /^(#[0-9a-f]{3,8}|rgba?\([\d., %]+\))$/i.test(name) ? name : "var(--text)";
}

/** The same as a value that a chart understands, in the theme of now. */
export function resolved(value) {
  const variable = /^var\((--[\w-]+)\)$/.exec(value);
  return variable ? getComputedStyle(document.documentElement).getPropertyValue(variable[1]).trim() : value;
}

export function withAlpha(hex, alpha) {
  const found = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(hex);
  return found
    ? `rgba(${found
        .slice(1)
        .map((part) => parseInt(part, 16))
        .join(",")},${alpha})`
    : hex;
}

/** CSS values for the series of one panel: the one that the name had before, else the next that is free. */
export function seriesColors(names) {
  const taken = new Set();
  return names.map((name) => {
    let number = remembered.get(name) ?? remembered.size % SERIES;
    for (let tried = 0; tried < SERIES && taken.has(`--series-${number + 1}`); tried += 1) number = (number + 1) % SERIES;
    if (!remembered.has(name)) remembered.set(name, number);
    taken.add(`--series-${number + 1}`);
    return `var(--series-${number + 1})`;
  });
}
