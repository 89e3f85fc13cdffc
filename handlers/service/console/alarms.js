// The alarms that somebody has to look at, as they come and go.

import { ago, at, json, make, post, stream } from "./api.js";

/** How long after an event the list is read anew: what comes together is read together. */
const GATHER_MS = 200;
const state = { live: null, timer: 0, names: new Map() };

function say(text, problem = false) {
  at("alarm-status").textContent = text;
  at("alarm-status").classList.toggle("problem", problem);
}

function button(text, path, body) {
  const button = make("button", text);
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await post(path, body);
      await read();
    } catch (error) {
      say(error.message, true);
      button.disabled = false;
    }
  });
  return button;
}

function standing(alarm) {
  if (alarm.shelved_until) return `shelved until ${new Date(alarm.shelved_until).toLocaleString()}`;
  const told = alarm.repeats || alarm.step ? `, told again ${alarm.repeats}×, step ${alarm.step}` : "";
  return alarm.acknowledged_at ? `acknowledged by ${alarm.acknowledged_by}` : `${alarm.state}${told}`;
}

function row(alarm) {
  const row = make("tr");
  row.dataset.alarm = alarm.id;
  const link = make("a", alarm.device);
  link.href = `#devices/${encodeURIComponent(alarm.device)}`;
  const device = make("td");
  device.append(link);
  const actions = make("td", undefined, "actions");
  const path = `alarms/${alarm.id}`;
  if (!alarm.acknowledged_at) actions.append(button("Acknowledge", `${path}/ack`, { version: alarm.version }));
  if (alarm.shelved_until) actions.append(button("Unshelve", `${path}/unshelve`, {}));
  else actions.append(button("Shelve for 1 h", `${path}/shelve`, { for: "1h", version: alarm.version }));
  row.append(make("td", alarm.severity, `severity ${alarm.severity}`), device);
  row.append(make("td", state.names.get(alarm.rule) ?? "…"), make("td", standing(alarm)));
  row.append(make("td", ago(alarm.raised_at)), make("td", alarm.count), actions);
  return row;
}

/** The names of rules, where the key may read them. */
async function readNames() {
  const rules = await json("rules").catch(() => ({ items: [] }));
  state.names = new Map(rules.items.map((rule) => [rule.id, rule.name]));
}

async function read() {
  state.timer = 0;
  try {
    const [active, cleared] = await Promise.all([
      json("alarms?state=active&limit=200"),
      json("alarms?state=cleared&acknowledged=false&limit=50"),
    ]);
    const items = [...active.items, ...cleared.items];
    if (items.some((alarm) => !state.names.has(alarm.rule))) await readNames();
    at("alarm-rows").replaceChildren(...items.map(row));
    const more = active.next_cursor ? " or more" : "";
    say(`${active.items.length}${more} active, ${cleared.items.length} over that nobody took note of; live`);
  } catch (error) {
    say(error.message, true);
  }
}

/** Shows the alarms for as long as nothing else is shown. */
export async function showAlarms() {
  state.live?.abort();
  const live = (state.live = new AbortController());
  const changed = () => (state.timer ||= setTimeout(read, GATHER_MS));
  try {
    const following = stream("changes", live.signal, (told) => told.alarms && changed());
    await read();
    await following;
    say("the live stream ended; come again to go on");
  } catch (error) {
    if (error.name !== "AbortError") say(`live: ${error.message}`, true);
  }
}

export function leaveAlarms() {
  state.live?.abort();
}
