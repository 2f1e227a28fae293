// Puts the page together: one source at a time flows through transport, stage, verdict, counters and chart.

import { CalibrationCard } from "./calibration/card.js";
import { Camera, explain } from "./camera.js";
import { CameraControls } from "./camera_controls.js";
import { ScoreChart } from "./chart.js";
import { Counters } from "./counters.js";
import { cover, noticeFor, write } from "./covers.js";
import { deviceName } from "./device_name.js";
import { ModelCard } from "./model.js";
import { cameraNotice, sentence } from "./pulled_camera.js";
import * as server from "../shared/server.js";
import { CAMERA, SourceSelect, defaultSource, streamIn } from "./sources.js";
import { Stage } from "../shared/stage.js";
import { openSender, openViewer } from "../shared/transport.js";
import { STALE_AFTER_MS, VerdictPanel, decide } from "../shared/verdict.js";
import { WakeLock } from "../shared/wake_lock.js";

const HEALTH_EVERY_MS = 4_000;
const HEALTH_TEACHING_EVERY_MS = 500;
const HEALTH_AWAY_EVERY_MS = 2_000;
const HEALTH_AFTER_ERROR_MS = 1_000;
const STREAMS_EVERY_MS = 2_000;
const TICK_MS = 150;
const DESCRIBE_EVERY_MS = 10_000;
const SOURCE_KEY = "defectvision.source";

const $ = (id) => document.getElementById(id);
const ownName = deviceName();
const stage = new Stage($("stage"));
const verdict = new VerdictPanel($("verdict"), $("spoken"));
const counters = new Counters(document);
const chart = new ScoreChart($("chart"));
const model = new ModelCard(document);
const wakeLock = new WakeLock();
const camera = new Camera(cameraChanged);
const cameraControls = new CameraControls(camera, () => choose(CAMERA));
const select = new SourceSelect($("source"), choose);
const calibration = new CalibrationCard(document, {
  streamName: () => streamIn(source) ?? ownName,
  onchanged: lookAtHealth,
});

let health = null;
let healthAt = 0; // when it was asked for
let streams = [];
let streamsAt = 0; // when they were asked for
let source = null; // `camera` or `stream:NAME`; null until the server is ready
let connection = null; // a sender or a viewer
let link = null; // its state
let streamState = "live"; // of the watched stream
let last = null; // { result, at }
let frameError = "";

// ---- the source -----------------------------------------------------------------------------------------------------

function choose(next) {
  leave();
  source = next;
  remember(next);
  const name = streamIn(next);
  if (name === null) camera.start();
  else watch(name);
  offerSources();
  render();
}

function leave() {
  calibration.interrupt();
  connection?.close();
  connection = link = last = null;
  streamState = "live";
  frameError = "";
  source = null;
  camera.stop();
  counters.clear();
  chart.clear();
  stage.clear("none");
}

function watch(name) {
  stage.clear("stream");
  streamState = "waiting";
  connection = openViewer({
    name,
    onresult,
    onerror,
    onstate,
    onstatus: ({ state }) => {
      if (state !== "silent" && streamState !== "silent") calibration.interrupt(); // its camera came or went
      frameError = "";
      streamState = state;
      render();
    },
  });
}

function cameraChanged() {
  if (source !== CAMERA) return;
  calibration.interrupt();
  if (camera.state === "live") {
    stage.showCamera(camera.stream);
    if (connection) connection.replaceStream(camera.stream);
    else connection = send(camera.stream);
  } else if (camera.state === "off" || camera.state === "failed") {
    connection?.close();
    connection = link = last = null;
    stage.clear("camera");
  }
  cameraControls.show(source === CAMERA);
  render();
}

function send(stream) {
  const iceServers = health?.ice_servers ?? [];
  return openSender({ name: ownName, stream, video: stage.video, iceServers, onresult, onerror, onstate });
}

// ---- what arrives ---------------------------------------------------------------------------------------------------

function onresult(result) {
  const at = performance.now();
  last = { result, at };
  streamState = "live";
  frameError = "";
  counters.add(result, at);
  chart.add(result, at);
  stage.draw(result);
  calibration.noteResult(result, at);
  calibration.showThreshold(result.threshold, result.threshold_source);
  showVerdict();
  showCaption();
}

function onerror({ error }) {
  frameError = error;
  if (performance.now() - healthAt > HEALTH_AFTER_ERROR_MS) lookAtHealth(); // it may be the server that has trouble
}

function onstate(state) {
  link = state;
  if (state.phase === "closed") link = null;
  if (state.phase !== "open") {
    calibration.interrupt();
    frameError = "";
  }
  render();
}

// ---- what is shown --------------------------------------------------------------------------------------------------

function watchesSimulated() {
  const name = source && streamIn(source);
  return Boolean(name) && (name === health?.simulated_stream || streams.some((s) => s.name === name && s.simulated));
}

/** What is wrong with the camera behind the watched stream, where the server pulls it; null while results come. */
function pulledCameraNotice() {
  if (!source || link?.phase !== "open" || (last && performance.now() - last.at < STALE_AFTER_MS)) return null;
  const watched = streams.find(({ name }) => name === streamIn(source));
  return cameraNotice(watched?.camera, performance.now() - streamsAt);
}

function showCaption() {
  const simulated = watchesSimulated();
  const part = last?.result.simulated;
  $("simulated-label").hidden = !simulated;
  write("caption-source", simulated || !source ? "" : source === CAMERA ? `This device’s camera, sent as ${ownName}` : streamIn(source));
  write("caption-part", part ? `Part ${part.part}` : "");
  write("caption-defect", part ? (part.defect ?? "good part") : "");
}

function showVerdict() {
  const age = last ? performance.now() - last.at : 0;
  const state = decide({
    health,
    camera: source === CAMERA ? camera : null,
    link,
    streamState: source === CAMERA ? "live" : streamState,
    streamName: source && streamIn(source),
    trouble: pulledCameraNotice()?.title ?? "",
    result: last?.result ?? null,
    age,
  });
  verdict.show(frameError && state.verdict === "WAITING" ? { ...state, detail: frameError } : state);
  stage.setStale(Boolean(last) && (age > STALE_AFTER_MS || state.verdict === "SILENT"));
}

function showLink() {
  const state = health === null ? { phase: "reconnecting", words: "The server does not answer" } : link;
  $("connection").dataset.state = state?.phase ?? "closed";
  write("connection", state?.words ?? "Not connected");
  write("transport", health === null ? "" : (link?.transport ?? ""));
}

function showCover() {
  cover({
    teaching: health?.status === "teaching" ? (health.progress ?? 0) : null,
    problem: source === CAMERA ? camera.problem : null,
    notice:
      pulledCameraNotice() ??
      noticeFor({ health, link, source, ownName, cameraOff: camera.state === "off", streamState, hasResult: Boolean(last) }),
  });
}

/** What the operator should know while the picture is to be seen. */
function showAlert() {
  const hung = health?.status === "hung" ? [health.reason] : [];
  const shape = source && link?.phase === "open" ? (shownStream()?.warnings ?? []) : [];
  write("alert", [...hung, ...shape].map(sentence).join("\n"));
}

function showStored() {
  if (!health) return;
  const stream = shownStream();
  calibration.showStored(stream ? stream.calibration : health.calibration, stream, health.calibration !== null);
}

/** What /api/streams says of the stream that is shown. */
function shownStream() {
  const name = (source && streamIn(source)) || ownName;
  return streams.find((stream) => stream.name === name);
}

function render() {
  showVerdict();
  showAlert();
  showLink();
  showCover();
  cameraControls.show(source === CAMERA);
  showCaption();
  calibration.setReady(health?.status === "ok" && link?.phase === "open");
  showStored();
  wakeLock.want(link?.phase === "open");
  if (health) model.show(health, source === CAMERA);
}

// ---- asking the server ----------------------------------------------------------------------------------------------

async function lookAtHealth() {
  healthAt = performance.now();
  try {
    health = await server.health();
  } catch {
    health = null;
  }
  if (health) {
    if (!last) calibration.showThreshold(health.threshold, health.threshold_source); // a result says what holds on its stream
  }
  if (["ok", "hung"].includes(health?.status) && source === null) await begin();
  render();
}

async function begin() {
  await lookAtStreams();
  if (source !== null) return; // the operator was quicker
  const kept = remembered();
  const stays = kept === CAMERA || streams.some(({ name }) => `stream:${name}` === kept);
  const first = stays ? kept : defaultSource(streams, health.simulated_stream);
  if (first === CAMERA && kept !== CAMERA) showIdleCamera();
  else choose(first);
}

// The camera is not switched on before somebody asks for it.
function showIdleCamera() {
  source = CAMERA;
  stage.clear("camera");
  if (!isSecureContext) camera.problem = explain(null);
  offerSources();
}

async function lookAtStreams() {
  try {
    streams = await server.streams();
    streamsAt = performance.now();
  } catch {
    return; // the next look comes soon, and /health already says that the server is away
  }
  if (source) offerSources();
  showAlert();
  showStored();
}

function offerSources() {
  select.offer(streams, health?.simulated_stream ?? null, source ?? CAMERA, camera.state === "off" ? null : ownName);
}

function remember(value) {
  try {
    sessionStorage.setItem(SOURCE_KEY, value);
  } catch {
    // private windows may refuse: a reload then starts with the default
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(SOURCE_KEY);
  } catch {
    return null;
  }
}

async function repeat(step, pauseMs) {
  for (;;) {
    await step();
    await new Promise((resolve) => setTimeout(resolve, pauseMs()));
  }
}

// ---- the operator ---------------------------------------------------------------------------------------------------

$("opacity").addEventListener("input", () => stage.setOpacity($("opacity").value / 100));
$("notice-action").addEventListener("click", () => connection?.retry());

stage.setOpacity($("opacity").value / 100);
repeat(lookAtHealth, () => {
  if (health?.status === "teaching") return HEALTH_TEACHING_EVERY_MS;
  return health?.status === "ok" ? HEALTH_EVERY_MS : HEALTH_AWAY_EVERY_MS;
});
repeat(lookAtStreams, () => STREAMS_EVERY_MS);
setInterval(() => {
  showVerdict();
  if (document.hidden) return;
  const now = performance.now();
  showCover();
  counters.show(now);
  chart.draw(now);
}, TICK_MS);
setInterval(() => $("chart").setAttribute("aria-label", chart.describe()), DESCRIBE_EVERY_MS);
