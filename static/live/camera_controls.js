// The buttons and sliders of this device's camera. What the camera does not offer is not shown.

import { CAMERA } from "../shell/sources.js";

const $ = (id) => document.getElementById(id);

export class CameraControls {
  #station;
  #camera;

  constructor(station) {
    const { camera } = station;
    this.#station = station;
    this.#camera = camera;
    $("start-camera").addEventListener("click", () => {
      if ($("start-camera").dataset.running === "true") station.stopCamera();
      else station.choose(CAMERA);
    });
    $("switch-camera").addEventListener("click", () => camera.switch());
    $("torch").addEventListener("click", () => this.#toggleTorch());
    $("zoom").addEventListener("input", () => camera.setZoom(Number($("zoom").value)));
  }

  show() {
    const camera = this.#camera;
    const live = camera.state === "live";
    const running = this.#station.watchesCamera && !["off", "failed"].includes(camera.state);
    $("start-camera").textContent = running ? "Stop camera" : "Start camera";
    $("start-camera").dataset.running = String(running);
    $("switch-camera").hidden = !camera.canSwitch;
    $("torch").hidden = !(live && camera.hasTorch);
    if (!live) $("torch").setAttribute("aria-pressed", "false"); // a camera that starts again starts dark
    this.#showZoom(live ? camera.zoomRange : null);
  }

  #showZoom(range) {
    const shown = !$("zoom-control").hidden;
    $("zoom-control").hidden = !range;
    if (range && !shown) Object.assign($("zoom"), { min: range.min, max: range.max, step: range.step || 0.1, value: this.#camera.zoom });
  }

  async #toggleTorch() {
    const on = $("torch").getAttribute("aria-pressed") !== "true";
    const { stream } = this.#camera;
    await this.#camera.setTorch(on);
    if (stream === this.#camera.stream) $("torch").setAttribute("aria-pressed", String(on));
  }
}
