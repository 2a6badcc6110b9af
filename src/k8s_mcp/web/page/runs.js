// All runs that are known here, asked for again and again: what goes on, and what ended since.

import { Failed, call } from "./api.js";

const MOST = 10_000;
const OVERLAP = 60_000; // replicas know of each other's runs a moment later
const SHARE = 20; // asking takes a twentieth of the service's time, unless that is very busy
const LONGEST_PAUSE = 5000;
const ENDED = new Set(["done", "timeout", "cancelled", "error", "gone"]);

export const isOver = (run) => ENDED.has(run.status);
export const failed = (run) => isOver(run) && !(run.status === "done" && run.exit_code === 0) && run.status !== "gone";

export class Runs {
  // `history`: whether the service has runs of days before.
  constructor(history) {
    this.all = new Map();
    this.earlier = history ? "" : null; // where to go on further back; null at the end
    this.gaps = []; // what the history has missed
    this.trouble = ""; // why it could not be asked
    this.listeners = new Set();
    this.lost = null; // the Failed of the last question
    this.asked = false;
    this.latest = 0;
    this.seesAll = false;
    this.missed = new Map();
    addEventListener("visibilitychange", () => document.hidden || this.soon(0));
  }

  soon(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), milliseconds);
  }

  stop() {
    clearTimeout(this.timer);
    this.stopped = true;
  }

  async #ask() {
    if (this.asking || this.stopped) return;
    this.asking = true;
    const began = performance.now();
    try {
      const since = this.latest ? `&since=${new Date(this.latest - OVERLAP).toISOString()}` : "";
      const answer = await call("GET", `runs?all=true${since}`);
      this.seesAll = answer.all;
      this.#take(answer.runs);
      await this.#lookFor(answer.runs);
      this.lost = null;
      if (this.earlier === "" && !this.trouble) await this.goBack(); // later, a button does
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      this.lost = error;
    } finally {
      this.asking = false;
    }
    this.asked = true;
    for (const listener of this.listeners) listener();
    const took = performance.now() - began;
    const pause = document.hidden ? 15_000 : this.lost ? 2000 : 1000;
    if (this.lost?.status !== 401) this.soon(Math.max(pause, Math.min(SHARE * took, LONGEST_PAUSE)));
  }

  // Runs of earlier on, some at a time.
  async goBack() {
    const before = this.earlier ? `&before=${encodeURIComponent(this.earlier)}` : "";
    try {
      const answer = await call("GET", `runs?all=true&past=true&limit=500${before}`);
      this.#take(answer.runs);
      [this.gaps, this.earlier, this.trouble] = [answer.missed, answer.next, ""];
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      this.trouble = error.message;
    }
    for (const listener of this.listeners) listener();
  }

  #take(runs) {
    for (const run of runs) {
      const known = this.all.get(run.run_id);
      if (known && isOver(known) && known.status !== "gone" && !isOver(run)) continue; // another replica has not heard of it yet
      // What only one replica knows stays known.
      const kept = known && Object.fromEntries(Object.entries(known).filter(([name]) => run[name] === null));
      this.all.set(run.run_id, { ...run, ...kept });
      this.latest = Math.max(this.latest, Date.parse(run.ended ?? run.created) || 0);
    }
    if (this.all.size > MOST) {
      const over = [...this.all.values()].filter(isOver).sort((a, b) => (a.created < b.created ? -1 : 1));
      for (const run of over.slice(0, this.all.size - MOST)) this.all.delete(run.run_id);
    }
  }

  // Runs that went on and are not listed any more: how they ended, if that can be known.
  async #lookFor(listed) {
    const there = new Set(listed.map((run) => run.run_id));
    const missing = [...this.all.values()].filter((run) => !isOver(run) && !there.has(run.run_id));
    for (const run of missing.slice(0, 20)) {
      try {
        this.#take([await call("GET", `runs/${run.run_id}`)]);
      } catch (error) {
        if (error.status !== 404 && error.status !== 503) throw error; // 503: the history is away
        const times = (this.missed.get(run.run_id) ?? 0) + 1;
        this.missed.set(run.run_id, times);
        if (times > 3) this.all.set(run.run_id, { ...run, status: "gone" });
      }
    }
  }
}
