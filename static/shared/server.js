// The server's HTTP side, docs/protocol.md. Every failure is an Error whose message can be shown to the operator.

import { address, root } from "./address.js";
import { goToLogin } from "./login.js";

const TIMEOUT_MS = 10_000;
const CHANGED_WITHIN_MS = 120_000; // a small or busy computer takes long, and does it though nobody waits any more

let ownHeaders = {};
let forbidden = () => {};

/** Show the access code with each request, on a page that is framed and has no cookies. */
export function showCode(code) {
  ownHeaders = { Authorization: `Bearer ${code}` };
}

/** `listener()` is called when the server says that whoever is logged in may not do something. */
export function onForbidden(listener) {
  forbidden = listener;
}

/** The server gave no answer, or none that came through. */
export class Unreachable extends Error {}

/** The server's answer was a refusal: its `status`, and its words as the message. */
export class Refused extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

// `body` is null where the answer is no JSON, as that of a proxy in between, or was cut short. `options` are those of `fetch`, and whether
// it `changes` something: all but GET does, where nothing is said.
async function ask(path, { changes, ...options } = {}) {
  const isChange = changes ?? (options.method ?? "GET") !== "GET";
  const signal = options.signal ?? AbortSignal.timeout(isChange ? CHANGED_WITHIN_MS : TIMEOUT_MS);
  const giveUp = () => (isChange || options.signal) && giveUpBy(signal, isChange);
  let response;
  try {
    response = await fetch(address(path), { cache: "no-store", ...options, signal, headers: { ...options.headers, ...ownHeaders } });
  } catch {
    giveUp();
    throw new Unreachable("The server does not answer. Check that it runs and that this device is on its network.");
  }
  const body = await response.json().catch(() => null);
  if (body === null) giveUp();
  return { ok: response.ok, status: response.status, body };
}

// Given up here, whether the server answers or not: what it was to change may be changed.
function giveUpBy({ aborted, reason }, isChange) {
  if (!aborted) return;
  if (reason.name !== "TimeoutError") throw reason;
  throw new Error(`The server takes long to answer. ${isChange ? "Look whether what you asked for was done before you try again." : "Try again."}`);
}

/** The body of a good answer to `path`, which is JSON; a refusal is a Refused in the server's words, one that takes too long an Error, anything else Unreachable. */
export async function demand(path, options) {
  const { ok, status, body } = await ask(path, options);
  if (status === 401 && !ownHeaders.Authorization) goToLogin();
  if (status === 403) forbidden();
  if (!ok) throw new Refused(body?.error ?? `The server answered ${status} without a reason. Its log says more.`, status);
  if (body === null) throw new Unreachable("The server’s answer did not come through. Look whether what you asked for was done before you try again.");
  return body;
}

/** As `demand`, with a body of JSON. */
export function send(method, path, body = {}, options = {}) {
  return demand(path, { ...options, method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
}

/** The bytes of a picture as a Blob, all of them; null where none came. `options` are those of `fetch`. */
export async function picture(path, options = {}) {
  const response = await fetch(address(path), { signal: AbortSignal.timeout(TIMEOUT_MS), headers: ownHeaders, ...options }).catch(() => null);
  return response?.status === 200 ? response.blob().catch(() => null) : null;
}

/** The answer of /health, also when it is 503. */
export async function health() {
  const { status, body } = await ask("health");
  if (!body?.status) throw new Error(`The server answered ${status} without a reason. Its log says more.`);
  return body;
}

/**
 * Why no WebSocket comes about, as far as the server can tell from what arrives of this page: `{ problem, access, refusal }`, a
 * sentence or null, whether it knows the access code, and why whoever is here may not have what is `wanted`: `{ watch }` or
 * `{ send }`, a stream's name. Of the last it is null where that one may.
 */
export async function whyNoConnection(wanted) {
  const { ok, body } = await ask(`api/connection?${new URLSearchParams({ page: root, ...wanted })}`);
  return { problem: (ok ? body?.problem : body?.error) ?? null, access: body?.access ?? true, refusal: body?.refusal ?? null };
}

/** The running streams. */
export async function streams() {
  return (await demand("api/streams")).streams;
}

/** All recipes, and which one is the default: `{ recipes, default }`. */
export function recipes() {
  return demand("api/recipes");
}

/** The answer to a WebRTC offer, `{ sdp, type, name }`. Given up by `signal`, it opens no stream any more. */
export function offer(sdp, name, signal) {
  return send("POST", "webrtc/offer", { sdp, type: "offer", name }, { signal });
}
