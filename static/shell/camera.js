// This device's camera: open it, keep it through locking and rotation, say in plain words what is in the way.

import { keep, kept } from "./kept.js";

const KEY = "defectvision.camera";
const WANTED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30, max: 30 } };
const RETRY_MS = 2_000;
const NOT_ALLOWED = ["NotAllowedError", "SecurityError"];
const CANNOT_BE_OPENED = ["NotReadableError", "AbortError", "OverconstrainedError"]; // this one; another one may

const LOST = {
  title: "The camera went away",
  steps: ["It is started again by itself as soon as it is back.", "If it was unplugged, plug it in again.", "To go on with another one, press Stop camera, then Start camera."],
};

/** `{ title, steps }` for an error of getUserMedia, or for a page that may not use cameras at all. */
export function explain(error, { secure = isSecureContext, agent = navigator.userAgent } = {}) {
  if (!secure) {
    return {
      title: "Cameras need a secure page",
      steps: [
        "This page came over plain http. On a phone or tablet, open the https:// address of this server.",
        "If it has none yet, ask whoever runs it to turn HTTPS on.",
        "The browser may warn about the certificate once: continue if you know this server.",
        "On the server itself, http://localhost works too.",
      ],
    };
  }
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return { title: "The camera is not allowed here", steps: [...stepsToAllow(agent), "Then press Start camera."] };
    case "NotFoundError":
    case "DevicesNotFoundError":
    case "OverconstrainedError": // WebKit's word for it; what is asked for here is only a wish
      return {
        title: "No camera found",
        steps: ["Plug in a camera, or open this page on a phone or tablet.", "It is started by itself once one is there."],
      };
    case "NotReadableError":
    case "AbortError":
      return {
        title: "The camera is busy",
        steps: ["Close other programs and tabs that use the camera.", "Then press Start camera."],
      };
    default:
      return {
        title: "The camera did not start",
        steps: [`The browser says: ${error?.message || error?.name || "no reason"}.`, "Press Start camera to try again."],
      };
  }
}

function stepsToAllow(agent) {
  if (/iPhone|iPad/.test(agent) || (/Macintosh/.test(agent) && navigator.maxTouchPoints > 1)) {
    return ["Tap the page menu left of the address (AA or ⋯), then Website Settings.", "Set Camera to Allow."];
  }
  if (/Android/.test(agent) && /Firefox/.test(agent)) return ["Tap the lock left of the address.", "Clear the blocked camera permission."];
  if (/Android/.test(agent)) return ["Tap the icon left of the address, then Permissions.", "Set Camera to Allow."];
  if (/Firefox/.test(agent)) return ["Click the crossed-out camera in the address bar.", "Remove Blocked, and allow the camera when asked."];
  if (/Safari/.test(agent) && !/Chrome|Chromium|Edg/.test(agent)) {
    return ["Open the Safari menu, then Settings for this website.", "Set Camera to Allow."];
  }
  return ["Click the icon left of the address.", "Set Camera to Allow."];
}

/** `onchange(camera)` is called whenever `state` (off, starting, live, lost, failed), `stream` or `problem` changed. */
export class Camera {
  state = "off";
  stream = null;
  problem = null;
  #deviceId = kept(KEY); // of the one that was opened last, or, before any was, switched to at an earlier visit
  #devices = [];
  #onchange;
  #timer = 0;
  #turn = 0; // a late answer of an earlier start is thrown away
  #isTrying = false; // whether the one that went away is back

  constructor(onchange) {
    this.#onchange = onchange;
    document.addEventListener("visibilitychange", () => this.#comeBack());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#comeBack());
  }

  get canSwitch() {
    return this.state === "live" && this.#devices.length > 1;
  }

  get hasTorch() {
    return Boolean(this.#capabilities.torch);
  }

  /** `{ min, max, step }`, or null where the camera has no zoom. */
  get zoomRange() {
    const { zoom } = this.#capabilities;
    return zoom && zoom.max > zoom.min ? zoom : null;
  }

  get zoom() {
    return this.#track?.getSettings().zoom ?? 1;
  }

  start() {
    // One of an earlier visit may be in use elsewhere for good: then the browser chooses, as at a first visit.
    return this.#start(this.#devices.length > 0 ? [this.#deviceId] : [...new Set([this.#deviceId, null])]);
  }

  // The first of these devices that opens; null: the browser chooses.
  async #start(deviceIds) {
    const turn = this.#begin();
    this.#release();
    this.#become("starting");
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new Error("this browser offers no camera");
      await this.#take(await this.#open(deviceIds), turn);
    } catch (error) {
      if (turn === this.#turn) this.#become("failed", explain(error));
    }
  }

  stop() {
    this.#begin();
    this.#release();
    this.#become("off");
  }

  #begin() {
    clearTimeout(this.#timer);
    this.#isTrying = false;
    return ++this.#turn;
  }

  async #take(stream, turn) {
    if (turn !== this.#turn) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    this.stream = stream;
    this.#deviceId = this.#track.getSettings().deviceId ?? null;
    this.#track.addEventListener("ended", () => turn === this.#turn && this.#lost());
    const devices = await navigator.mediaDevices.enumerateDevices();
    this.#devices = devices.filter(({ kind }) => kind === "videoinput");
    if (turn === this.#turn) this.#become("live");
  }

  /** On to the next camera of this device that opens: one lens may be of no use to a page, or in use elsewhere. */
  async switch() {
    const ids = this.#devices.map(({ deviceId }) => deviceId);
    const next = ids.indexOf(this.#deviceId) + 1;
    await this.#start([...ids.slice(next), ...ids.slice(0, next)]);
    if (this.state === "live" && this.#deviceId) keep(KEY, this.#deviceId);
  }

  setTorch(on) {
    return this.#track.applyConstraints({ advanced: [{ torch: on }] });
  }

  setZoom(zoom) {
    return this.#track.applyConstraints({ advanced: [{ zoom }] });
  }

  get #track() {
    return this.stream?.getVideoTracks()[0];
  }

  get #capabilities() {
    return this.#track?.getCapabilities?.() ?? {};
  }

  async #open([deviceId, ...others]) {
    try {
      return await this.#openOnly(deviceId);
    } catch (error) {
      if (others.length > 0 && CANNOT_BE_OPENED.includes(error.name)) return this.#open(others);
      if (error.name !== "OverconstrainedError") throw error;
      if (!deviceId) return navigator.mediaDevices.getUserMedia({ video: true, audio: false });
      return this.#open([null]); // the chosen camera is gone: whoever asks for one sees another
    }
  }

  #openOnly(deviceId) {
    const chosen = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: "environment" } };
    return navigator.mediaDevices.getUserMedia({ video: { ...WANTED, ...chosen }, audio: false });
  }

  #release() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }

  #become(state, problem = null) {
    this.state = state;
    this.problem = problem;
    this.#onchange(this);
  }

  // Unplugged, or taken away while the phone was locked.
  #lost() {
    this.#release();
    if (this.state !== "lost") this.#become("lost", LOST);
    this.#timer = setTimeout(() => this.#comeBack(), RETRY_MS);
  }

  #comeBack() {
    if (document.visibilityState !== "visible") return;
    const gone = this.state === "live" && (this.#track.readyState === "ended" || this.#track.muted);
    const noneThere = this.state === "failed" && this.problem.title === "No camera found";
    if (noneThere) this.start();
    else if (gone || (this.state === "lost" && !this.#isTrying)) this.#tryAgain();
  }

  // That one only: what another one sees would be inspected under this one's name, and nobody asked for it.
  async #tryAgain() {
    const turn = this.#begin();
    this.#isTrying = true;
    this.#release();
    if (this.state !== "lost") this.#become("starting");
    try {
      await this.#take(await this.#openOnly(this.#deviceId), turn);
    } catch (error) {
      if (turn !== this.#turn) return;
      if (NOT_ALLOWED.includes(error.name)) this.#become("failed", explain(error)); // the browser would ask again and again
      else this.#lost();
    } finally {
      if (turn === this.#turn) this.#isTrying = false;
    }
  }
}
