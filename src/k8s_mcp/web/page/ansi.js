// Colours of terminals. Every other sequence is taken out; none does anything.

// CSI, OSC and the other strings (also cut off), two-byte sequences, and a lone escape.
const SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)|\x9b[0-?]*[ -/]*[@-~]?/g;

// A state in 16 bits: foreground (0 none, 1 to 16), background, and four ways of drawing.
const BOLD = 1 << 10;
const DIM = 1 << 11;
const ITALIC = 1 << 12;
const UNDER = 1 << 13;
const TURNED = 1 << 14;
const SETS = { 1: BOLD, 2: DIM, 3: ITALIC, 4: UNDER, 7: TURNED };
const CLEARS = { 22: BOLD | DIM, 23: ITALIC, 24: UNDER, 27: TURNED };

const colour = (state, shift, value) => (state & ~(31 << shift)) | (value << shift);

// The nearest of 16: which of red, green and blue are there, and whether it is bright.
function nearest(r, g, b) {
  const most = Math.max(r, g, b);
  if (most < 48) return 1;
  const bits = [r, g, b].reduce((sum, part, bit) => sum | (part > most * 0.6 ? 1 << bit : 0), 0);
  return 1 + bits + (most > 170 ? 8 : 0);
}

function of256(n) {
  if (n < 16) return n + 1;
  if (n >= 232) return n < 240 ? 9 : n < 248 ? 8 : 16;
  const level = (part) => (part ? 55 + part * 40 : 0);
  return nearest(level(Math.floor((n - 16) / 36)), level(Math.floor((n - 16) / 6) % 6), level((n - 16) % 6));
}

function apply(state, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0) state = 0;
    else if (SETS[code]) state |= SETS[code];
    else if (CLEARS[code]) state &= ~CLEARS[code];
    else if (code === 38 || code === 48) {
      const shift = code === 38 ? 0 : 5;
      if (codes[i + 1] === 5) state = colour(state, shift, of256(codes[i + 2] || 0));
      if (codes[i + 1] === 2) state = colour(state, shift, nearest(codes[i + 2], codes[i + 3], codes[i + 4]));
      i += codes[i + 1] === 5 ? 2 : 4;
    } else if (code >= 30 && code <= 37) state = colour(state, 0, code - 29);
    else if (code >= 90 && code <= 97) state = colour(state, 0, code - 81);
    else if (code >= 40 && code <= 47) state = colour(state, 5, code - 39);
    else if (code >= 100 && code <= 107) state = colour(state, 5, code - 91);
    else if (code === 39) state = colour(state, 0, 0);
    else if (code === 49) state = colour(state, 5, 0);
  }
  return state & 0x7fff;
}

export const plain = (text) => text.replace(SEQUENCE, "");

const isColour = (sequence) => /^(?:\x1b\[|\x9b)[\d;:]*m$/.test(sequence);

// The state behind a line that began in `state`.
export function after(line, state) {
  for (const [sequence] of line.matchAll(SEQUENCE)) {
    if (isColour(sequence)) state = apply(state, sequence.replace(/^\x1b\[|^\x9b|m$/g, ""));
  }
  return state;
}

// The parts of a line that began in `state`, each a text and the names of its classes.
export function parts(line, state) {
  const found = [];
  let start = 0;
  const add = (text) => text && found.push([text, classes(state)]);
  for (const match of line.matchAll(SEQUENCE)) {
    add(line.slice(start, match.index));
    start = match.index + match[0].length;
    state = after(match[0], state);
  }
  add(line.slice(start));
  return found;
}

function classes(state) {
  if (!state) return "";
  let [front, back] = [state & 31, (state >> 5) & 31];
  if (state & TURNED) [front, back] = [back || 17, front || 18];
  const names = [front && `f${front}`, back && `b${back}`];
  names.push(state & BOLD && "bold", state & DIM && "dim", state & ITALIC && "italic", state & UNDER && "under");
  return names.filter(Boolean).join(" ");
}
