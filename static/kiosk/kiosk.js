// One stream on a whole screen, for people who stand three metres away.

import { inOrder } from "../shared/in_order.js";
import { Screen } from "../shared/screen.js";
import * as server from "../shared/server.js";
import { hasPartVerdicts, waitsForPart } from "../shared/verdict.js";

const STREAMS_EVERY_MS = 2_000;

const askStreams = inOrder(server.streams);

let stream; // its entry in the list of streams

const screen = new Screen({
  path: "kiosk",
  panel: document.getElementById("kiosk"),
  known: () => (hasPartVerdicts(stream) ? { part: screen.lastPart, partWaits: waitsForPart(stream, screen.partBefore.part) } : {}),
  opened: look,
  changed: look,
});

// Only once the connection says that the access code was right.
async function look() {
  if (screen.link?.phase !== "open") return;
  try {
    const streams = await askStreams();
    if (!streams) return; // newer ones are there
    stream = streams.find((one) => one.name === screen.name);
    if (hasPartVerdicts(stream)) await screen.partBefore.look(screen.name);
  } catch {
    // the next look comes soon
  }
}

screen.begin();
setInterval(look, STREAMS_EVERY_MS);
