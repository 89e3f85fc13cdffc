// What a search tells besides the rows: facets, statistics, histograms, what matched, and what was perhaps meant.
// Everything is made as text: nothing that a device reports becomes markup.

/** Makes an element with children; strings are text. */
function make(tag, ...children) {
  const element = document.createElement(tag);
  element.append(...children);
  return element;
}

const short = (value) =>
  typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : String(value);

/** A table with a caption. */
function table(caption, head, rows) {
  const cells = (tag, values) => make("tr", ...values.map((value) => make(tag, value)));
  const body = make("tbody", ...rows.map((row) => cells("td", row)));
  return make("table", make("caption", caption), make("thead", cells("th", head)), body);
}

function meter(count, most) {
  const bar = make("meter");
  bar.max = Math.max(most, 1);
  bar.value = count;
  bar.ariaHidden = "true";
  return bar;
}

/** A value as a query writes it; in quotes it matches strings only. */
const written = (value) => (typeof value === "string" ? JSON.stringify(value) : String(value));

/** The values of a field; a click narrows the query to one. */
function facet(name, { values, more }, narrow) {
  const most = values[0]?.count ?? 0;
  const figures = Object.keys(values[0]?.stats ?? {});
  const rows = values.map(({ value, count, stats }) => {
    const button = make("button", String(value));
    button.type = "button";
    button.addEventListener("click", () => narrow(`${name}:${written(value)}`));
    const medians = figures.map((field) => {
      const { percentiles } = stats[field];
      return percentiles ? `${short(percentiles[50])} / ${short(percentiles[95])}` : "";
    });
    return [button, String(count), meter(count, most), ...medians];
  });
  const head = ["value", "devices", "", ...figures.map((field) => `${field}: median / 95 %`)];
  return table(more ? `${name}, and ${more} more values` : name, head, rows);
}

function histogram(name, { interval, buckets }) {
  const most = Math.max(...buckets.map(({ count }) => count), 0);
  const rows = buckets.map(({ from, count }) => [short(from), String(count), meter(count, most)]);
  return table(`${name} by ${interval}`, ["from", "values", ""], rows);
}

function statistics(stats) {
  const percents = ["1", "5", "25", "50", "75", "95", "99"];
  const rows = Object.entries(stats).map(([name, found]) => {
    const plain = ["devices", "count", "cardinality", "min", "max", "mean"].map((key) => short(found[key] ?? ""));
    return [name, ...plain, ...percents.map((percent) => short(found.percentiles?.[percent] ?? ""))];
  });
  const head = ["field", "devices", "numbers", "different", "min", "max", "mean", ...percents.map((p) => `${p} %`)];
  return table("statistics", head, rows);
}

/** Everything that was computed over all devices that match. `narrow` adds a clause to the query. */
export function figures(found, narrow) {
  const shown = Object.entries(found.facets).map(([name, values]) => facet(name, values, narrow));
  shown.push(...Object.entries(found.histograms).map(([name, counts]) => histogram(name, counts)));
  if (Object.keys(found.stats).length) shown.unshift(statistics(found.stats));
  return shown;
}

/** The value at a JSON Pointer. */
function at(twin, pointer) {
  const names = pointer.split("/").slice(1).map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
  return names.reduce((value, name) => value?.[name], twin);
}

/** The strings of a twin that matched, with marks around what did. */
export function matches(twin, highlights) {
  const lines = highlights.filter(({ ranges }) => ranges.length).map(({ at: pointer, ranges }) => {
    const characters = Array.from(String(at(twin, pointer)));
    const line = make("div", `${pointer.slice(1).replaceAll("/", ".")}: `);
    let end = 0;
    for (const [from, to] of ranges) {
      line.append(characters.slice(end, from).join(""), make("mark", characters.slice(from, to).join("")));
      end = to;
    }
    line.append(characters.slice(end).join(""));
    return line;
  });
  const shown = make("div", ...lines);
  shown.className = "matches";
  return shown;
}

/** What was perhaps meant; a click asks for it. Nothing when there is nothing to say. */
export function meant(found, ask) {
  if (!found.did_you_mean) return [];
  const { query, total } = found.did_you_mean;
  const button = make("button", query);
  button.type = "button";
  button.addEventListener("click", () => ask(query));
  return ["Did you mean ", button, `? (${total} devices)`];
}
