// The console: a page over the public API, with nothing that another client couldn't do.

import { leaveAlarms, showAlarms } from "./alarms.js";
import { ago, api, at, json, make, stream } from "./api.js";
import { completeIn } from "./complete.js";
import { figures, matches, meant } from "./results.js";
import { save, showSaved } from "./saved.js";

const shown = { query: "", sort: "", facets: "", stats: "", histograms: "", cursor: "", device: "", live: null };
/** What makes a search, and stands in its address. */
const asked = ["query", "sort", "facets", "stats", "histograms"];

function say(text, problem = false) {
  at("status").textContent = text;
  at("status").classList.toggle("problem", problem);
}

function row(twin, highlights = []) {
  const row = make("tr");
  row.dataset.device = twin.device;
  const link = make("a", twin.device);
  link.href = `#devices/${encodeURIComponent(twin.device)}`;
  row.append(make("td"));
  row.firstChild.append(link);
  const online = twin.presence.online;
  row.append(make("td", online ? "online" : "offline", online ? "online" : "quiet"));
  row.append(make("td", twin.version), make("td", ago(twin.received_at)));
  row.append(make("td", JSON.stringify(twin.reported), "json"));
  row.lastChild.append(matches(twin, highlights));
  return row;
}

/** Something in the query that is perhaps not meant. */
function hint({ parameter, column, text, suggestion }) {
  const instead = suggestion ? ` Did you mean ${suggestion}?` : "";
  return make("span", `${parameter ? `${parameter}, column` : "Column"} ${column}: ${text}.${instead}`, "hint");
}

async function search(cursor = "") {
  shown.cursor = cursor;
  const { query: q, sort, facets, stats, histograms } = shown;
  const params = new URLSearchParams({ q, sort, facets, facet_stats: stats, stats, histograms, cursor, limit: 50, highlight: true });
  try {
    const found = await json(`search?${params}`);
    at("rows").replaceChildren(...found.items.map((twin, nth) => row(twin, found.highlights[nth])));
    at("sentence").replaceChildren(`Finds: ${found.sentence}.`, ...found.hints.map(hint));
    at("figures").replaceChildren(...figures(found, (clause) => ask(`${shown.query} ${clause}`.trim())));
    at("meant").replaceChildren(...meant(found, ask));
    at("first").hidden = !cursor;
    at("next").hidden = !found.next_cursor;
    at("next").onclick = () => search(found.next_cursor);
    say(`${found.total} devices, as of position ${found.position}; live`);
    follow();
  } catch (error) {
    say(error.message, true);
  }
}

/** Searches for what the boxes say, and makes it the address of the page. */
function ask(query) {
  if (query !== undefined) at("query").value = query;
  for (const name of asked) shown[name] = at(name).value.trim();
  const address = new URLSearchParams(asked.filter((name) => shown[name]).map((name) => [name, shown[name]]));
  window.history.replaceState(null, "", `${location.pathname}?${address}${location.hash}`);
  return search();
}

/** All that matches as a file. A link can't carry a key. */
async function download(format) {
  const params = new URLSearchParams({ q: shown.query, sort: shown.sort, format });
  try {
    const link = make("a");
    link.download = `devices.${format}`;
    const path = `search/export?${params}`;
    const secret = sessionStorage.getItem("key");
    link.href = secret ? URL.createObjectURL(await (await api(path)).blob()) : `v1/${path}`;
    link.click();
    if (secret) URL.revokeObjectURL(link.href);
  } catch (error) {
    say(error.message, true);
  }
}

/** Follows what enters, leaves and changes within the query, from the search's moment on. */
async function follow() {
  shown.live?.abort();
  const live = (shown.live = new AbortController());
  try {
    const params = new URLSearchParams({ q: shown.query || "*" });
    await stream(`changes?${params}`, live.signal, apply);
    say("the live stream ended; search again to go on");
  } catch (error) {
    if (error.name !== "AbortError") say(`live: ${error.message}`, true);
  }
}

function apply(told) {
  if (told.device === shown.device) showDevice();
  const old = at("rows").querySelector(`tr[data-device="${CSS.escape(told.device)}"]`);
  if (!old) return;
  if (!told.twin) return old.remove();
  const fresh = row(told.twin);
  fresh.classList.add("flash");
  setTimeout(() => fresh.classList.remove("flash"), 800);
  old.replaceWith(fresh);
}

const showQueries = () => showSaved(at("saved"), ask, say);

/** What somebody asked of the device, and what became of it. */
function request({ state, patch, by, reason, requested_at, ended_at, deadline }) {
  const item = make("li");
  const [words, look] = {
    requested: ["waits for the device"],
    sent: ["the device has it"],
    applied: ["applied", "online"],
    rejected: ["rejected", "problem"],
    timed_out: ["timed out", "problem"],
    superseded: ["superseded", "quiet"],
  }[state];
  item.append(make("b", words, look), " ", make("code", JSON.stringify(patch)));
  const until = ended_at ? `over ${ago(ended_at)}` : `good until ${new Date(deadline).toLocaleString()}`;
  item.append(make("span", ` asked by ${by} ${ago(requested_at)}, ${until}`, "quiet"));
  if (reason) item.append(make("div", reason));
  return item;
}

let pending = false;
async function showDevice() {
  if (pending) return;
  pending = true;
  try {
    const path = `devices/${encodeURIComponent(shown.device)}`;
    const [twin, history, requests] = await Promise.all([
      json(path), json(`${path}/history?limit=30`), json(`${path}/requests?limit=8`),
    ]);
    at("device-name").textContent = twin.device;
    at("twin").textContent = JSON.stringify(twin, null, 2);
    at("requests").replaceChildren(...requests.items.map(request));
    at("requests-part").hidden = !requests.items.length;
    at("history").replaceChildren(...history.items.map((entry) => {
      const item = make("li");
      item.append(make("span", `v${entry.version} ${entry.kind} ${ago(entry.received_at)} `, "quiet"));
      item.append(JSON.stringify(entry.patch), entry.stale ? " (stale)" : "");
      return item;
    }));
    at("device").hidden = false;
  } catch (error) {
    say(error.message, true);
  } finally {
    pending = false;
  }
}

const lists = {
  deliveries: ["Deliveries", ["state", "device", "attempts", "status", "error", "created_at", "payload"]],
  "dead-letters": ["Dead letters", ["received_at", "topic", "reason", "payload"]],
  usage: ["Usage", ["handler", "hour", "invocations", "failed", "wall_us", "billed_1ms", "billed_100ms"]],
};

async function showList(name) {
  const [title, columns] = lists[name];
  at("list-title").textContent = title;
  at("list-rows").replaceChildren();
  const cells = (tag, values) => {
    const row = make("tr");
    row.append(...values.map((value) => make(tag, value)));
    return row;
  };
  at("list-head").replaceChildren(cells("th", columns));
  try {
    const { items } = await json(name === "usage" ? name : `${name}?limit=100`);
    const text = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : value ?? "");
    at("list-rows").replaceChildren(...items.map((item) => cells("td", columns.map((column) => text(item[column])))));
    if (!items.length) at("list-rows").append(cells("td", ["nothing yet"]));
  } catch (error) {
    at("list-rows").append(cells("td", [error.message]));
  }
}

function route() {
  const [view, device] = location.hash.slice(1).split("/");
  const list = view in lists;
  const alarms = view === "alarms";
  at("devices").hidden = list || alarms;
  at("alarms").hidden = !alarms;
  at("list").hidden = !list;
  for (const link of document.querySelectorAll("nav a")) {
    link.toggleAttribute("aria-current", link.hash === `#${view || "devices"}`);
  }
  if (alarms) return showAlarms();
  leaveAlarms();
  if (list) return showList(view);
  shown.device = device ? decodeURIComponent(device) : "";
  if (shown.device) showDevice();
  else at("device").hidden = true;
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
at("first").addEventListener("click", () => search());
for (const button of document.querySelectorAll("[data-export]")) {
  button.addEventListener("click", () => download(button.dataset.export));
}
at("save").addEventListener("click", async () => {
  const name = at("save-name").value.trim();
  if (!name) return at("save-name").focus();
  try {
    await save(name, at("query").value.trim());
    at("save-name").value = "";
    showQueries();
  } catch (error) {
    say(error.message, true);
  }
});
completeIn(at("query"), at("completions"), json);
at("desired-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const path = `devices/${encodeURIComponent(shown.device)}/desired`;
    const twin = await json(path, { method: "PATCH", body: at("desired").value });
    at("desired-result").textContent = `committed as version ${twin.version}`;
    showDevice();
  } catch (error) {
    at("desired-result").textContent = error.message;
  }
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", at("key").value);
  at("key-form").hidden = true;
  route();
  search();
  showQueries();
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|TEXTAREA/.test(document.activeElement.tagName)) {
    event.preventDefault();
    at("query").focus();
  }
});
addEventListener("hashchange", route);
const address = new URLSearchParams(location.search);
for (const name of asked) at(name).value = address.get(name) ?? "";
at("more").open = ["facets", "stats", "histograms"].some((name) => address.get(name));
route();
ask();
showQueries();
