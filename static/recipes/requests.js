// What the page asks of the server about recipes and corrections, docs/protocol.md.

import { address } from "../shared/address.js";
import { demand, send } from "../shared/server.js";

const UPLOAD_MS = 120_000;

/** `{ recipes, default }`. */
export function recipes() {
  return demand("api/recipes");
}

export function recipe(id) {
  return demand(pathOf(id));
}

/** How the gate looks in a kept frame of a stream: `{ gate, empty }` for the recipe's `parts`. */
export function lookAtGate(stream, gate, frame) {
  return send("POST", `api/streams/${encodeURIComponent(stream)}/gate`, { gate, frame });
}

/** Change what is given of a recipe; `version` is the one that was changed. */
export function change(id, version, what, why = "") {
  return send("PATCH", pathOf(id), { version, ...what, why });
}

export function remove({ id, version }) {
  return demand(`${pathOf(id)}?version=${version}`, { method: "DELETE" });
}

export function copy(id, name) {
  return send("POST", `${pathOf(id)}/copy`, { name });
}

/** Go back to what version `to` was. */
export function restore({ id, version }, to) {
  return send("POST", `${pathOf(id)}/restore`, { version, to });
}

/** Take back a threshold that was put by hand, and nothing else. */
export function takeHandAway(recipe) {
  const { version, rule } = recipe.by_hand;
  return version === null ? change(recipe.id, recipe.version, { rule }, "back from a threshold put by hand") : restore(recipe, version);
}

/** Its changes, newest first. */
export function history(id) {
  return demand(`${pathOf(id)}/history`);
}

/** Where its file is fetched. */
export function fileAddress(id) {
  return address(`${pathOf(id)}/file`);
}

/** A recipe out of a file. */
export function bringIn(file) {
  const body = new FormData();
  body.append("file", file);
  return demand("api/recipes", { method: "POST", body, signal: AbortSignal.timeout(UPLOAD_MS) });
}

/** Inspect a stream with a recipe; null: the default one. */
export function choose(stream, recipe) {
  return send("POST", `api/streams/${encodeURIComponent(stream)}/recipe`, { recipe });
}

export function makeDefault(recipe) {
  return send("POST", "api/recipes/default", { recipe });
}

/** Where one of the pictures is that it was taught on. */
export function taughtPicture(id) {
  return `${pathOf(id)}/picture`;
}

/** `{ corrections, entries, most_entries }`. */
export function corrections(id) {
  return demand(`${pathOf(id)}/corrections`);
}

export function undoCorrection({ id, version }, correction) {
  return demand(`${pathOf(id)}/corrections/${encodeURIComponent(correction)}?version=${version}`, { method: "DELETE" });
}

/** Kept frames of a stream, newest first; `kind` is alarm or recent. */
export async function frames(stream, kind) {
  return (await demand(`api/streams/${encodeURIComponent(stream)}/frames?kind=${kind}`)).frames;
}

function pathOf(id) {
  return `api/recipes/${encodeURIComponent(id)}`;
}
