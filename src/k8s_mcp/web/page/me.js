// Who is calling, and what holds for them.

import { token } from "./api.js";
import { button, h, shown } from "./dom.js";
import { t } from "./words.js";

function limits(rule) {
  return [
    t(`access ${rule.access}`),
    rule.secrets && `secrets: ${rule.secrets}`,
    (rule.allow || rule.deny?.length) && t("limited by entries"),
    rule.max_timeout && `${t("limit")} ${t("seconds", { n: rule.max_timeout })}`,
    rule.max_runs && t("runs at a time", { n: rule.max_runs }),
    rule.max_output && t("of output", { n: rule.max_output.toLocaleString() }),
  ].filter(Boolean);
}

function row(rule) {
  const what = [...rule.handles, rule.own_kubeconfigs && t("own kubeconfigs")].filter(Boolean);
  const cells = [rule.name, `${what.join(", ")} · ${rule.servers.join(", ")}`, limits(rule).join("; ")];
  return h("tr", null, cells.map((cell) => h("td", null, h("bdi", null, shown(cell)))));
}

export function meView({ me, logOut }) {
  const may = me.observer && ["observes", me.observer.output && "observes output", me.observer.cancel && "observes cancel"];
  const facts = [
    ["principal", me.principal],
    ["groups", me.groups.join(", ") || "–"],
    ["most access", t(`access ${me.access}`)],
    ["observer", may ? may.filter(Boolean).map((one) => t(one)).join(", ") : t("observes nothing")],
    ["max timeout", t("seconds", { n: me.max_timeout })],
  ];
  const heads = ["rule", "for what", "limits"].map((name) => h("th", { scope: "col" }, t(name)));
  const rules = h("table", null, h("thead", null, h("tr", null, heads)), h("tbody", null, me.rules.map(row)));
  return {
    title: t("me"),
    elements: [
      h("div", { class: "bar" }, h("h1", null, t("me")), h("span", { class: "grow" }), token.get() && button(t("token forget"), () => logOut())),
      h("dl", null, facts.map(([name, value]) => h("div", null, h("dt", null, t(name)), h("dd", null, h("bdi", null, shown(value)))))),
      h("h2", null, t("rules")),
      h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": t("rules") }, rules),
    ],
  };
}
