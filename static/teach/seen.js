// The picture while parts are shown, with what will be inspected drawn on it.

import { InspectedArea } from "../shared/inspected_area.js";
import { LivePicture } from "../shared/live_picture.js";
import { write } from "../shared/elements.js";

const OLD_AFTER_MS = 3_000;

export class Seen {
  #root;
  #station;
  #area = new InspectedArea();
  #picture;
  #told = "";
  #standsIn = "";

  constructor(root, station) {
    this.#root = root;
    this.#station = station;
    const box = root.querySelector("#teach-picture");
    this.#picture = new LivePicture(box, { onshape: (width, height) => this.#area.shapeTo(width, height) });
    box.querySelector("canvas").after(this.#area.root);
    root.querySelector("#teach-camera").addEventListener("click", () => this.#startCamera());
  }

  show({ id, stream, region, pictures }) {
    const { camera, ownName, streams, watchesCamera } = this.#station;
    if (stream === null) return this.rest();
    const isOwn = stream === ownName;
    const isLive = isOwn && watchesCamera && camera.state === "live";
    if (isLive) this.#picture.showCamera(camera.stream);
    else if (isOwn && (camera.state === "off" || camera.state === "failed")) this.#picture.clear();
    else this.#picture.showAgain(`api/teaching/${encodeURIComponent(id)}/live`); // it is not inspected meanwhile: no result brings its picture
    const latest = pictures.at(-1);
    if (!isLive && latest && this.#picture.age > OLD_AFTER_MS) this.#standIn(latest.picture);
    const shown = JSON.stringify(region);
    if (shown !== this.#told) this.#area.show({ region });
    this.#told = shown;
    this.#area.root.toggleAttribute("hidden", !this.#picture.isShown);
    this.#root.querySelector("#teach-camera").hidden = !isOwn || camera.state === "live" || camera.state === "starting";
    write(this.#root.querySelector("#teach-no-picture"), this.#picture.isShown ? "" : this.#why(isOwn, streams.some(({ name }) => name === stream)));
  }

  /** Why no parts can be seen, one sentence; or "". */
  trouble({ stream, state }) {
    if (stream === null || state !== "showing") return "";
    const { camera, ownName, streams, streamsAt } = this.#station;
    const isOwn = stream === ownName;
    if (isOwn && camera.state === "off") return "This device’s camera is off. What was shown is kept: start it, and go on.";
    if (isOwn && camera.problem) return `${camera.problem.title}. What was shown is kept.`;
    const running = streams.find(({ name }) => name === stream);
    if (!running && streamsAt > 0) return `The stream ${stream} went away. What was shown is kept, and it goes on by itself when it is back.`;
    if (running?.state === "silent") return `The stream ${stream} sends no picture. Check its camera.`;
    return "";
  }

  rest() {
    this.#picture.clear();
  }

  #standIn(path) {
    if (this.#standsIn === path) return;
    this.#standsIn = path;
    this.#picture.standIn(path);
  }

  #startCamera() {
    this.#station.choose("camera");
  }

  #why(isOwn, isRunning) {
    if (isOwn) return this.#station.camera.state === "starting" ? "Starting the camera…" : (this.#station.camera.problem?.title ?? "The camera is off.");
    return isRunning ? "Waiting for the first picture." : "The stream does not run.";
  }
}
