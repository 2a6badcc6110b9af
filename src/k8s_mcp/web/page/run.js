// One run: its command, how it goes or went, its output as it comes, and what it asked of its cluster.

import { call } from "./api.js";
import { ask, button, copier, download, h, put, shown, write } from "./dom.js";
import { follow, isStartedHere } from "./follow.js";
import { badge, clusterOf } from "./list.js";
import { Output } from "./output.js";
import { isOver } from "./runs.js";
import { at, duration, t } from "./words.js";

const MOST_ASKS = 15; // for a record of requests that may never be complete

function ending(run) {
  const why = [run.reason, run.message].filter(Boolean).map(shown).join(": ");
  if (run.status === "pending") return run.reason ? t("waits", { why }) : "";
  if (run.status === "timeout") return t("ended timeout", { n: run.timeout });
  if (run.status === "error") return t("ended error", { why });
  if (run.status !== "done") return isOver(run) ? t(`ended ${run.status}`) : "";
  const code = run.exit_code;
  const known = [126, 127, 137, 143].includes(code) ? ` ${t(`code ${code}`)}` : "";
  return code ? t("ended code", { n: code }) + known : t("ended ok");
}

function facts(run) {
  const rows = [
    [t("cluster"), h("bdi", { title: shown(run.cluster) }, shown(clusterOf(run)))],
    run.principal && [t("caller"), h("bdi", null, shown(run.principal))],
    [t("started"), at(run.started ?? run.created)],
    run.ended && [t("ended"), at(run.ended)],
    [t("took"), duration(run.started ?? run.created, run.ended)],
    [t("limit"), t("seconds", { n: run.timeout })],
    run.lines !== null && [t("lines"), run.lines.toLocaleString()],
    (run.read_only || run.dry_run) && [t("access"), t(run.read_only ? "read only" : "dry run")],
    [t("id"), h("code", null, run.run_id)],
  ];
  return rows.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)));
}

function requests({ total, refused, complete, changes, truncated }, over) {
  const heads = ["time", "verb", "what", "namespace", "name", "answer"].map((name) => h("th", { scope: "col" }, t(name)));
  const rows = changes.map((one) => {
    const what = one.path ?? [one.resource, one.subresource].filter(Boolean).join("/");
    const answer = one.refused ? t("refused by", { rule: one.refused }) : one.code || "–";
    const texts = [new Date(one.time).toLocaleTimeString(), one.verb, what, one.namespace, one.name, `${answer}${one.dry_run ? `, ${t("dry run")}` : ""}`];
    return h("tr", { class: one.refused || one.code >= 400 ? "failed" : "" }, texts.map((text) => h("td", null, h("bdi", null, shown(text)))));
  });
  return [
    h("h2", null, t("requests")),
    h("p", { class: "quiet" }, t("requests summary", { total, refused }), over && !complete ? ` ${t("requests incomplete")}` : "", truncated ? ` ${t("truncated")}` : ""),
    rows.length
      ? h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": t("requests") }, h("table", null, h("thead", null, h("tr", null, heads)), h("tbody", null, rows)))
      : h("p", { class: "quiet" }, t("no changes")),
  ];
}

export function runView({ runs, me }, id) {
  if (!/^[0-9a-f]{32}$/.test(id)) {
    // It would be a part of addresses.
    const back = h("a", { href: "#/", title: "Esc" }, `← ${t("back")}`);
    return { title: t("run"), elements: [h("div", { class: "bar" }, back, h("h1", null, t("run"))), h("p", { class: "empty", role: "status" }, t("run missing"))] };
  }
  let run = runs.all.get(id);
  const command = h("pre", { class: "command", tabindex: 0, "aria-label": t("command") });
  const status = h("span", { role: "status" });
  const list = h("dl");
  const why = h("p", { class: "why" });
  const notes = h("p", { class: "quiet", role: "status" });
  const asked = h("section");
  const end = button(t("cancel"), cancel, { class: "danger", hidden: true });
  const [follower, leave] = follow(id, changed);
  const output = new Output(follower.lines);
  const bar = output.bar(
    copier(t("copy"), () => [...follower.lines.texts(false)].join(""), t("copied")),
    button(t("download"), () => download(`${id}.log`, [...follower.lines.texts()])),
  );
  const again = button(t("replay"), replay, { hidden: true });
  bar.append(again);
  let playing = new AbortController();
  let timer;
  let left = false;
  let unknown = false;
  let asks = 0; // since it is over

  function draw() {
    if (!run) return;
    const now = badge(run);
    if (status.textContent !== now.textContent) put(status, now); // what is the same is not read out again
    put(command, run.command ? shown(run.command) : h("i", null, t("command unknown")));
    put(list, ...facts(run));
    why.textContent = ending(run);
    why.className = `why ${run.status === "done" && !run.exit_code ? "ok" : isOver(run) ? "bad" : ""}`;
    again.hidden = !(isOver(run) && me.history?.output && follower.lines.count);
    end.hidden = isOver(run) || Boolean(run.principal && run.principal !== me.principal && !me.observer?.cancel);
    put(asked, ...(run.requests ? requests(run.requests, isOver(run)) : []));
  }

  function changed() {
    const { error, lines, final, lost } = follower;
    output.changed();
    let note = "";
    if (error?.status === 403) note = t("output hidden");
    else if (error) note = t(run ? "output gone" : "run missing");
    else if (lost) note = t("stream lost");
    else if (!lines.count) note = t(final ? "no output end" : "no output");
    else if (isStartedHere(id) && !final) note = t("stays");
    write(notes, note);
    bar.hidden = output.scroller.hidden = !lines.count;
    if ((final || error) && !follower.said) {
      follower.said = true;
      poll();
    }
  }

  async function replay() {
    playing.abort();
    playing = new AbortController();
    const { signal } = playing;
    await follower.replay(signal).catch((error) => signal.aborted || (notes.textContent = error.message));
  }

  async function cancel() {
    if (await ask(t("cancel sure"), t("cancel"), t("keep"))) {
      await call("DELETE", `runs/${id}`).catch((error) => (why.textContent = error.message));
      poll();
    }
  }

  async function poll() {
    clearTimeout(timer);
    try {
      const known = run;
      run = await call("GET", `runs/${id}`);
      run.command ??= known?.command ?? null;
    } catch (error) {
      if (error.status === 404 && run && !isOver(run) && follower.error) run = { ...run, status: "gone" };
      unknown = error.status === 404 && Boolean(follower.final || follower.error);
      if (error.status === 404 && !run) notes.textContent = t("run missing");
    }
    if (left) return;
    draw();
    const over = run && isOver(run) && ((run.requests?.complete ?? true) || ++asks > MOST_ASKS);
    if (!over && !unknown && !follower.error) timer = setTimeout(poll, document.hidden ? 10_000 : 2000);
  }

  draw();
  queueMicrotask(changed);
  poll();
  return {
    title: `${t("run")} ${id?.slice(0, 8)}`,
    elements: [
      h("div", { class: "bar" }, h("a", { href: "#/", title: "Esc" }, `← ${t("back")}`), h("h1", null, t("run")), status, h("span", { class: "grow" }), end),
      command,
      why,
      list,
      h("h2", null, t("output")),
      bar,
      output.more,
      notes,
      output.scroller,
      asked,
    ],
    leave() {
      left = true;
      playing.abort();
      clearTimeout(timer);
      output.close();
      leave();
    },
  };
}
