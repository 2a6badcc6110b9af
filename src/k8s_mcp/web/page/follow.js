// Follows runs: one stream a run, begun again where it broke off, its lines kept as long as somebody looks at them.

import { Failed, events, send } from "./api.js";
import { Lines } from "./lines.js";
import { t } from "./words.js";

const FINAL = new Set(["done", "timeout", "cancelled", "error"]);
const LONGEST_PAUSE = 5000;
const followers = new Map();
const SILENCE = 45_000; // the service says something every 15 s
const MOST_HELD = 4; // of the six connections that a browser has for a service
const STARTED = "k8s-mcp-started";
// Runs that this tab has started, also before a reload: they end when nobody follows them.
const started = new Set(JSON.parse(sessionStorage.getItem(STARTED) ?? "[]"));

function note(id, goesOn) {
  started[goesOn ? "add" : "delete"](id);
  if (started.size) sessionStorage.setItem(STARTED, JSON.stringify([...started]));
  else sessionStorage.removeItem(STARTED);
}

class Follower {
  constructor(id) {
    this.id = id;
    this.lines = new Lines();
    this.final = null;
    this.pending = null;
    this.error = null; // a Failed that ends it
    this.lost = false;
    this.watchers = new Set();
    this.stop = new AbortController();
    this.#go();
  }

  async #go() {
    let last = null;
    let pause = 100;
    while (!this.final && !this.error && !this.stop.signal.aborted) {
      await this.#looked();
      if (this.stop.signal.aborted) return;
      const broken = new AbortController();
      let timer;
      const heard = () => (clearTimeout(timer), (timer = setTimeout(() => broken.abort(), SILENCE)));
      const hide = () => document.hidden && !started.has(this.id) && broken.abort();
      addEventListener("visibilitychange", hide);
      try {
        heard();
        const headers = last === null ? {} : { "Last-Event-ID": String(last) };
        const query = started.has(this.id) ? "" : "?watch=true";
        const answer = await send("GET", `runs/${this.id}/events${query}`, {
          headers,
          signal: AbortSignal.any([this.stop.signal, broken.signal]),
        });
        if (answer.status === 204) this.final = { status: "gone" };
        else if (last === null) this.lines.clear(); // it begins at its beginning once more
        this.lost = false;
        for await (const batch of answer.status === 204 ? [] : events(answer)) {
          heard();
          for (const event of batch) {
            this.#take(event);
            last = event.id ?? last;
          }
          pause = 100;
          this.#tell();
        }
      } catch (error) {
        if (this.stop.signal.aborted) return;
        if (error instanceof Failed && error.status >= 400 && error.status < 500 && error.status !== 429) {
          this.error = error;
        }
      } finally {
        clearTimeout(timer);
        removeEventListener("visibilitychange", hide);
      }
      if (this.final || this.error) break;
      this.lost = true;
      this.#tell();
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
    this.#tell();
    if (this.final || this.error?.status === 404) note(this.id, false);
    drop(this);
  }

  // A hidden tab that only looks on holds no connection: a browser has few of them.
  async #looked() {
    while (document.hidden && !started.has(this.id) && !this.stop.signal.aborted) {
      await new Promise((resolve) => {
        addEventListener("visibilitychange", resolve, { once: true });
        this.stop.signal.addEventListener("abort", resolve, { once: true });
      });
    }
  }

  #take({ event, data, id }) {
    if (event !== "control") {
      this.lines.add(event, data);
      return;
    }
    const said = JSON.parse(data);
    if (said.status === "pending") this.pending = said;
    else if (said.status === "gap") this.lines.add("note", t("gap", { n: said.missing, stream: said.stream ?? "stdout, stderr" }));
    else if (said.status === "started") for (const one of said.left_out ?? []) this.lines.add("note", t("left out", one));
    if (FINAL.has(said.status)) this.final = said;
    if (id !== null) this.pending = null;
  }

  // Show it again as it came then, where the service knows when that was.
  async replay(signal) {
    const answer = await send("GET", `runs/${this.id}/events?watch=true&timed=true`, { signal });
    const all = [];
    for await (const batch of events(answer)) all.push(...batch); // the service would not wait for long
    this.lines.clear();
    let began = null;
    for (const event of all) {
      const said = event.event === "control" ? JSON.parse(event.data) : {};
      if (said.status === "at") {
        began ??= performance.now() - 1000 * said.seconds;
        const wait = began + 1000 * said.seconds - performance.now();
        if (wait > 0) {
          this.#tell();
          await new Promise((resolve) => setTimeout(resolve, wait));
          if (signal.aborted) return;
        }
      } else this.#take(event);
    }
    this.#tell();
  }

  #tell() {
    for (const watcher of this.watchers) watcher(this);
  }
}

function drop(follower) {
  const over = follower.final || follower.error || !started.has(follower.id);
  if (follower.watchers.size || !over) return;
  follower.stop.abort();
  followers.delete(follower.id);
}

// Follow a run; `watcher` is called at each change. Gives the follower, and what ends the following.
export function follow(id, watcher) {
  const follower = followers.get(id) ?? new Follower(id);
  followers.set(id, follower);
  follower.watchers.add(watcher);
  return [
    follower,
    () => {
      follower.watchers.delete(watcher);
      drop(follower);
    },
  ];
}

// Start a run, and follow it from now on, looked at or not. Gives its id. When the answer is lost it is asked for again,
// with the same key: the command runs once.
export async function start(request) {
  if (started.size >= MOST_HELD) throw new Failed(t("too many here", { n: MOST_HELD }), 0);
  const key = crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint32Array(4))].join("-");
  for (let pause = 250; ; pause *= 2) {
    try {
      return await begin(request, key);
    } catch (error) {
      if (error.status || pause > LONGEST_PAUSE) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

async function begin(request, key) {
  const stop = new AbortController();
  const answer = await send("POST", "sse", { body: request, headers: { "Idempotency-Key": key }, signal: stop.signal });
  for await (const [first] of events(answer)) {
    if (!first) continue;
    const { run_id: id } = JSON.parse(first.data);
    note(id, true);
    followers.set(id, new Follower(id));
    setTimeout(() => stop.abort(), 1000); // when the other stream has begun
    return id;
  }
  throw new Failed(t("no answer"), 0);
}

// Follow what this tab has started before it was loaded anew.
export function resume() {
  for (const id of started) if (!followers.has(id)) followers.set(id, new Follower(id));
}

// Somebody else may be next in this tab: nothing of what was followed stays.
export function forget() {
  for (const follower of followers.values()) follower.stop.abort();
  followers.clear();
  started.clear();
  sessionStorage.removeItem(STARTED);
}

export const isStartedHere = (id) => started.has(id);
