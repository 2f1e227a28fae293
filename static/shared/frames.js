// Camera frames to JPEG, off the main thread where the browser can.

import { sentSize } from "./sent_size.js";

const QUALITY = 0.85;
const LOOK_AGAIN_MS = 20;
const WORKER_SILENT_MS = 5_000;

const canUseWorker =
  typeof Worker !== "undefined" && typeof OffscreenCanvas !== "undefined" && "convertToBlob" in OffscreenCanvas.prototype;
const canReadTrack = canUseWorker && typeof MediaStreamTrackProcessor !== "undefined";

/** One JPEG on request: `next()` promises the newest frame of `stream` as a Blob; it rejects after `close()`. */
export class FrameEncoder {
  #video;
  #worker = null;
  #track = null;
  #canvas = null;
  #pending = null;
  #reject = () => {};
  #answers = new Map();
  #nextId = 0;
  #closed = false;

  constructor(stream, video) {
    this.#video = video;
    if (!canUseWorker) {
      this.#workHere();
      return;
    }
    this.#worker = new Worker(new URL("./frame_worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#answered(data);
    this.#worker.onerror = () => this.#workHere(); // older browsers know no module workers
    if (canReadTrack) this.#readTrack(stream.getVideoTracks()[0]);
  }

  next() {
    if (this.#closed) return Promise.reject(new Error("The camera was closed"));
    if (this.#pending) return this.#pending; // everybody who asks meanwhile gets the same frame
    this.#pending = new Promise((resolve, reject) => {
      this.#reject = reject;
      this.#encode().then(resolve, reject);
    }).finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  close() {
    this.#closed = true;
    this.#worker?.terminate();
    this.#track?.stop();
    this.#reject(new Error("The camera was closed"));
  }

  #workHere() {
    this.#canvas = document.createElement("canvas");
    this.#track?.stop();
    this.#track = null;
    for (const { reject } of this.#answers.values()) reject(new Error("The worker did not start"));
    this.#answers.clear();
  }

  #readTrack(track) {
    this.#track = track.clone(); // ours to stop, whatever happens to the one on screen
    const { readable } = new MediaStreamTrackProcessor({ track: this.#track });
    this.#worker.postMessage({ readable }, [readable]);
  }

  async #encode() {
    if (this.#track) {
      const frame = await this.#ask({});
      // Some phones hand out unrotated frames: what is sent must be what is seen.
      const seen = this.#video;
      const rotated = seen.videoWidth > 0 && frame.width > frame.height !== seen.videoWidth > seen.videoHeight;
      if (!rotated || seen.videoWidth === seen.videoHeight) return frame.jpeg;
      this.#track.stop();
      this.#track = null;
    }
    await this.#freshFrame();
    const size = sentSize(this.#video.videoWidth, this.#video.videoHeight);
    if (this.#canvas) return this.#encodeHere(size);
    const bitmap = await createImageBitmap(this.#video);
    return (await this.#ask({ bitmap }, [bitmap])).jpeg;
  }

  // WebKitGTK has requestVideoFrameCallback and never calls it, nor does any browser on a page that is hidden: so the video's
  // own clock is looked at, too.
  #freshFrame() {
    const video = this.#video;
    return new Promise((resolve) => {
      const seenAt = video.currentTime;
      const look = () => {
        if (this.#closed) return;
        if (video.videoWidth > 0 && video.currentTime !== seenAt) resolve();
        else setTimeout(look, LOOK_AGAIN_MS);
      };
      video.requestVideoFrameCallback?.(() => resolve());
      look();
    });
  }

  #encodeHere({ width, height }) {
    Object.assign(this.#canvas, { width, height });
    this.#canvas.getContext("2d").drawImage(this.#video, 0, 0, width, height);
    return new Promise((resolve, reject) => {
      const done = (jpeg) => (jpeg ? resolve(jpeg) : reject(new Error("The browser could not encode the frame")));
      this.#canvas.toBlob(done, "image/jpeg", QUALITY);
    });
  }

  #ask(message, transfer = []) {
    const id = this.#nextId++;
    let silent = 0;
    const answer = new Promise((resolve, reject) => {
      this.#answers.set(id, { resolve, reject });
      this.#worker.postMessage({ id, quality: QUALITY, ...message }, transfer);
      // A worker that cannot do it may say nothing at all.
      silent = setTimeout(() => !this.#closed && this.#workHere(), WORKER_SILENT_MS);
    });
    return answer.finally(() => clearTimeout(silent));
  }

  #answered({ id, error, ...frame }) {
    const answer = this.#answers.get(id);
    this.#answers.delete(id);
    if (error) answer?.reject(new Error(error));
    else answer?.resolve(frame);
  }
}
