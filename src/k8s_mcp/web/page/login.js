// The login of a person at the issuer of tokens: authorization code with PKCE. The service exchanges the code.
// What belongs to one login is kept in this tab until it comes back; so is what refreshes the token afterwards.

import { call, token } from "./api.js";

const STARTED = "k8s-mcp-login";
const REFRESH = "k8s-mcp-refresh";
const EARLY = 30;
let timer;

const here = () => new URL(".", location.href.split(/[?#]/)[0]).href;
const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/[+/=]/g, (c) => ({ "+": "-", "/": "_" })[c] ?? "");
const random = () => base64(crypto.getRandomValues(new Uint8Array(32)));

// Where people log in here, or null. Without TLS browsers have no digest, and there is no login.
export const loginWay = () => (crypto.subtle ? call("GET", "login") : Promise.resolve(null));

export async function logIn(way) {
  const started = { state: random(), nonce: random(), verifier: random(), issuer: way.issuer, saysIssuer: way.says_issuer, hash: location.hash };
  sessionStorage.setItem(STARTED, JSON.stringify(started));
  const challenge = base64(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(started.verifier)));
  const url = new URL(way.authorization_endpoint);
  const asked = {
    response_type: "code",
    client_id: way.client_id,
    redirect_uri: here(),
    scope: way.scope,
    state: started.state,
    nonce: started.nonce,
    code_challenge: challenge,
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  location.assign(url.href);
}

// What a browser that comes back from the issuer has in its address is used once, and taken out of it. The result is
// why that was no login of this tab; null for one that was, or for no login at all.
export async function comeBack() {
  const given = new URLSearchParams(location.search);
  if (!given.has("state") || !(given.has("code") || given.has("error"))) return null;
  const started = JSON.parse(sessionStorage.getItem(STARTED) ?? "{}");
  sessionStorage.removeItem(STARTED);
  history.replaceState(null, "", location.pathname + (started.hash ?? ""));
  const issuer = given.get("iss");
  if (given.get("state") !== started.state) return "state";
  if (issuer === null ? started.saysIssuer : issuer !== started.issuer) return "iss";
  if (given.has("error")) return given.get("error");
  const { verifier, nonce } = started;
  try {
    keep(await call("POST", "login", { code: given.get("code"), redirect_uri: here(), verifier, nonce }));
  } catch (error) {
    return error.message;
  }
  return null;
}

export function forgetLogin() {
  clearTimeout(timer);
  sessionStorage.removeItem(REFRESH);
}

// After a reload, too.
export function keepFresh() {
  clearTimeout(timer);
  const { refresh_token, until } = JSON.parse(sessionStorage.getItem(REFRESH) ?? "{}");
  if (!refresh_token) return;
  timer = setTimeout(async () => {
    try {
      keep(await call("POST", "login", { refresh_token }), refresh_token);
    } catch (error) {
      if (error.status === 401) forgetLogin(); // and the token ends as it would have
      else timer = setTimeout(keepFresh, 5000);
    }
  }, Math.max(until - Date.now() - EARLY * 1000, 0));
}

function keep(answer, before) {
  token.set(answer.token);
  const refresh_token = answer.refresh_token ?? before;
  if (refresh_token) sessionStorage.setItem(REFRESH, JSON.stringify({ refresh_token, until: Date.now() + answer.expires_in * 1000 }));
  keepFresh();
}
