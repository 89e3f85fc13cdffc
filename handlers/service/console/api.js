// What every view of the console uses: the public API, and elements.

export const at = (id) => document.getElementById(id);

/** Calls the API; a problem becomes an Error with its words. */
export async function api(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...(key && { authorization: `Bearer ${key}` }), ...options.headers };
  const response = await fetch(`v1/${path}`, { ...options, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) at("key-form").hidden = false;
  const place = problem.column ? ` (column ${problem.column})` : "";
  const expected = problem.expected ? `; expected ${problem.expected}.` : "";
  const hint = problem.suggestion ? ` Did you mean ${problem.suggestion}?` : "";
  throw new Error(`${problem.detail ?? response.statusText}${place}${expected}${hint}`);
}

export const json = async (path, options) => (await api(path, options)).json();

/** Posts JSON and reads JSON. */
export const post = (path, body) =>
  json(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** Follows a live stream until it ends: `apply` gets the data of each event. */
export async function stream(path, signal, apply) {
  const response = await api(path, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.match(/^data: ?(.*)$/m)?.[1];
      if (data) apply(JSON.parse(data));
    }
  }
}

/** Makes an element; text is always text. */
export function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

export const ago = (time) => {
  if (!time) return "never";
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
};
