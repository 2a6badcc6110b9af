// The output of a run, of which only the lines that can be seen are elements.

import { parts } from "./ansi.js";
import { button, h, put, shown } from "./dom.js";
import { t } from "./words.js";

const ROW = 18; // pixels, as in style.css
const AROUND = 12;
const MOST_SHOWN = 4000; // characters of a line
const MOST_FOUND = 10_000;

export class Output {
  constructor(lines) {
    this.lines = lines;
    this.rows = new Map();
    this.follows = true;
    this.found = [];
    this.current = -1;
    this.space = h("div", { class: "space" });
    this.scroller = h(
      "div",
      { class: "output", role: "log", "aria-live": "off", "aria-label": t("output"), tabindex: 0, scroll: () => this.#scrolled() },
      this.space,
    );
    this.more = h("p", { class: "quiet", hidden: true });
    this.count = h("span", { class: "quiet", role: "status" });
    this.search = h("input", {
      type: "search",
      placeholder: t("search output"),
      "aria-label": t("search output"),
      input: () => this.#look(),
      keydown: (event) => event.key === "Enter" && this.#go(event.shiftKey ? -1 : 1),
    });
    this.follow = button(t("follow"), () => this.setFollow(!this.follows), { "aria-pressed": "true", title: "f" });
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.scroller);
  }

  // There are more lines: they are drawn with the next frame, however many came.
  changed() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      if (this.search.value && !this.looking) this.#look(true);
      this.draw();
    });
  }

  close() {
    this.resized.disconnect();
    this.search.value = "";
  }

  setFollow(follows) {
    this.follows = follows;
    this.drawn = false;
    this.follow.setAttribute("aria-pressed", String(follows));
    this.draw();
  }

  // Somebody has gone up since it was drawn, however many lines came meanwhile.
  #wasLeft() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    return this.drawn && scrollTop < this.top - 1 && scrollTop + clientHeight < scrollHeight - ROW;
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    const atEnd = scrollTop + clientHeight >= scrollHeight - ROW;
    if (!this.follows && atEnd && scrollTop > (this.lastTop ?? 0)) this.setFollow(true);
    this.lastTop = scrollTop;
    this.changed();
  }

  draw() {
    const { lines, scroller, space, rows } = this;
    if (this.follows && this.#wasLeft()) return this.setFollow(false);
    if (this.forgotten !== lines.forgotten) {
      if (this.forgotten !== undefined && !this.follows) scroller.scrollTop -= (lines.forgotten - this.forgotten) * ROW;
      this.forgotten = lines.forgotten;
      this.more.hidden = !lines.forgotten;
      this.more.textContent = t("forgotten", { n: lines.forgotten });
    }
    space.style.height = `${lines.length * ROW}px`;
    if (this.follows) scroller.scrollTop = lines.length * ROW;
    const first = Math.max(Math.floor(scroller.scrollTop / ROW) - AROUND, 0);
    const last = Math.min(first + Math.ceil(scroller.clientHeight / ROW) + 2 * AROUND, lines.length);
    for (const [n, row] of rows) {
      if (n - lines.forgotten < first || n - lines.forgotten >= last) {
        row.remove();
        rows.delete(n);
      }
    }
    for (let at = first; at < last; at++) {
      const n = at + lines.forgotten;
      let row = rows.get(n);
      if (!row) {
        row = this.#row(n, lines.at(at));
        rows.set(n, row);
        space.append(row);
      }
      const top = `${at * ROW}px`;
      if (row.style.top !== top) row.style.top = top;
    }
    this.drawn = scroller.clientHeight > 0;
    this.top = scroller.scrollTop;
  }

  #row(n, { text, kind, state }) {
    const cut = text.length > MOST_SHOWN;
    const pieces = parts(cut ? text.slice(0, MOST_SHOWN) : text, state);
    const classes = ["line", kind, n === this.found[this.current] && "current"].filter(Boolean).join(" ");
    return h(
      "div",
      { class: classes },
      h("span", { class: "number", "aria-hidden": "true" }, String(n + 1)),
      kind === "stderr" && h("span", { class: "hidden" }, "stderr: "),
      h(
        "bdi",
        { dir: "ltr" },
        pieces.flatMap(([piece, names]) => this.#marked(shown(piece), names)),
        cut && h("em", null, t("cut", { n: text.length - MOST_SHOWN })),
      ),
    );
  }

  #marked(text, names) {
    const wanted = this.search.value.toLowerCase();
    const made = [];
    let start = 0;
    if (wanted) {
      const lower = text.toLowerCase();
      for (let at; (at = lower.indexOf(wanted, start)) >= 0; start = at + wanted.length) {
        made.push(h("span", { class: names }, text.slice(start, at)));
        made.push(h("mark", null, text.slice(at, at + wanted.length)));
      }
    }
    made.push(names ? h("span", { class: names }, text.slice(start)) : document.createTextNode(text.slice(start)));
    return made;
  }

  // Look through all lines, or those that came since, a few blocks at a time.
  async #look(onlyNew = false) {
    const wanted = this.search.value;
    if (!onlyNew) {
      this.found = [];
      this.current = -1;
      this.looked = 0;
      this.#redraw();
    }
    this.looking = wanted;
    this.count.textContent = "";
    if (!wanted) return;
    let rested = performance.now();
    const until = this.lines.count;
    for (const found of this.lines.matches(wanted, this.looked)) {
      this.found.push(...found.slice(0, MOST_FOUND - this.found.length));
      if (performance.now() - rested > 12) {
        await new Promise((resolve) => setTimeout(resolve));
        rested = performance.now();
        if (this.search.value !== wanted) return;
      }
    }
    this.looked = until;
    this.looking = null;
    if (this.current < 0 && !onlyNew) this.#go(1);
    else this.#tell();
  }

  #go(step) {
    if (this.found.length) {
      this.current = (this.current + step + this.found.length) % this.found.length;
      this.setFollow(false);
      const at = this.found[this.current] - this.lines.forgotten;
      this.scroller.scrollTop = at * ROW - this.scroller.clientHeight / 2;
      this.scroller.scrollLeft = 0;
    }
    this.#tell();
    this.#redraw();
  }

  #tell() {
    const { length } = this.found;
    const more = length === MOST_FOUND ? "+" : "";
    this.count.textContent = length ? `${this.current + 1} / ${length}${more}` : t("nothing found");
  }

  #redraw() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.draw();
  }

  async copy() {
    await navigator.clipboard.writeText([...this.lines.texts(false)].join(""));
  }

  bar(...more) {
    const bar = h("div", { class: "bar" });
    put(bar, this.search, this.count, h("span", { class: "grow" }), this.follow, ...more);
    return bar;
  }
}

