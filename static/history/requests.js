// What the page asks of the server about the history, docs/history.md.

import { demand, send } from "../shared/server.js";

const PAGE = 48;
const TEACH_MS = 300_000; // each picture is looked at

/** A page of entries: `{ entries, next }`; `filters` as the server names them. */
export function entries(filters, before = null) {
  return demand(`api/history?${new URLSearchParams({ ...filters, limit: PAGE, ...(before !== null && { before }) })}`);
}

/** `{ count, exact }`. */
export function count(filters) {
  return demand(`api/history/count?${new URLSearchParams(filters)}`);
}

/** `{ entry, said }`. */
export function entry(id) {
  return demand(pathOf(id));
}

/** Say what an entry was; null takes it back. Refused (409) where not `seen` is what was said of it. Answers the entry. */
export function dispose(id, disposition, seen) {
  return send("POST", `${pathOf(id)}/disposition`, { disposition, seen });
}

/** The archived picture as a frame of which something can be said: see KeptFrameBody. */
export function frame(id) {
  return demand(`${pathOf(id)}/frame`);
}

/** Show pictures to a teaching: `{ ids, teaching }`, `{ ids, name }` or `{ ids, more_of }`. Answers the teaching. */
export function teachFrom(wanted) {
  return send("POST", "api/history/teach", wanted, { signal: AbortSignal.timeout(TEACH_MS) });
}

/** How the archive of pictures is doing. */
export function archive() {
  return demand("api/archive");
}

/** How the history itself is doing. */
export function state() {
  return demand("api/history/state");
}

export function numbers(asked) {
  return demand(`api/numbers?${new URLSearchParams(asked)}`);
}

function pathOf(id) {
  return `api/history/${encodeURIComponent(id)}`;
}
