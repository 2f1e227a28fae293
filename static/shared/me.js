// Who is at this page, and what that one may do: asked once, and again after the server refused something. The document is marked
// with it, and base.css hides what is not for everybody: data-needs="ROLE" is for that role and those above, data-lacks="ROLE" for
// those below (the reason, in words), and a form with data-edits="ROLE" is only read by those below.

import { demand, onForbidden } from "./server.js";
import { goToLogin } from "./login.js";

const AGAIN_AFTER_MS = 2_000; // where no answer came
const NOT_MORE_OFTEN_MS = 3_000;
const ROLES = ["viewer", "operator", "engineer", "admin"];

let known = null;
let askedAt = -Infinity;
let asking = null;
const listeners = new Set();

onForbidden(() => lookAtMe());

/** The last answer of /api/me; null before the first. */
export function me() {
  return known;
}

/** Whether that role's things are offered. Before anything is known, and where no answer comes, all are: the server refuses by itself. */
export function may(role) {
  return known === null || known.may.includes(role);
}

/** The one stream of a phone that was paired; null on any other page. */
export function pairedStream() {
  return known?.how === "device" ? (known.streams?.[0] ?? null) : null;
}

/** Call `listener` now, where it is known already, and whenever it changes. */
export function onMe(listener) {
  listeners.add(listener);
  if (known) listener(known);
}

/** Ask who it is; not more often than every few seconds, whoever calls. */
export function lookAtMe() {
  if (asking === null && performance.now() - askedAt > NOT_MORE_OFTEN_MS) {
    askedAt = performance.now();
    asking = look().finally(() => (asking = null));
  }
  return asking ?? Promise.resolve();
}

async function look() {
  let answer;
  try {
    answer = await demand("api/me");
  } catch (error) {
    if (error.status === undefined || error.status >= 500) setTimeout(() => lookAtMe(), AGAIN_AFTER_MS);
    askedAt = -Infinity;
    return;
  }
  if (answer.how === "nobody") return goToLogin();
  const before = JSON.stringify(known);
  known = answer;
  if (JSON.stringify(answer) === before) return;
  mark();
  for (const listener of listeners) listener(known);
}

function mark() {
  document.documentElement.dataset.may = known.may.join(" ");
  document.documentElement.dataset.how = known.how;
  for (const form of document.querySelectorAll("form[data-edits]")) readOnly(form, !may(form.dataset.edits));
}

// Its values stay to be read, also by a screen reader.
function readOnly(form, isRead) {
  if ((form.dataset.read === "true") === isRead) return;
  form.dataset.read = String(isRead);
  for (const field of form.querySelectorAll("input, select, button:not([type=submit], [type=reset])")) field.disabled = isRead;
}

/** `an engineer`, as a sentence has it. */
export function withArticle(role) {
  return `${["engineer", "admin", "operator"].includes(role) ? "an" : "a"} ${role}`;
}

/** The roles, the least first. */
export { ROLES };
