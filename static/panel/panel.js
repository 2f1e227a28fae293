// One stream on the screen of a machine: verdict, picture, parts, yield, recipe, and how old the last verdict is.

import { Stage } from "../shared/stage.js";
import { openViewer } from "../shared/transport.js";
import { STALE_AFTER_MS, VerdictPanel, ago, decide } from "../shared/verdict.js";
import { WakeLock } from "../shared/wake_lock.js";
import { address } from "../shared/address.js";
import { cameraNotice } from "../shared/pulled_camera.js";
import { write } from "../shared/write.js";
import { yieldWords } from "../shared/yield_words.js";
import * as server from "../shared/server.js";

const HEALTH_EVERY_MS = 4_000;
const STREAMS_EVERY_MS = 2_000;
const TICK_MS = 150;

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const name = document.body.dataset.stream;
const framed = window.top !== window.self;
const code = new URLSearchParams(location.search).get("code");
const panel = new VerdictPanel($("panel"), $("spoken"));
const stage = new Stage($("stage"));
const wakeLock = new WakeLock();

let health; // null where no answer came
let link = null;
let streamState = "waiting";
let stream; // its entry in the list of streams
let streamsAt = 0;
let recipe; // what it is inspected with
let last = null; // { result, at }
let before = null; // when the last verdict was given that was sent again on connecting, milliseconds of Date
let frameError = "";

function enter(query) {
  location.replace(`${address("enter")}?${new URLSearchParams({ next: `/panel/${name}`, ...query })}`);
}

function onresult(result) {
  stage.draw(result);
  if (result.repeated) {
    before = Date.parse(result.at); // says nothing of now
    return;
  }
  last = { result, at: performance.now() };
  streamState = "live";
  frameError = "";
  $("simulated").hidden = !result.simulated;
  show();
}

function onstate(state) {
  link = state;
  frameError = "";
  if (state.access === false && !framed) enter({});
  wakeLock.want(state.phase === "open");
  if (state.phase === "open") lookAtStreams();
  show();
}

function show() {
  const age = last ? performance.now() - last.at : 0;
  const state = decide({
    health,
    camera: null,
    link,
    streamState: stream?.is_taught ? "teaching" : streamState,
    streamName: name,
    trouble: age < STALE_AFTER_MS && last ? "" : (cameraNotice(stream?.camera, performance.now() - streamsAt)?.title ?? ""),
    result: last?.result ?? null,
    age,
  });
  panel.show(explained(state));
  stage.setStale(!last || age > STALE_AFTER_MS || state.verdict === "SILENT");
  showAge();
}

function showAge() {
  const age = last ? performance.now() - last.at : before ? Math.max(STALE_AFTER_MS, Date.now() - before) : null;
  write("verdict-age", age === null ? "" : age < STALE_AFTER_MS ? "now" : `last verdict ${ago(age)}`);
}

// What keeps results from coming, where it is known.
function explained(state) {
  if (link?.access === false) {
    const detail = "This screen needs the access code: add ?code=CODE to its address";
    return { verdict: "ERROR", word: "NO ACCESS", detail, stale: false, attention: true };
  }
  if (state.verdict !== "WAITING") return state;
  return { ...state, detail: link?.problem || frameError || state.detail };
}

async function lookAtHealth() {
  try {
    health = await server.health();
  } catch {
    health = null;
  }
  show();
}

// Only once the connection says that the access code was right.
async function lookAtStreams() {
  if (link?.phase !== "open") return;
  try {
    stream = (await server.streams()).find((one) => one.name === name);
    streamsAt = performance.now();
    if (stream?.recipe && (recipe?.id !== stream.recipe || recipe?.version !== stream.recipe_version)) await lookAtRecipe();
  } catch {
    return; // the next look comes soon
  }
  showFacts();
}

async function lookAtRecipe() {
  recipe = (await server.recipes()).recipes.find(({ id }) => id === stream.recipe);
  stage.showInspected({ region: recipe?.model?.region, regions: recipe?.regions });
}

function showFacts() {
  write("recipe", stream?.recipe_name ? `${stream.recipe_name}, version ${stream.recipe_version}` : "");
  $("parts").hidden = stream?.parts === undefined;
  if (stream?.parts === undefined) return;
  write("parts-count", whole.format(stream.parts));
  write("parts-rejected", whole.format(stream.parts_rejected));
  write("parts-yield", yieldWords(stream.yield));
}

function begin() {
  if (code) server.showCode(code);
  openViewer({
    name,
    code,
    onresult,
    onstate,
    onerror: ({ error }) => {
      frameError = error;
    },
    onstatus: ({ state }) => {
      frameError = "";
      streamState = state;
    },
    onchange: () => lookAtStreams(),
  });
  lookAtHealth();
  setInterval(lookAtHealth, HEALTH_EVERY_MS);
  setInterval(lookAtStreams, STREAMS_EVERY_MS);
  setInterval(show, TICK_MS);
}

// A page of its own gets a cookie for the code, and an address without it; in a frame browsers keep none.
if (code && !framed) enter({ code });
else begin();
