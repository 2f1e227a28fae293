// The words in the head of the page that say how the connection is.

import { write } from "../shared/write.js";

export function showConnection({ health, link, watchesCamera }) {
  const state = health === null ? { phase: "reconnecting", words: "The server does not answer" } : (link ?? idle(health, watchesCamera));
  document.getElementById("connection").dataset.state = state.phase;
  write("connection", state.words);
  write("transport", health === null ? "" : (link?.transport ?? ""));
}

// The server answers; there is only nothing to connect yet.
function idle(health, watchesCamera) {
  if (health === undefined) return { phase: "connecting", words: "Connecting" };
  return { phase: "idle", words: watchesCamera ? "Server ready, camera off" : "Server ready" };
}
