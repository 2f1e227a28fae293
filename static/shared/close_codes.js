// What a close code means, whether it came with a WebSocket's close or in a goodbye, and when to come back.

import { sentence } from "./sentence.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;

// Closes after which coming back by itself would only repeat the problem.
const FINAL_CLOSES = {
  1008: { phase: "refused", words: "The server refused this connection" },
  1009: { phase: "refused", words: "A frame was larger than the server accepts" },
  4401: { phase: "refused", words: "You are no longer logged in here", access: false },
  4403: { phase: "refused", words: "You may not use this stream", forbidden: true },
  4001: { phase: "replaced", words: "Another device took over this stream name" },
};

/** Milliseconds before attempt number `attempt` (from 0): 0.5 s doubling to 10 s, minus up to half by chance. */
export function backoff(attempt, random = Math.random()) {
  const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return delay * (1 - random / 2);
}

/**
 * The state `{ phase, words }` to stay in after a close, or null where coming back is right. `access` is false where nobody is
 * logged in here any more, `forbidden` true where whoever is may not have this.
 */
export function finalState({ code, reason }) {
  const final = FINAL_CLOSES[code];
  if (!final) return null;
  if (code === 4401 || code === 4403) return { ...final, words: sentence(reason) || final.words };
  return { ...final, words: reason && final.phase === "refused" ? `${final.words}: ${reason}` : final.words };
}

/** The state to show during the `delay` (milliseconds) before coming back after a close. */
export function waitingState({ code }, delay) {
  const cause = code === 1012 ? "The server is restarting" : "Connection lost";
  return { phase: "reconnecting", words: `${cause}, trying again in ${Math.max(1, Math.round(delay / 1000))} s` };
}
