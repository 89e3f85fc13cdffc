// Completion of a query in its box: arrows choose, Enter or Tab takes, Escape closes.

/** How long the typing rests before the service is asked, in ms. */
const REST_MS = 80;

/** Characters as the service counts them: code points. */
const length = (text) => Array.from(text).length;

/** Completes in `input`, with the list in `list`. `json` asks the API. */
export function completeIn(input, list, json) {
  let found = { items: [] };
  let chosen = -1;
  let timer = 0;
  let asked = 0;

  function close() {
    clearTimeout(timer);
    asked += 1;
    chosen = -1;
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function choose(nth) {
    chosen = nth;
    [...list.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === nth)));
    if (nth < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", list.children[nth].id);
    list.children[nth].scrollIntoView({ block: "nearest" });
  }

  function take(nth) {
    const characters = Array.from(input.value);
    const before = characters.slice(0, found.from - 1).join("") + found.items[nth].text;
    const more = found.items[nth].text.endsWith(":");
    const after = characters.slice(found.to - 1).join("");
    input.value = before + (more || after ? "" : " ") + after;
    input.setSelectionRange(before.length + (more || after ? 0 : 1), before.length + (more || after ? 0 : 1));
    close();
    if (more) ask();
  }

  function show() {
    list.replaceChildren(...found.items.map(({ text, kind, types = [], devices }, nth) => {
      const option = document.createElement("li");
      option.id = `${list.id}-${nth}`;
      option.role = "option";
      option.textContent = text;
      const note = document.createElement("small");
      note.textContent = [types.join(", ") || kind, devices === undefined ? "" : `${devices} devices`].filter(Boolean).join(" · ");
      option.append(note);
      // Before the box loses the focus.
      option.addEventListener("mousedown", (event) => {
        event.preventDefault();
        take(nth);
      });
      return option;
    }));
    list.hidden = !found.items.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    choose(-1);
  }

  function ask() {
    clearTimeout(timer);
    const number = (asked += 1);
    timer = setTimeout(async () => {
      const cursor = length(input.value.slice(0, input.selectionStart)) + 1;
      const answer = await json(`search/complete?${new URLSearchParams({ q: input.value, cursor })}`).catch(() => null);
      // Only the newest answer counts, and none after the list was closed.
      if (!answer || number !== asked || document.activeElement !== input) return;
      found = answer;
      show();
    }, REST_MS);
  }

  input.addEventListener("input", ask);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (list.hidden) {
      if (event.key === "Enter") close();
      return;
    }
    const last = found.items.length - 1;
    const keys = {
      ArrowDown: () => choose(chosen < last ? chosen + 1 : 0),
      ArrowUp: () => choose(chosen > 0 ? chosen - 1 : last),
      Escape: close,
      Tab: () => take(Math.max(chosen, 0)),
      ...(chosen >= 0 && { Enter: () => take(chosen) }),
    };
    const act = keys[event.key];
    if (!act) return event.key === "Enter" ? close() : undefined;
    event.preventDefault();
    act();
  });
}
