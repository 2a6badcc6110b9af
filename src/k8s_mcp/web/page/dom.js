// Elements. Whatever is given as text becomes text: nothing here reads markup.

import { t } from "./words.js";

// What can turn a line round or hide in it is shown by its number.
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export const shown = (text) => String(text ?? "").replace(ODD, (c) => `‹${c.charCodeAt(0).toString(16)}›`);

export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  put(element, ...children);
  return element;
}

export function put(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child || child === 0 || child === ""));
}

// Text that is there already stays: it is not read out, drawn or selected again.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function button(text, onClick, attributes) {
  return h("button", { type: "button", click: onClick, ...attributes }, text);
}

export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", { class: "label" }, label), control, hint && h("small", null, hint));
}

// A question with two answers; resolves to whether it was the first.
export function ask(question, yes, no) {
  return new Promise((resolve) => {
    const end = (answer) => {
      resolve(answer);
      dialog.close(); // gives the focus back
      dialog.remove();
    };
    const dialog = h(
      "dialog",
      { "aria-labelledby": "question", close: () => end(false) },
      h("p", { id: "question" }, question),
      h("div", { class: "actions" }, button(no, () => end(false)), button(yes, () => end(true), { class: "danger" })),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function download(name, parts) {
  const url = URL.createObjectURL(new Blob(parts, { type: "text/plain;charset=utf-8" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// A button that copies what `text` gives, and says so.
export function copier(label, text, done, failed = t("not copied")) {
  const made = button(label, async () => {
    try {
      await navigator.clipboard.writeText(text()); // which a page by plain http, from elsewhere, does not have
      made.textContent = done;
    } catch {
      made.textContent = failed;
    }
    setTimeout(() => (made.textContent = label), 1500);
  });
  return made;
}
