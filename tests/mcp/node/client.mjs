// An MCP client of the TypeScript SDK, driven line by line: orders on stdin, what happens on stdout, both JSON.
//
//   node client.mjs DIRECTORY KIND URL      DIRECTORY has node_modules; KIND: sse | http | 2026
//
// orders: {"call": N, "name": …, "arguments": …, "progress": true, "timeout": ms} | {"cancel": N} | {"list": N} | {"close": true}

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [directory, kind, url] = process.argv.slice(2);
const require = createRequire(`${directory}/package.json`);

function connection() {
  const about = { name: "k8s-mcp-server-tests", version: "0" };
  if (kind === "2026") {
    const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
    const client = new Client(about, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
    return [client, new StreamableHTTPClientTransport(new URL(url))];
  }
  const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
  const { SSEClientTransport } = require("@modelcontextprotocol/sdk/client/sse.js");
  const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const Transport = kind === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
  return [new Client(about), new Transport(new URL(url))];
}

function say(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

const cancels = new Map();

async function call(client, { call: number, name, arguments: given, progress, timeout }) {
  const abort = new AbortController();
  cancels.set(number, abort);
  const options = timeout === null ? { signal: abort.signal } : { signal: abort.signal, timeout, resetTimeoutOnProgress: true };
  if (progress) {
    options.onprogress = ({ progress: value, message }) => say({ progress: number, value, message, at: Date.now() / 1000 });
  }
  const request = { name, arguments: given };
  // The third argument of version 1 is the second of version 2.
  return kind === "2026" ? client.callTool(request, options) : client.callTool(request, undefined, options);
}

async function carryOut(client, order) {
  const number = order.call ?? order.list;
  try {
    say({ done: number, result: "call" in order ? await call(client, order) : await client.listTools() });
  } catch (error) {
    say({ done: number, failure: { code: error.code ?? null, message: String(error.message) } });
  }
}

const [client, transport] = connection();
await client.connect(transport);
const version = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? transport._protocolVersion;
say({ server: client.getServerVersion(), version });
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if ("cancel" in order) {
    cancels.get(order.cancel).abort("cancelled by the test");
  } else if ("close" in order) {
    break;
  } else {
    carryOut(client, order);
  }
}
await client.close();
process.exit(0);
