// The live picture with the heat map over it, and dimmed what is not inspected. Video, canvases and drawing share one box and one
// shape, so CSS keeps them aligned.

import { bytesOf } from "./base64.js";
import { Dimmed } from "./dimmed.js";
import { paint } from "./heatmap.js";

const HEATMAP_LONG_SIDE = 720;

export class Stage {
  #root;
  #video;
  #picture;
  #heatmap;
  #dimmed;
  #small = document.createElement("canvas");
  #size = { width: 4, height: 3 };
  #decoding = false;
  #next = null;
  #turn = 0;

  constructor(root) {
    this.#root = root;
    this.#video = root.querySelector("video");
    this.#picture = root.querySelector("#picture-canvas");
    this.#heatmap = root.querySelector("#heatmap");
    this.#dimmed = new Dimmed(root.querySelector("#dimmed"));
    this.#video.addEventListener("resize", () => this.#shape(this.#video.videoWidth, this.#video.videoHeight));
    this.#shape(4, 3);
  }

  get video() {
    return this.#video;
  }

  /** Show a camera of this device. */
  showCamera(stream) {
    this.clear("camera");
    this.#video.srcObject = stream;
    this.#video.play().catch(() => {}); // without a gesture some browsers wait for one; autoplay then starts it
  }

  /** Empty the stage; `source` is camera, stream or none. */
  clear(source) {
    this.#turn += 1;
    this.#next = null;
    this.#video.srcObject = null;
    this.#root.dataset.source = source;
    this.#root.dataset.shown = "false";
    this.setStale(false);
    for (const canvas of [this.#picture, this.#heatmap]) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }

  /** Draw the heat map of a result, and its picture where it brings one. */
  async draw(result) {
    if (!result.picture) {
      this.#drawHeatmap(result.heatmap);
      return;
    }
    this.#next = result; // while one picture is being decoded only the newest waits
    if (this.#decoding) return;
    this.#decoding = true;
    while (this.#next) await this.#drawPicture();
    this.#decoding = false;
  }

  /** What of the frame is inspected: see dimmed.js. */
  showInspected(inspected) {
    this.#dimmed.show(inspected);
  }

  setOpacity(share) {
    this.#heatmap.style.opacity = String(share);
  }

  setStale(stale) {
    this.#root.dataset.stale = String(stale);
  }

  async #drawPicture() {
    const { picture, heatmap } = this.#next;
    const turn = this.#turn;
    this.#next = null;
    const jpeg = new Blob([bytesOf(picture.data)], { type: "image/jpeg" });
    const bitmap = await createImageBitmap(jpeg).catch(() => null);
    if (!bitmap || turn !== this.#turn) return;
    if (this.#picture.width !== bitmap.width || this.#picture.height !== bitmap.height) {
      Object.assign(this.#picture, { width: bitmap.width, height: bitmap.height });
    }
    this.#shape(bitmap.width, bitmap.height);
    this.#picture.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#drawHeatmap(heatmap);
  }

  #drawHeatmap(heatmap) {
    if (!heatmap) return;
    const image = paint(heatmap);
    if (this.#small.width !== image.width || this.#small.height !== image.height) {
      Object.assign(this.#small, { width: image.width, height: image.height });
    }
    this.#small.getContext("2d").putImageData(image, 0, 0);
    const { width, height } = this.#heatmap;
    const context = this.#heatmap.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#small, 0, 0, width, height);
  }

  #shape(width, height) {
    if (!width || !height) return;
    this.#root.dataset.shown = String(this.#root.dataset.source !== "none");
    this.#root.dataset.width = width;
    this.#root.dataset.height = height;
    if (this.#size.width === width && this.#size.height === height) return;
    this.#size = { width, height };
    const scale = HEATMAP_LONG_SIDE / Math.max(width, height);
    Object.assign(this.#heatmap, { width: Math.round(width * scale), height: Math.round(height * scale) });
    this.#dimmed.shape(width, height);
  }
}
