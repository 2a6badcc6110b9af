// Stored kubeconfigs, and how a client of this service is set up.

import { address, call, token } from "./api.js";
import { ask, button, copier, field, h, put, shown } from "./dom.js";
import { at, away, t } from "./words.js";

const HOUR = 3600;
const TIMES = [["hours", 1], ["hours", 8], ["hours", 24], ["days", 7], ["days", 30]];

const json = (value) => JSON.stringify(value, null, 2);

function clients() {
  const [mcp, sse] = [address("mcp"), address("sse")];
  const headers = token.get() ? { headers: { Authorization: "Bearer YOUR_TOKEN" } } : {};
  const option = token.get() ? ' --header "Authorization: Bearer YOUR_TOKEN"' : "";
  const curl = token.get() ? " -H 'Authorization: Bearer YOUR_TOKEN'" : "";
  return {
    "Claude Desktop": json({ mcpServers: { kubernetes: { type: "sse", url: sse, ...headers } } }),
    "Claude Code": `claude mcp add --transport http kubernetes ${mcp}${option}`,
    "Cursor": json({ mcpServers: { kubernetes: { url: mcp, ...headers } } }),
    "VS Code": json({ servers: { kubernetes: { type: "http", url: mcp, ...headers } } }),
    "curl": `curl -N ${sse}${curl} -H 'Content-Type: application/json' \\\n  -d '{"cluster": "NAME", "command": "kubectl get pods"}'`,
  };
}

function connect() {
  const texts = clients();
  const code = h("pre", { tabindex: 0, "aria-label": t("connect") });
  const tabs = Object.keys(texts).map((name) => button(name, () => choose(name), { "aria-pressed": "false" }));
  let chosen;
  function choose(name) {
    chosen = name;
    code.textContent = texts[name];
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.textContent === name));
  }
  choose("Claude Code");
  return h(
    "section",
    { class: "card" },
    h("h2", null, t("connect")),
    h("p", { class: "quiet" }, t("connect why")),
    h("div", { class: "bar" }, tabs, h("span", { class: "grow" }), copier(t("copy"), () => texts[chosen], t("copied"))),
    code,
  );
}

export function clustersView() {
  const list = h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": t("clusters") });
  const name = h("input", { required: true, maxlength: 63, pattern: "[a-z0-9]([a-z0-9._\\-]*[a-z0-9])?", autocapitalize: "off", spellcheck: "false" });
  const file = h("input", { type: "file", change: read });
  const text = h("textarea", { rows: 6, required: true, spellcheck: "false", autocapitalize: "off", placeholder: "apiVersion: v1\nkind: Config" });
  const kept = h("select", null, TIMES.map(([unit, n], i) => h("option", { value: n * (unit === "days" ? 24 : 1) * HOUR, selected: i === 1 }, t(unit, { n }))));
  const said = h("p", { role: "status" });
  const form = h(
    "form",
    { class: "card", submit: store },
    h("h2", null, t("add cluster")),
    h("p", { class: "quiet" }, t("add why")),
    h("div", { class: "columns" }, field(t("name"), name), field(t("kept for"), kept)),
    field(t("file"), file),
    field(t("paste"), text),
    said,
    h("div", { class: "actions" }, h("button", { class: "primary" }, t("store"))),
  );

  async function read() {
    if (file.files[0]) text.value = await file.files[0].text();
  }

  function tell(message, isProblem) {
    said.textContent = shown(message);
    said.className = isProblem ? "problem" : "good";
  }

  async function store(event) {
    event.preventDefault();
    try {
      await call("PUT", `clusters/${encodeURIComponent(name.value)}`, { kubeconfig: text.value, ttl: Number(kept.value) });
      tell(t("stored", { name: name.value }));
      form.reset();
      await load();
    } catch (error) {
      tell(error.message, true);
    }
  }

  async function remove(cluster) {
    if (!(await ask(t("remove sure", { name: cluster.name }), t("remove"), t("no")))) return;
    await call("DELETE", `clusters/${cluster.name}`).catch((error) => tell(error.message, true));
    await load();
  }

  function row(cluster) {
    const expires = cluster.offered ? t("never") : h("time", { title: at(cluster.expires) }, away(cluster.expires));
    const action = cluster.offered ? "" : button(t("remove"), () => remove(cluster), { "aria-label": `${t("remove")} ${cluster.name}` });
    const cells = [h("b", null, cluster.name), shown(cluster.server), shown(cluster.contexts.join(", ")), expires, action];
    return h("tr", null, cells.map((cell) => h("td", null, typeof cell === "string" ? h("bdi", null, cell) : cell)));
  }

  async function load() {
    const { clusters } = await call("GET", "clusters").catch((error) => (tell(error.message, true), { clusters: [] }));
    const heads = ["name", "server", "contexts", "expires"].map((one) => h("th", { scope: "col" }, t(one)));
    put(
      list,
      clusters.length
        ? h("table", null, h("thead", null, h("tr", null, heads, h("td"))), h("tbody", null, clusters.map(row)))
        : h("div", { class: "empty" }, h("h2", null, t("no clusters title")), h("p", null, t("no clusters"))),
    );
  }

  load();
  return { title: t("clusters"), elements: [h("h1", null, t("clusters")), list, form, connect()] };
}
