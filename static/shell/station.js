// This device at the line: what the server says, what is watched here, and this device's camera. There is one, whatever view is
// shown, so the camera goes on sending while somebody walks through the views. Every view gets it.

import { CAMERA, defaultSource, streamIn } from "./sources.js";
import { Camera, explain } from "./camera.js";
import { Listeners } from "./listeners.js";
import { deviceName, keepDeviceName } from "./device_name.js";
import * as server from "../shared/server.js";
import { inOrder } from "../shared/in_order.js";
import { goToLogin } from "../shared/login.js";
import { lookAtMe, may, onMe, pairedStream } from "../shared/me.js";
import { PartsHeard } from "../shared/parts_heard.js";
import { openSender, openViewer } from "../shared/transport.js";
import { WakeLock } from "../shared/wake_lock.js";

const HEALTH_EVERY_MS = 4_000;
const HEALTH_TEACHING_EVERY_MS = 500;
const HEALTH_AWAY_EVERY_MS = 2_000;
const HEALTH_AFTER_ERROR_MS = 1_000;
const STREAMS_EVERY_MS = 2_000;
const RECIPES_EVERY_MS = 15_000; // changes are heard of, too
const SOURCE_KEY = "defectvision.source";

/**
 * To read:
 *   health        the last answer of /health; null while the server does not answer, undefined before the first answer
 *   streams       the running streams, as /api/streams lists them; `streamsAt`: when they were asked for (performance.now())
 *   source        `camera`, `stream:NAME`, or null until the server is ready
 *   streamName    of what is watched: the stream's name, or this device's
 *   stream        its entry in `streams`, or undefined
 *   ownName       under which this device's camera is sent
 *   camera        this device's camera: `state`, `stream` (a MediaStream), `problem`, `switch()` and so on
 *   link          the state of the connection, `{ phase, words, transport }`; null where there is none
 *   streamState   of the watched stream: live, silent, waiting or teaching
 *   last          the last result, `{ result, at }`; null before the first
 *   repeated      the result that was sent again on connecting, `{ result, at }`: an old one, as long as `last` is null
 *   lastPart      the last verdict on a whole part, `{ part, at, unheard }` as PartsHeard has it; null before the first
 *   verdictAge    how long ago the last verdict on what is watched was given, milliseconds; null where there was none
 *   recipes       all recipes, as /api/recipes lists them; null while that is not known
 *   recipe        of them, the one that what is watched is inspected with; undefined where that is not known
 *   frameError    why the last frame could not be inspected; "" once one could
 *
 * To do: `choose(source)`, `rename(name)`, `stopCamera()`, `retry()`, `lookAtHealth()`, `lookAtStreams()`, `lookAtRecipes()`.
 *
 * To hear: `on(kind, listener)`, which returns a function that ends it. Kinds:
 *   result   (result, at)   one inspected frame of what is watched; those of streams bring their picture
 *   repeated (result)       the last one of before, sent again on connecting
 *   change   (change)       threshold, recipe or model changed for what is watched, docs/protocol.md
 *   part     (part)         one part has its verdict, docs/protocol.md
 *   left                    what was watched is given up; what was shown of it is of no use any more
 *   source                  another source is watched
 *   camera                  this device's camera came, went or failed
 *   interrupted             frames of before and after do not belong together
 *   streams, recipes        the list was asked for anew
 *   state                   anything else of the above changed
 */
export class Station {
  health = undefined;
  streams = [];
  recipes = null;
  heartbeat = null;
  repeated = null;
  streamsAt = 0;
  source = null;
  link = null;
  streamState = "live";
  last = null;
  frameError = "";
  ownName = deviceName();
  camera = new Camera(() => this.#cameraChanged());
  #video;
  #connection = null; // a sender or a viewer
  #healthAt = 0; // when it was asked for
  #idleByItself = false; // there was nothing to watch, and nobody has chosen anything
  #recipesInForce = "";
  #recipeTold = null; // { id, at }: by the last result, or a change since
  #parts = new PartsHeard();
  #listeners = new Listeners();
  #wakeLock = new WakeLock();
  #askStreams = inOrder(server.streams);
  #askRecipes = inOrder(server.recipes);

  /** `video` is an element of the page that always shows this device's camera: where it goes on playing, frames go on being sent. */
  constructor(video) {
    this.#video = video;
  }

  /** Ask the server what there is, again and again. */
  start() {
    onMe(() => this.#heardMe());
    repeat(() => this.lookAtHealth(), () => this.#healthPause());
    repeat(() => this.lookAtStreams(), () => STREAMS_EVERY_MS);
    repeat(() => this.lookAtRecipes(), () => RECIPES_EVERY_MS);
  }

  on(kind, listener) {
    return this.#listeners.on(kind, listener);
  }

  get streamName() {
    return streamIn(this.source) ?? this.ownName;
  }

  get stream() {
    return this.streams.find(({ name }) => name === this.streamName);
  }

  get recipe() {
    const listed = this.stream?.recipe ?? this.repeated?.result.recipe;
    const isTold = this.#recipeTold && (!listed || this.#recipeTold.at >= this.streamsAt);
    const id = isTold ? this.#recipeTold.id : listed; // a camera that waits for its trigger has given no result by another yet
    return this.recipes?.find((recipe) => recipe.id === id);
  }

  get lastPart() {
    return this.#parts.last;
  }

  get verdictAge() {
    if (this.last) return performance.now() - this.last.at;
    if (this.heartbeat?.age_s != null) return this.heartbeat.age_s * 1000 + performance.now() - this.heartbeat.heardAt;
    const at = this.repeated?.result.at ?? this.stream?.last_verdict_at;
    return at ? Math.max(0, Date.now() - Date.parse(at)) : null;
  }

  get watchesCamera() {
    return this.source === CAMERA;
  }

  /** Whether what is watched is rendered by code. */
  get watchesSimulated() {
    const name = streamIn(this.source);
    return Boolean(name) && (name === this.health?.simulated_stream || Boolean(this.stream?.simulated));
  }

  choose(next) {
    this.#leave();
    this.source = next;
    remember(next);
    const name = streamIn(next);
    this.#listeners.tell("source");
    if (name === null) this.camera.start();
    else this.#watch(name);
    this.#changed();
  }

  /** Send this device's camera under another name, from now on. */
  rename(name) {
    keepDeviceName(name);
    this.#sendAs(name);
  }

  stopCamera() {
    this.camera.stop();
  }

  /** Come back after another device took over, or the server refused. */
  retry() {
    this.#connection?.retry();
  }

  async lookAtHealth() {
    this.#healthAt = performance.now();
    try {
      this.health = await server.health();
    } catch {
      this.health = null;
    }
    if (["ok", "hung"].includes(this.health?.status) && this.source === null) await this.#begin();
    this.#changed();
  }

  async lookAtStreams() {
    const askedAt = performance.now();
    try {
      const streams = await this.#askStreams();
      if (!streams) return; // newer ones are there
      this.streams = streams;
      this.streamsAt = askedAt;
    } catch {
      return; // the next look comes soon, and /health already says that the server is away
    }
    this.#listeners.tell("streams");
    if (this.health && this.#idleByItself && this.streams.length > 0) this.choose(defaultSource(this.streams, this.health.simulated_stream));
    const inForce = JSON.stringify(this.streams.map(({ name, recipe, recipe_version: version }) => [name, recipe, version]));
    if (inForce !== this.#recipesInForce) this.lookAtRecipes();
    this.#recipesInForce = inForce;
  }

  async lookAtRecipes() {
    if (pairedStream() || !this.streams.some(({ recipe }) => recipe)) return;
    try {
      const answer = await this.#askRecipes();
      if (!answer) return;
      this.recipes = answer.recipes;
    } catch {
      return; // what was known still holds, as far as one knows
    }
    this.#listeners.tell("recipes");
  }

  #healthPause() {
    if (this.health?.status === "teaching") return HEALTH_TEACHING_EVERY_MS;
    return this.health?.status === "ok" ? HEALTH_EVERY_MS : HEALTH_AWAY_EVERY_MS;
  }

  async #begin() {
    await this.lookAtStreams();
    if (this.source !== null) return; // the operator was quicker
    const kept = remembered();
    const stays = (kept === CAMERA && may("operator")) || this.streams.some(({ name }) => `stream:${name}` === kept);
    const first = stays ? kept : pairedStream() ? CAMERA : defaultSource(this.streams, this.health.simulated_stream);
    if (first === CAMERA && !may("operator")) return; // there is nothing to watch yet
    if (first === CAMERA && kept !== CAMERA) this.#showIdleCamera();
    else this.choose(first);
  }

  // The camera is not switched on before somebody asks for it.
  #showIdleCamera() {
    this.source = CAMERA;
    this.#idleByItself = pairedStream() === null; // its one stream is this very camera
    if (!isSecureContext) this.camera.problem = explain(null);
    this.#listeners.tell("source");
  }

  // A paired phone sends under its one stream's name; whoever may only watch sends nothing.
  #heardMe() {
    const name = pairedStream();
    if (name && name !== this.ownName) this.#sendAs(name);
    if (!may("operator") && this.watchesCamera) {
      this.#leave();
      this.#changed();
    }
  }

  #sendAs(name) {
    const sends = this.watchesCamera && this.#connection;
    if (sends) this.#hangUp();
    this.ownName = name;
    if (sends) {
      this.#listeners.tell("left");
      this.#connection = this.#send(this.camera.stream);
      this.#listeners.tell("source");
    }
    this.#changed();
  }

  #leave() {
    this.#hangUp();
    this.source = null;
    this.#idleByItself = false;
    this.camera.stop();
    this.#listeners.tell("left");
  }

  /** What was heard is of no stream that is watched from now on. */
  #hangUp() {
    this.#listeners.tell("interrupted");
    this.#connection?.close();
    this.#connection = this.link = null;
    this.#forget();
    this.streamState = "live";
    this.frameError = "";
  }

  #forget() {
    this.last = this.repeated = this.heartbeat = this.#recipeTold = null;
    this.#parts.forget();
  }

  #watch(name) {
    this.streamState = "waiting";
    this.#connection = openViewer({ name, ...this.#handlers() });
  }

  #cameraChanged() {
    if (!this.watchesCamera) return;
    this.#listeners.tell("interrupted");
    this.#video.srcObject = this.camera.stream;
    if (this.camera.state === "live") {
      this.#video.play().catch(() => {}); // without a gesture some browsers wait for one; autoplay then starts it
      if (this.#connection) this.#connection.replaceStream(this.camera.stream);
      else this.#connection = this.#send(this.camera.stream);
    } else if (this.camera.state === "off" || this.camera.state === "failed") {
      this.#connection?.close();
      this.#connection = this.link = null;
      this.#forget();
    }
    this.#listeners.tell("camera");
    this.#changed();
  }

  #send(stream) {
    const iceServers = this.health?.ice_servers ?? [];
    return openSender({ name: this.ownName, stream, video: this.#video, iceServers, ...this.#handlers() });
  }

  #handlers() {
    return {
      onresult: (result) => this.#heardResult(result),
      onerror: ({ error }) => this.#heardError(error),
      onstate: (state) => this.#heardState(state),
      onchange: (change) => this.#heardChange(change),
      onheartbeat: (heartbeat) => {
        this.heartbeat = { ...heartbeat, heardAt: performance.now() };
      },
      onstatus: (status) => this.#heardStatus(status),
      onpart: (part) => {
        this.#parts.hear(part);
        this.#listeners.tell("part", part);
      },
    };
  }

  #heardStatus({ state }) {
    if (state !== "silent" && this.streamState !== "silent") this.#listeners.tell("interrupted"); // its camera came or went
    this.frameError = "";
    this.streamState = state;
    this.#changed();
  }

  #heardResult(result) {
    const at = performance.now();
    if (result.repeated) {
      this.repeated = { result, at }; // says nothing of now
      this.#listeners.tell("repeated", result);
      return;
    }
    this.last = { result, at };
    this.#tellRecipe(result.recipe, at);
    this.#parts.see(result.part_number);
    this.streamState = "live";
    this.frameError = "";
    this.#listeners.tell("result", result, at);
  }

  #tellRecipe(id, at) {
    if (id) this.#recipeTold = { id, at };
  }

  #heardChange(change) {
    this.#tellRecipe(change.recipe, performance.now());
    this.#parts.forget();
    this.#listeners.tell("change", change);
    this.lookAtRecipes();
    this.lookAtStreams();
  }

  #heardError(error) {
    this.frameError = error;
    if (performance.now() - this.#healthAt > HEALTH_AFTER_ERROR_MS) this.lookAtHealth(); // it may be the server that has trouble
  }

  #heardState(state) {
    this.link = state.phase === "closed" ? null : state;
    if (state.access === false) goToLogin();
    if (state.forbidden) lookAtMe();
    if (state.phase !== "open") {
      this.#parts.forget();
      this.#listeners.tell("interrupted");
      this.frameError = "";
    }
    this.#changed();
  }

  #changed() {
    this.#wakeLock.want(this.link?.phase === "open");
    this.#listeners.tell("state");
  }
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
    try {
      await step();
    } catch (error) {
      console.error(error); // a fault in one look: the next one still comes
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs()));
  }
}
