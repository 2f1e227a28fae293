// What the page asks of the server about settings and cameras, docs/protocol.md.

import { demand, send } from "../shared/server.js";

const TRIED_WITHIN_MS = 20_000;
const FOUND_WITHIN_MS = 15_000;
const SINK_TRIED_WITHIN_MS = 40_000;

export function settings() {
  return demand("api/settings");
}

/** `{ cameras, room }`. */
export function cameras() {
  return demand("api/cameras");
}

export function add(camera) {
  return send("POST", "api/cameras", camera);
}

export function remove(name) {
  return demand(`api/cameras/${encodeURIComponent(name)}`, { method: "DELETE" });
}

/** `{ cameras }`: those of GigE Vision and USB3 Vision that answer, within some seconds. */
export function lookAround() {
  return demand("api/cameras/found", { signal: AbortSignal.timeout(FOUND_WITHIN_MS) });
}

/** `{ ok, problem, picture, width, height, fps }`, within ten seconds or so. */
export function tryOut(camera) {
  return demand("api/cameras/test", {
    method: "POST",
    body: JSON.stringify(camera),
    headers: { "Content-Type": "application/json" },
    signal: AbortSignal.timeout(TRIED_WITHIN_MS),
    changes: false,
  });
}

/** `{ sinks, kinds, room }`. */
export function sinks() {
  return demand("api/sinks");
}

export function addSink(sink) {
  return send("POST", "api/sinks", sink);
}

export function changeSink(id, change) {
  return send("PATCH", `api/sinks/${encodeURIComponent(id)}`, change);
}

export function removeSink(id) {
  return demand(`api/sinks/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** `{ ok, words }`, within half a minute; of one that is kept by its id, or of one as it is written. */
export function testSink(id, sink) {
  const path = sink ? "api/sinks/test" : `api/sinks/${encodeURIComponent(id)}/test`;
  return send("POST", path, sink ? { ...sink, ...(id ? { id } : {}) } : {}, { signal: AbortSignal.timeout(SINK_TRIED_WITHIN_MS), changes: false });
}
