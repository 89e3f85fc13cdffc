// Saved queries: each a button with the number of devices that it finds, which follows the fleet.

import { api, json, make, post, stream } from "./api.js";

let live;

function button({ id, name, query, count }, search, remove) {
  const saved = make("span", undefined, "saved");
  saved.dataset.query = id;
  const use = make("button", name);
  use.type = "button";
  use.title = query;
  use.append(" ", make("b", count ?? ""));
  use.addEventListener("click", () => search(query));
  const away = make("button", "×");
  away.type = "button";
  away.ariaLabel = `Remove ${name}`;
  away.addEventListener("click", () => remove(id));
  saved.append(use, away);
  return saved;
}

/** Shows the saved queries in a place and follows their counts; `say` tells what goes wrong. */
export async function showSaved(place, search, say) {
  live?.abort();
  live = new AbortController();
  const again = () => showSaved(place, search, say);
  const remove = (id) => api(`queries/${id}`, { method: "DELETE" }).then(again, (error) => say(error.message, true));
  try {
    const { items } = await json("queries", { signal: live.signal });
    place.replaceChildren(...items.map((item) => button(item, search, remove)));
    if (!items.length) return;
    await stream("queries/live", live.signal, ({ id, count }) => {
      const saved = place.querySelector(`[data-query="${id}"] b`);
      if (saved) saved.textContent = count ?? "";
      // Somebody else saved one.
      else again();
    });
  } catch (error) {
    if (error.name !== "AbortError") say(`saved queries: ${error.message}`, true);
  }
}

/** Saves a query under a name. */
export const save = (name, query) => post("queries", { name, query });
