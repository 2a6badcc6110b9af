// All runs, the newest first; of thousands only those that can be seen are elements.

import { button, h, put, shown, write } from "./dom.js";
import { failed, isOver } from "./runs.js";
import { at, away, duration, t } from "./words.js";

const AROUND = 8;
const STATUSES = ["going", "pending", "running", "ok", "failed"];
const WITH_A_REASON = new Set(["pending", "error"]);
const filter = { text: "", status: "", cluster: "", caller: "" }; // stays while one looks at a run

export function kindOf(run) {
  if (!isOver(run) || run.status === "gone") return run.status;
  return failed(run) ? "failed" : "ok";
}

// What happened in one word, and its colour by the class.
export function badge(run) {
  const word = run.status === "done" ? (run.exit_code ? t("exit", { n: run.exit_code }) : t("done")) : t(run.status);
  return h("span", { class: `badge ${kindOf(run)}` }, word);
}

export const clusterOf = (run) => run.handle ?? run.cluster.replace(/^https?:\/\//, "");

function matches(run, wanted) {
  const { text, status, cluster, caller } = wanted;
  if (status && !(status === "going" ? !isOver(run) : kindOf(run) === status)) return false;
  if (cluster && clusterOf(run) !== cluster) return false;
  if (caller && run.principal !== caller) return false;
  if (!text) return true;
  return [run.command, run.run_id, run.cluster, run.handle, run.principal, run.reason, run.message].some((part) =>
    part?.toLowerCase().includes(text),
  );
}

function cells(run, seesAll) {
  const modes = [run.read_only && t("read only"), run.dry_run && t("dry run")].filter(Boolean);
  const why = WITH_A_REASON.has(run.status) ? [run.reason, run.message].filter(Boolean).join(": ") : "";
  const cell = (name, ...content) => h("div", { role: "cell", class: name }, ...content);
  return [
    cell("status", badge(run)),
    cell(
      "command",
      h("a", { href: `#/run/${run.run_id}` }, run.command ? h("bdi", { dir: "ltr" }, shown(run.command)) : h("i", null, t("command unknown"))),
      why ? h("small", { title: shown(why) }, shown(why)) : null,
    ),
    cell("cluster", h("bdi", { title: shown(run.cluster) }, shown(clusterOf(run))), modes.map((mode) => h("span", { class: "tag" }, mode))),
    seesAll ? cell("caller", h("bdi", null, shown(run.principal))) : null,
    cell("when", h("time", { datetime: run.created, title: at(run.created) }, away(run.created))),
    cell("took", duration(run.started ?? run.created, run.ended)),
  ].filter(Boolean);
}

// The row of one run, of which only what has changed is made anew: whoever reads, selects or has the focus there stays.
class Row {
  constructor() {
    this.element = h("div", { role: "row", class: "row" });
    this.says = "";
  }

  show(run, number, seesAll, top) {
    const { element } = this;
    const says = JSON.stringify([run, seesAll, away(run.created), duration(run.started ?? run.created, run.ended)]);
    if (this.says !== says) {
      this.says = says;
      const made = cells(run, seesAll);
      if (element.children.length !== made.length) put(element, ...made);
      else made.forEach((cell, n) => cell.isEqualNode(element.children[n]) || element.children[n].replaceWith(cell));
    }
    if (this.number !== number || element.style.top !== top) {
      this.number = number;
      element.setAttribute("aria-rowindex", number + 2);
      element.style.top = top;
    }
    return element;
  }
}

export function listView({ runs }) {
  const input = h("input", { type: "search", placeholder: t("filter"), "aria-label": t("filter"), title: "/", value: filter.text });
  const select = (name, label) => h("select", { "aria-label": label, change: () => ((filter[name] = selects[name].value), draw(true)) });
  const selects = { status: select("status", t("status")), cluster: select("cluster", t("cluster")), caller: select("caller", t("caller")) };
  const summary = h("p", { class: "quiet grow" });
  const space = h("div", { class: "space", role: "presentation" });
  const body = h("div", { class: "rows", role: "rowgroup", tabindex: 0, "aria-label": t("runs"), scroll: () => draw(), keydown: move });
  const head = h("div", { role: "row", class: "row head" });
  const table = h("div", { role: "table", class: "table", "aria-label": t("runs") }, h("div", { role: "rowgroup" }, head), body);
  const empty = h("div", { class: "empty" });
  const back = button(t("earlier"), () => runs.goBack());
  const gaps = h("p", { class: "quiet", role: "status" });
  const rows = new Map(); // those that are drawn
  let found = [];
  let said = ""; // where there are none
  body.append(space);
  input.addEventListener("input", () => ((filter.text = input.value.trim().toLowerCase()), draw(true)));

  function options(name, every, values) {
    const wanted = [["", every], ...values];
    const signature = JSON.stringify(wanted);
    if (selects[name].signature === signature) return;
    selects[name].signature = signature;
    put(selects[name], ...wanted.map(([value, text]) => h("option", { value }, shown(text))));
    selects[name].value = filter[name];
  }

  function choose() {
    const all = [...runs.all.values()];
    const distinct = (of) => [...new Set(all.map(of).filter(Boolean))].sort().map((value) => [value, value]);
    options("status", t("all statuses"), STATUSES.map((status) => [status, t(status)]));
    options("cluster", t("all clusters"), distinct(clusterOf));
    options("caller", t("all callers"), runs.seesAll ? distinct((run) => run.principal) : []);
    selects.caller.hidden = !all.some((run) => run.principal);
    found = all.filter((run) => matches(run, filter)).sort((a, b) => (a.created < b.created ? 1 : -1));
    const going = all.filter((run) => run.status === "running").length;
    const waiting = all.filter((run) => run.status === "pending").length;
    write(summary, t("summary", { going, waiting, over: all.length - going - waiting }));
    const names = ["status", "command", "cluster", ...(selects.caller.hidden ? [] : ["caller"]), "started", "took"];
    if (head.children.length !== names.length) put(head, ...names.map((name) => h("div", { role: "columnheader", class: name }, t(name))));
    table.classList.toggle("callers", !selects.caller.hidden);
    table.setAttribute("aria-rowcount", found.length + 1);
    table.hidden = !found.length;
    empty.hidden = !runs.asked || found.length > 0;
    back.hidden = runs.earlier === null;
    write(gaps, runs.trouble || runs.gaps.map(({ from, to }) => t("missed", { from: at(from), to: at(to) })).join(" "));
    if (!empty.hidden) tell(all.length ? "no matches" : "no runs");
  }

  function tell(kind) {
    if (said === kind) return;
    said = kind;
    const link = h("a", { class: "primary", href: "#/new" }, t("new run"));
    put(empty, h("h2", null, t(`${kind} title`)), h("p", null, t(kind)), kind === "no runs" ? link : button(t("clear"), clear));
  }

  function clear() {
    Object.assign(filter, { text: "", status: "", cluster: "", caller: "" });
    input.value = "";
    for (const one of Object.values(selects)) one.value = "";
    draw(true);
  }

  function draw(again = false) {
    if (again) choose();
    if (table.hidden) return;
    const height = parseFloat(getComputedStyle(table).getPropertyValue("--row"));
    const first = Math.max(Math.floor(body.scrollTop / height) - AROUND, 0);
    const seen = found.slice(first, first + Math.ceil(body.clientHeight / height) + 2 * AROUND);
    const focused = document.activeElement?.closest?.(".rows a")?.getAttribute("href");
    space.style.height = `${found.length * height}px`;
    const there = new Set(seen.map((run) => run.run_id));
    for (const [id, row] of rows) {
      if (there.has(id)) continue;
      row.element.remove();
      rows.delete(id);
    }
    let next = space.firstElementChild;
    seen.forEach((run, n) => {
      const row = rows.get(run.run_id) ?? new Row();
      rows.set(run.run_id, row);
      const element = row.show(run, first + n, !selects.caller.hidden, `${(first + n) * height}px`);
      if (element === next) next = next.nextElementSibling;
      else space.insertBefore(element, next);
    });
    if (focused && !space.contains(document.activeElement)) space.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  function move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const links = [...space.querySelectorAll("a")];
    const next = links[links.indexOf(document.activeElement) + step] ?? links[0];
    next.focus({ preventScroll: true });
    next.closest(".row").scrollIntoView({ block: "nearest" });
  }

  const listener = () => draw(true);
  const resized = new ResizeObserver(() => draw());
  runs.listeners.add(listener);
  resized.observe(body);
  const clock = setInterval(draw, 1000);
  queueMicrotask(listener);
  return {
    title: t("runs"),
    elements: [
      h("div", { class: "bar" }, h("h1", null, t("runs")), summary),
      h("div", { class: "bar" }, input, selects.status, selects.cluster, selects.caller, back),
      gaps,
      table,
      empty,
    ],
    leave() {
      runs.listeners.delete(listener);
      resized.disconnect();
      clearInterval(clock);
    },
  };
}
