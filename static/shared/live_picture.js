// One live picture outside of the Live page: of this device's camera or of a running stream; until it comes, a still one.

import { bytesOf } from "./base64.js";
import { element } from "./elements.js";
import { picture } from "./server.js";
import { openViewer } from "./transport.js";

const AGAIN_MS = 250;
const AGAIN_AFTER_FAILURE_MS = 1_500;
const ANSWERS_WITHIN_MS = 5_000;

/**
 * Shows in `box`, which takes the picture's shape (its `aspect-ratio`). `onshape(width, height)` is called when that changed,
 * `onpicture()` with each new picture.
 */
export class LivePicture {
  #box;
  #onshape;
  #onpicture;
  #video = element("video", { muted: true, playsInline: true, autoplay: true, hidden: true, "aria-label": "Picture of this device’s camera" });
  #canvas = element("canvas", { role: "img", "aria-label": "Picture of the stream", hidden: true, width: 4, height: 3 });
  #shown = ""; // what is asked for
  #viewer = null;
  #next = null;
  #decoding = false;
  #shape = "";
  #at = -Infinity;

  constructor(box, { onshape = () => {}, onpicture = () => {} } = {}) {
    this.#box = box;
    this.#onshape = onshape;
    this.#onpicture = onpicture;
    this.#video.addEventListener("resize", () => this.#become(this.#video.videoWidth, this.#video.videoHeight));
    box.prepend(this.#video, this.#canvas);
  }

  /** Milliseconds since the last picture; of a camera that is shown, 0. */
  get age() {
    return this.#shown.startsWith("camera") ? 0 : performance.now() - this.#at;
  }

  get isShown() {
    return this.#shape !== "";
  }

  /** Show a MediaStream of this device. */
  showCamera(stream) {
    if (!this.#turnTo(`camera ${stream.id}`)) return;
    this.#video.hidden = false;
    this.#video.srcObject = stream;
    this.#video.play().catch(() => {}); // without a gesture some browsers wait for one; autoplay then starts it
  }

  /** Show a running stream by its name. */
  showStream(name) {
    if (!this.#turnTo(`stream ${name}`)) return;
    const onmessage = ({ picture }) => picture && this.#take(new Blob([bytesOf(picture.data)], { type: "image/jpeg" }));
    this.#viewer = openViewer({ name, onresult: onmessage, onerror: () => {}, onstatus: onmessage, onstate: () => {} });
  }

  /** Show what an address answers, asked for again and again; relative to the server's root. */
  showAgain(path) {
    if (!this.#turnTo(`again ${path}`)) return;
    const of = this.#shown;
    const ask = async () => {
      const jpeg = document.hidden ? null : await picture(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) });
      if (of !== this.#shown) return;
      if (jpeg) await this.#take(jpeg);
      if (of === this.#shown) setTimeout(ask, jpeg ? AGAIN_MS : AGAIN_AFTER_FAILURE_MS);
    };
    ask();
  }

  /** Show one picture, and ask for no other; answers whether there is one. */
  async showStill(path) {
    if (!this.#turnTo(`still ${path}`)) return true;
    const of = this.#shown;
    const jpeg = await picture(path);
    if (jpeg && of === this.#shown) this.#take(jpeg);
    return jpeg !== null;
  }

  /** Show a still picture until the first live one comes. */
  async standIn(path) {
    const of = this.#shown;
    const jpeg = await picture(path);
    if (jpeg && this.#shown === of && !this.isShown) this.#take(jpeg);
  }

  /** Show nothing, and ask for nothing. */
  clear() {
    this.#turnTo("");
  }

  #turnTo(what) {
    if (this.#shown === what) return false;
    this.#shown = what;
    this.#viewer?.close();
    this.#viewer = this.#next = null;
    this.#video.srcObject = null;
    this.#video.hidden = this.#canvas.hidden = true;
    this.#shape = "";
    this.#at = -Infinity;
    return true;
  }

  async #take(jpeg) {
    this.#next = { jpeg, of: this.#shown }; // while one picture is being decoded only the newest waits
    if (this.#decoding) return;
    this.#decoding = true;
    while (this.#next) {
      const { jpeg: newest, of } = this.#next;
      this.#next = null;
      const bitmap = await createImageBitmap(newest).catch(() => null);
      if (bitmap && of === this.#shown) this.#draw(bitmap);
    }
    this.#decoding = false;
  }

  #draw(bitmap) {
    const { width, height } = bitmap;
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#canvas.hidden = false;
    this.#at = performance.now();
    this.#become(width, height);
    this.#onpicture();
  }

  #become(width, height) {
    const shape = `${width} ${height}`;
    if (!width || !height || shape === this.#shape) return;
    this.#shape = shape;
    this.#box.style.setProperty("--shape", `${width} / ${height}`);
    this.#box.style.setProperty("--wide", String(width / height));
    this.#onshape(width, height);
  }
}
