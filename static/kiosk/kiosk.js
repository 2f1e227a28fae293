// One stream on a whole screen, for people who stand three metres away: nothing here is to be pressed.

import { Stage } from "../shared/stage.js";
import { openViewer } from "../shared/transport.js";
import { STALE_AFTER_MS, VerdictPanel, decide } from "../shared/verdict.js";
import { WakeLock } from "../shared/wake_lock.js";
import { address } from "../shared/address.js";
import * as server from "../shared/server.js";

const HEALTH_EVERY_MS = 4_000;
const TICK_MS = 150;

const $ = (id) => document.getElementById(id);
const name = document.body.dataset.stream;
const framed = window.top !== window.self;
const code = new URLSearchParams(location.search).get("code");
const panel = new VerdictPanel($("kiosk"), $("spoken"));
const stage = new Stage($("stage"));
const wakeLock = new WakeLock();

let health; // null where no answer came
let link = null;
let streamState = "waiting";
let last = null; // { result, at }
let frameError = "";

function enter(query) {
  location.replace(`${address("enter")}?${new URLSearchParams({ next: `/kiosk/${name}`, ...query })}`);
}

function onresult(result) {
  if (result.repeated) return; // the last one of before: it says nothing of now
  last = { result, at: performance.now() };
  streamState = "live";
  frameError = "";
  stage.draw(result);
  $("simulated").hidden = !result.simulated;
  show();
}

function onstate(state) {
  link = state;
  frameError = "";
  if (state.access === false && !framed) enter({});
  wakeLock.want(state.phase === "open");
  show();
}

function show() {
  const age = last ? performance.now() - last.at : 0;
  const state = decide({
    health,
    camera: null,
    link,
    streamState,
    streamName: name,
    trouble: "",
    result: last?.result ?? null,
    age,
  });
  panel.show(explained(state));
  stage.setStale(Boolean(last) && (age > STALE_AFTER_MS || state.verdict === "SILENT"));
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
  setTimeout(lookAtHealth, HEALTH_EVERY_MS);
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
  });
  lookAtHealth();
  setInterval(show, TICK_MS);
}

// A page of its own gets a cookie for the code, and an address without it; in a frame browsers keep none.
if (code && !framed) enter({ code });
else begin();
