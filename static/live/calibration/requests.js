// What the page asks of the server about calibrations, docs/protocol.md. A draft is a capture that is judged and not in force.

import { demand } from "../../shared/server.js";

const JSON_HEADERS = { "Content-Type": "application/json" };

/**
 * Take the next `n` inspected frames of a running stream, `seconds` in all, and judge the threshold they make: changes nothing.
 * Answers `{ judgement, draft }`; `signal` gives it up.
 */
export function capture(stream, { n, seconds, rule, signal }) {
  const query = new URLSearchParams({ n, seconds, ...rule, dry_run: true });
  return demand(`api/streams/${encodeURIComponent(stream)}/calibrate?${query}`, { method: "POST", signal });
}

/** Judge a draft again without the frames of these numbers. */
export function judgeWithout(draft, leftOut) {
  return demand(draftPath(draft), { method: "POST", body: JSON.stringify({ leave_out: leftOut }), headers: JSON_HEADERS });
}

export function applyDraft(draft) {
  return demand(`${draftPath(draft)}/apply`, { method: "POST" });
}

export function discardDraft(draft) {
  return demand(draftPath(draft), { method: "DELETE" });
}

/** Of the recipe that `stream` is inspected with. */
export function undo(stream, when) {
  return demand(`calibration/undo?${new URLSearchParams({ stream, when })}`, { method: "POST" });
}

export function forget(stream) {
  return demand(`calibration?${new URLSearchParams({ stream })}`, { method: "DELETE" });
}

/** Newest first. */
export function history(stream) {
  return demand(`api/calibration/history?${new URLSearchParams({ stream })}`);
}

function draftPath(draft) {
  return `api/calibration/drafts/${encodeURIComponent(draft)}`;
}
