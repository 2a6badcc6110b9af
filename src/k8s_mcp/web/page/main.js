// The page: its frame, its addresses, and who is asked for a token.

import { call, token } from "./api.js";
import { clustersView } from "./clusters.js";
import { commandView } from "./command.js";
import { button, h, put, shown, write } from "./dom.js";
import { forget, resume } from "./follow.js";
import { listView } from "./list.js";
import { comeBack, forgetLogin, keepFresh, loginWay, logIn } from "./login.js";
import { meView } from "./me.js";
import { runView } from "./run.js";
import { Runs } from "./runs.js";
import { otherLanguage, t } from "./words.js";

const NAVIGATION = [["runs", ""], ["clusters", "clusters"]];
const main = h("main", { id: "main", tabindex: -1 });
const banner = h("p", { class: "banner", role: "status", hidden: true });
const page = { me: null, runs: new Runs(false), leave: null };

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("k8s-mcp-theme", root.dataset.theme);
}

function header() {
  const links = NAVIGATION.map(([name, hash]) => h("a", { href: `#/${hash}`, "data-at": hash }, t(name)));
  const account = page.me && h("a", { href: "#/me", "data-at": "me", title: t("me") }, h("bdi", null, shown(page.me.principal)));
  return h(
    "header",
    null,
    h("a", { class: "skip", href: "#main", click: (event) => (event.preventDefault(), main.focus()) }, t("skip")),
    h("span", { class: "brand", translate: "no" }, "k8s-mcp"),
    h("nav", null, page.me && links),
    h("span", { class: "grow" }),
    page.me && h("a", { class: "primary", href: "#/new", title: "n" }, t("new run")),
    account,
    token.get() ? null : h("a", { href: "docs" }, t("api")), // a link has no token
    button(t("language"), otherLanguage, { class: "plain" }),
    button("◐", theme, { class: "plain", "aria-label": t("theme"), title: t("theme") }),
  );
}

function frame() {
  put(document.body, header(), banner, main);
}

function show() {
  page.leave?.();
  const [name, id] = location.hash.replace(/^#\/?/, "").split("/");
  const view = { run: runView, clusters: clustersView, new: commandView, me: meView }[name] ?? listView;
  const { title, elements, leave } = view(page, id);
  page.leave = leave;
  document.title = `${title} · k8s-mcp`;
  for (const link of document.querySelectorAll("[data-at]")) {
    if (link.dataset.at === (name ?? "")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  put(main, ...elements);
  main.scrollTop = 0;
}

function askForToken(said) {
  page.leave?.();
  page.leave = page.me = null;
  frame();
  const given = h("input", { type: "password", required: true, autocomplete: "off", spellcheck: "false", name: "token" });
  const enter = (event) => {
    event.preventDefault();
    token.set(given.value.trim().replace(/^Bearer +/i, ""));
    begin();
  };
  document.title = `${t("token title")} · k8s-mcp`;
  const login = h("div");
  put(
    main,
    h(
      "form",
      { class: "card narrow", submit: enter },
      h("h1", null, t("token title")),
      said ? h("p", { class: "problem", role: "alert" }, said) : null,
      login,
      h("p", null, t("token why")),
      h("label", { class: "field" }, h("span", { class: "label" }, t("token")), given),
      h("button", { class: "primary" }, t("token enter")),
    ),
  );
  given.focus();
  loginWay().then(
    (way) => way && put(login, h("p", null, t("login why")), button(t("login"), () => logIn(way), { class: "primary", type: "button" })),
    (error) => put(login, h("p", { class: "problem", role: "alert" }, t("login failed", { why: error.message }))),
  );
}

// A token in an address has been in the history, and perhaps in logs: it is taken out there, and not used.
function refuseTokenInAddress() {
  if (!/(token|bearer|authorization|jwt)(=|%3d)/i.test(location.search + location.hash)) return null;
  history.replaceState(null, "", location.pathname);
  return t("token in address");
}

page.logOut = (said) => {
  token.set("");
  forgetLogin();
  forget();
  page.runs.stop();
  askForToken(said);
};

async function begin(said) {
  page.runs.stop();
  try {
    page.me = await call("GET", "me");
  } catch (error) {
    if (error.status === 401) {
      askForToken(said ?? (token.get() ? t("token wrong", { why: error.message }) : null));
      token.set("");
      return;
    }
    frame();
    tell(error.status ? t("lost because", { why: error.message }) : t("lost"));
    setTimeout(begin, 2000, said);
    return;
  }
  page.runs = new Runs(Boolean(page.me.history));
  page.runs.listeners.add(() => {
    const { lost } = page.runs;
    if (lost?.status === 401) return page.logOut(t("token wrong", { why: lost.message }));
    const why = lost?.status ? t("lost because", { why: lost.message }) : t("lost");
    tell(lost ? why : said);
  });
  frame();
  tell(said);
  resume();
  page.runs.soon(0);
  show();
}

// Above everything, as long as it holds.
function tell(text) {
  banner.hidden = !text;
  write(banner, text ?? "");
}

addEventListener("hashchange", () => {
  if (!page.me) return;
  show();
  if (!main.contains(document.activeElement)) main.focus({ preventScroll: true }); // readers go on from there
});
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, dialog");
  if (event.ctrlKey || event.metaKey || event.altKey || !page.me) return;
  if (event.key === "Escape" && !document.querySelector("dialog")) {
    if (typing) event.target.blur();
    else location.hash = "#/";
  } else if (!typing && event.key === "/") {
    event.preventDefault();
    document.querySelector("input[type=search]")?.focus();
  } else if (!typing && event.key === "n") {
    location.hash = "#/new";
  } else if (!typing && event.key === "f") {
    document.querySelector("button[title=f]")?.click();
  }
});

const remembered = localStorage.getItem("k8s-mcp-theme");
if (remembered) document.documentElement.dataset.theme = remembered;
const refused = refuseTokenInAddress();
const failed = await comeBack();
keepFresh();
begin(refused ?? (failed && t("login failed", { why: { state: t("login state"), iss: t("login iss") }[failed] ?? failed })));
