/** What a query answered, column by column: {refId, columns: [{name, kind, values}], rows}. Times are Unix milliseconds. */

function kindOf(type) {
  const plain = type.replace(/^(?:(?:Nullable|LowCardinality)\()+/, "");
  if (/^Date/.test(plain)) return "time";
  if (/^(U?Int|Float|Decimal|BFloat)/.test(plain)) return "number";
  if (/^(Array|Map|Tuple|Nested|JSON|Object)/.test(plain)) return "object";
  return plain.startsWith("Bool") ? "boolean" : "string";
}

/** `answer` is ClickHouse's JSONCompact with DateTime in Unix seconds. */
export function toFrame(answer, refId) {
  const columns = answer.meta.map(({ name, type }, index) => {
    const kind = kindOf(type);
    const factor = kind === "time" ? 1000 : null;
    const values = answer.data.map((row) => (factor && typeof row[index] === "number" ? row[index] * factor : row[index]));
    return { name, kind, values };
  });
  return { refId, columns, rows: answer.data.length };
}

export const column = (frame, name) => frame.columns.find((one) => one.name === name);

/** Is there any value at all that could be drawn? Times and names alone are none. */
export function isEmpty(frames) {
  return frames.every(
    (frame) =>
      frame.rows === 0 ||
      (frame.columns.some((one) => one.kind === "number") &&
        frame.columns.every((one) => one.kind !== "number" || one.values.every((value) => value === null)) &&
        frame.columns.every((one) => one.kind !== "string" && one.kind !== "object")),
  );
}

/** All frames as one text for a spreadsheet: a cell that would be taken for a formula is quoted as text. */
export function toCsv(frames) {
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    let text = typeof value === "object" ? JSON.stringify(value) : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const write = (frame) => {
    const lines = [frame.columns.map((one) => cell(one.name)).join(",")];
    for (let row = 0; row < frame.rows; row += 1) {
      const values = frame.columns.map((one) =>
        one.kind === "time" && one.values[row] !== null ? new Date(one.values[row]).toISOString() : one.values[row],
      );
      lines.push(values.map(cell).join(","));
    }
    return lines.join("\r\n");
  };
  return `${frames.map(write).join("\r\n\r\n")}\r\n`;
}
