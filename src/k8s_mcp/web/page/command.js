// A command to run on a stored cluster: only reading, unless somebody asks for more.

import { call } from "./api.js";
import { field, h, put, shown } from "./dom.js";
import { start } from "./follow.js";
import { t } from "./words.js";

const ORDER = ["read_only", "dry_run", "full"];

export function commandView({ me, runs }) {
  const clusters = h("select", { required: true });
  const command = h("textarea", { rows: 4, required: true, spellcheck: "false", autocapitalize: "off", keydown: keys });
  const timeout = h("input", { type: "number", min: 1, max: me.max_timeout, value: Math.min(300, me.max_timeout) });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const run = h("button", { class: "primary" }, t("run it"));
  const ways = me.read_only_runs ? ORDER.slice(0, ORDER.indexOf(me.access) + 1) : ["full"];
  const choices = ways.map((way, n) => h("label", { class: "choice" }, h("input", { type: "radio", name: "access", value: way, checked: n === 0 }), t(`access ${way}`)));
  const form = h(
    "form",
    { class: "card", submit },
    field(t("cluster"), clusters),
    field(t("command"), command, t("command hint")),
    me.read_only_runs ? h("fieldset", null, h("legend", null, t("access")), choices) : h("p", { class: "warning" }, t("cannot hold")),
    field(t("timeout field"), timeout),
    problem,
    h("div", { class: "actions" }, run),
  );
  const missing = h("div", { class: "empty", hidden: true }, h("p", null, t("no clusters for run")), h("a", { class: "primary", href: "#/clusters" }, t("add cluster")));

  function keys(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  }

  function tell(error) {
    problem.hidden = false;
    problem.textContent = shown(error.message);
  }

  async function submit(event) {
    event.preventDefault();
    const way = new FormData(form).get("access");
    const request = { command: command.value, cluster: clusters.value, timeout: Number(timeout.value) };
    if (way === "read_only" || way === "dry_run") request[way] = true;
    run.disabled = true;
    problem.hidden = true;
    try {
      location.hash = `#/run/${await start(request)}`;
      runs.soon(0);
    } catch (error) {
      tell(error);
    }
    run.disabled = false;
  }

  call("GET", "clusters")
    .then(({ clusters: found }) => {
      put(clusters, ...found.map(({ name, server }) => h("option", { value: name }, `${name} – ${shown(server)}`)));
      form.hidden = !found.length;
      missing.hidden = found.length > 0;
      command.focus();
    })
    .catch(tell);
  return { title: t("new run"), elements: [h("h1", null, t("new run")), form, missing] };
}
