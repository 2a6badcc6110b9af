// The lines of one run, in blocks of one text each: a million short lines take a string a block, not one a line.

import { after, plain } from "./ansi.js";

const BLOCK = 512;
const MOST_CHARACTERS = 32_000_000;
const MOST_LINES = 1_500_000; // of 18 pixels; browsers draw nothing much longer
const KINDS = ["stdout", "stderr", "note"];

export class Lines {
  constructor() {
    this.clear();
  }

  clear() {
    this.count = 0; // of all that came
    this.forgotten = 0; // of those, from the beginning
    this.blocks = [];
    this.characters = 0;
    this.states = [0, 0, 0];
    this.open = null;
    this.last = this.before = null;
  }

  // `kind` is stdout, stderr, or note for what is said about the output.
  add(kind, text) {
    const stream = KINDS.indexOf(kind);
    if (!this.open) this.open = { first: this.count, lines: [], kinds: [], states: [] };
    this.open.lines.push(text);
    this.open.kinds.push(stream);
    this.open.states.push(this.states[stream]);
    if (text.includes("\x1b") || text.includes("\x9b")) this.states[stream] = after(text, this.states[stream]);
    this.count++;
    this.characters += text.length + 1;
    if (this.open.lines.length === BLOCK) this.#close();
  }

  #close() {
    const { first, lines, kinds, states } = this.open;
    const text = lines.join("\n");
    this.blocks.push({ first, text, kinds: Uint8Array.from(kinds), states: Uint16Array.from(states) });
    this.open = null;
    while (this.blocks.length > 1 && (this.characters > MOST_CHARACTERS || this.length > MOST_LINES)) {
      const oldest = this.blocks.shift();
      this.characters -= oldest.text.length + 1;
      this.forgotten += BLOCK;
    }
  }

  get length() {
    return this.count - this.forgotten;
  }

  // The line `n` of those that are here: text, kind, and the state in which it begins.
  at(n) {
    const place = Math.floor(n / BLOCK);
    const block = place < this.blocks.length ? this.#read(place) : this.open;
    const inside = n % BLOCK;
    return { text: block.lines[inside], kind: KINDS[block.kinds[inside]], state: block.states[inside] };
  }

  // The blocks that are drawn just now stay split into lines.
  #read(place) {
    const block = this.blocks[place];
    if (this.last?.block !== block) {
      [this.last, this.before] = [this.before, this.last];
      if (this.last?.block !== block) {
        this.last = { block, lines: block.text.split("\n"), kinds: block.kinds, states: block.states };
      }
    }
    return this.last;
  }

  // The text of all, a piece for each block; without colours if it is to be read elsewhere.
  *texts(colours = true) {
    for (const { text } of this.blocks) yield `${colours ? text : plain(text)}\n`;
    if (this.open) yield `${colours ? this.open.lines.join("\n") : plain(this.open.lines.join("\n"))}\n`;
  }

  // The numbers, counted from the first of all, of lines from `from` on that hold `text`, whatever its case.
  *matches(text, from) {
    const wanted = text.toLowerCase();
    const first = Math.max(from - this.forgotten, 0);
    for (let place = Math.floor(first / BLOCK); place <= this.blocks.length; place++) {
      const block = this.blocks[place] ?? this.open;
      if (!block) return;
      const found = [];
      const whole = block.text ?? block.lines.join("\n");
      if (plain(whole).toLowerCase().includes(wanted)) {
        whole.split("\n").forEach((line, n) => {
          if (block.first + n >= from && plain(line).toLowerCase().includes(wanted)) found.push(block.first + n);
        });
      }
      yield found;
    }
  }
}
