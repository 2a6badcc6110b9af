// The service, as the page calls it: below the page's own address, with the token of this tab, without cookies.

const BASE = new URL(".", location.href.split(/[?#]/)[0]);
const TOKEN = "k8s-mcp-token";
const LONGEST = 60_000;

export class Failed extends Error {
  // `status` is 0 when there is no answer; `fields` has what is wrong with which field.
  constructor(message, status, fields = []) {
    super(message);
    this.status = status;
    this.fields = fields;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (value) => (value ? sessionStorage.setItem(TOKEN, value) : sessionStorage.removeItem(TOKEN)),
};

export const address = (path) => new URL(path, BASE).href;

export async function send(method, path, { body, headers, signal } = {}) {
  const sent = new Headers(headers);
  if (token.get()) sent.set("Authorization", `Bearer ${token.get()}`);
  if (body !== undefined) sent.set("Content-Type", "application/json");
  let answer;
  try {
    answer = await fetch(address(path), {
      method,
      signal,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failed(error.message, 0);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Failed(String(problem.detail ?? answer.statusText), answer.status, problem.errors);
}

export async function call(method, path, body) {
  try {
    const answer = await send(method, path, { body, signal: AbortSignal.timeout(LONGEST) });
    return answer.status === 204 ? null : await answer.json();
  } catch (error) {
    throw error instanceof Failed ? error : new Failed(error.message, 0); // it broke off, or is none of the service's
  }
}

// The events of a stream, each `{event, data, id}`, a batch for each piece that came. They are as the service writes
// them: three lines at most, in this order.
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let rested = performance.now();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const text = rest + value;
    const batch = [];
    let start = 0;
    for (let end; (end = text.indexOf("\n\n", start)) >= 0; start = end + 2) {
      const found = read(text.slice(start, end));
      if (found) batch.push(found);
    }
    rest = text.slice(start);
    yield batch;
    if (performance.now() - rested > 30) {
      await new Promise((resolve) => setTimeout(resolve)); // a flood of lines leaves time to draw
      rested = performance.now();
    }
  }
}

function read(block) {
  if (block.startsWith(":")) return null;
  const event = { event: "message", data: "", id: null };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    const name = line.slice(0, colon);
    const value = line.slice(colon + 2);
    if (name === "id") event.id = Number(value);
    else event[name] = value;
  }
  return event;
}
