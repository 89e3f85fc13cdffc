// The public API, as the pages use it: calls, streams of events, and the elements that answers become.

/** Calls the API; a problem becomes an Error with its words. */
export async function api(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...(key && { authorization: `Bearer ${key}` }), ...options.headers };
  const response = await fetch(`v1/${path}`, { ...options, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) document.getElementById("key-form").hidden = false;
  const place = problem.column ? ` (column ${problem.column})` : "";
  const expected = problem.expected ? `; expected ${problem.expected}.` : "";
  const hint = problem.suggestion ? ` Did you mean ${problem.suggestion}?` : "";
  throw new Error(`${problem.detail ?? response.statusText}${place}${expected}${hint}`);
}

export const json = async (path, options) => (await api(path, options)).json();

/** The events of a stream that have data, as {name, data}, until it ends. EventSource can't carry a key. */
export async function* events(path, signal) {
  const response = await api(path, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const event of whole) {
      const field = (name) => event.match(new RegExp(`^${name}: ?(.*)$`, "m"))?.[1];
      const data = field("data");
      if (data) yield { name: field("event"), data: JSON.parse(data) };
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
