// What the page asks of the server while a part is taught, docs/protocol.md.

import { demand, send } from "../shared/server.js";

const UPLOAD_MS = 300_000;
const TAKEN_WITHIN_MS = 20_000; // a press waits for a good frame, up to 12 s

/** Those that are open. */
export async function teachings() {
  return (await demand("api/teaching")).teachings;
}

/** `wanted` is `{ name, stream, more_of, auto, preset }`. */
export function begin(wanted) {
  return send("POST", "api/teaching", wanted);
}

export function teaching(id) {
  return demand(pathOf(id));
}

export function change(id, what) {
  return send("PATCH", pathOf(id), what);
}

/** Take the next good frame. */
export function take(id) {
  return demand(`${pathOf(id)}/take`, { method: "POST", signal: AbortSignal.timeout(TAKEN_WITHIN_MS) });
}

/** Bring pictures, or one ZIP of them. */
export function bring(id, files) {
  const body = new FormData();
  for (const file of files) body.append("files", file);
  return demand(`${pathOf(id)}/pictures`, { method: "POST", body, signal: AbortSignal.timeout(UPLOAD_MS) });
}

/** Whether a picture is used. */
export function use(id, number, keep) {
  return send("POST", `${pathOf(id)}/pictures/${number}`, { keep });
}

export function done(id) {
  return demand(`${pathOf(id)}/done`, { method: "POST" });
}

export function cancel(id) {
  return demand(pathOf(id), { method: "DELETE" });
}

function pathOf(id) {
  return `api/teaching/${encodeURIComponent(id)}`;
}
