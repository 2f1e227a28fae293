// One stream on the screen of a machine: verdict, picture, parts, yield, recipe, and how old the last verdict is.

import { cameraNotice } from "../shared/pulled_camera.js";
import { inOrder } from "../shared/in_order.js";
import { Screen } from "../shared/screen.js";
import * as server from "../shared/server.js";
import { STALE_AFTER_MS, ago, countsParts, hasPartVerdicts, waitsForPart } from "../shared/verdict.js";
import { write } from "../shared/write.js";
import { yieldWords } from "../shared/yield_words.js";

const STREAMS_EVERY_MS = 2_000;

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

const askStreams = inOrder(server.streams);

let stream; // its entry in the list of streams
let streamsAt = 0;
let recipe; // what it is inspected with
let before = null; // when the last verdict was given that was sent again on connecting, milliseconds of Date

const screen = new Screen({
  path: "panel",
  panel: $("panel"),
  known: (age) => ({
    ...(stream?.is_taught ? { streamState: "teaching" } : {}),
    ...(hasPartVerdicts(stream) ? { part: screen.lastPart, partWaits: waitsForPart(stream, screen.partBefore.part) } : {}),
    trouble: age < STALE_AFTER_MS && screen.last ? "" : (cameraNotice(stream?.camera, performance.now() - streamsAt)?.title ?? ""),
  }),
  repeated: (result) => {
    before = Date.parse(result.at);
    screen.stage.draw(result);
  },
  opened: lookAtStreams,
  changed: lookAtStreams,
  shown: (age) => {
    if (!screen.last) screen.stage.setStale(true);
    showAge(screen.last ? age : before && Math.max(STALE_AFTER_MS, Date.now() - before));
  },
});

// Of a part, the words beside its verdict say when it was: frames come between parts, too.
function showAge(age) {
  write("verdict-age", age === null || hasPartVerdicts(stream) ? "" : age < STALE_AFTER_MS ? "now" : `last verdict ${ago(age)}`);
}

// Only once the connection says that the access code was right.
async function lookAtStreams() {
  if (screen.link?.phase !== "open") return;
  try {
    const streams = await askStreams();
    if (!streams) return; // newer ones are there
    stream = streams.find((one) => one.name === screen.name);
    streamsAt = performance.now();
    if (hasPartVerdicts(stream)) screen.partBefore.look(screen.name);
    if (stream?.recipe && (recipe?.id !== stream.recipe || recipe?.version !== stream.recipe_version)) await lookAtRecipe();
  } catch {
    return; // the next look comes soon
  }
  showFacts();
}

async function lookAtRecipe() {
  recipe = (await server.recipes()).recipes.find(({ id }) => id === stream.recipe);
  screen.stage.showInspected({ region: recipe?.model?.region, regions: recipe?.regions });
}

function showFacts() {
  write("recipe", stream?.recipe_name ? `${stream.recipe_name}, version ${stream.recipe_version}` : "");
  $("parts").hidden = !countsParts(stream);
  if (!countsParts(stream)) return;
  write("parts-count", whole.format(stream.parts));
  write("parts-rejected", whole.format(stream.parts_rejected));
  write("parts-yield", yieldWords(stream.yield));
}

screen.begin();
setInterval(lookAtStreams, STREAMS_EVERY_MS);
