// All running streams at once, each a tile: picture, verdict as word and shape, name, age of the verdict. One press opens it.

import { ICONS, STALE_AFTER_MS, ago, decide, hasPartVerdicts, waitsForPart } from "../shared/verdict.js";
import { PartsHeard } from "../shared/parts_heard.js";
import { ReconnectingSocket } from "../shared/reconnecting_socket.js";
import { cameraNotice } from "../shared/pulled_camera.js";
import { keptFrames } from "./kept_frames.js";
import { picture } from "../shared/server.js";
import { socketAddress } from "../shared/address.js";
import { SILENT_AFTER_MS } from "../shared/websocket_viewer.js";

const MOST_LISTENED = 24; // sockets; of streams beyond, the list of streams says the verdict
const PICTURE_EVERY_MS = 3_000;
const SHOW_EVERY_MS = 500;
const LIST_STANDS_MS = 5_000; // the list is asked for every two seconds

export class Tiles {
  #root;
  #station;
  #onopen;
  #tiles = new Map(); // by stream
  #timers = [];

  /** `onopen(name)` is called when one is pressed. */
  constructor(root, station, onopen) {
    this.#root = root;
    this.#station = station;
    this.#onopen = onopen;
    station.on("streams", () => this.#timers.length > 0 && this.#offer());
  }

  /** Listen to all streams, or to none. */
  shown(isShown) {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
    if (isShown) {
      this.#offer();
      this.#timers = [setInterval(() => this.#show(), SHOW_EVERY_MS), setInterval(() => this.#lookAtPictures(), PICTURE_EVERY_MS)];
      this.#lookAtPictures();
      return;
    }
    for (const tile of this.#tiles.values()) tile.close();
    this.#tiles.clear();
    this.#root.replaceChildren();
  }

  #offer() {
    const { streams } = this.#station;
    const names = new Set(streams.map(({ name }) => name));
    for (const [name, tile] of this.#tiles) {
      if (names.has(name)) continue;
      tile.close();
      this.#tiles.delete(name);
    }
    for (const { name } of streams) {
      if (this.#tiles.has(name)) continue;
      const tile = new Tile(name, () => this.#onopen(name));
      this.#tiles.set(name, tile);
      this.#root.append(tile.element);
      if (this.#tiles.size <= MOST_LISTENED) tile.listen();
    }
    this.#show();
  }

  #show() {
    const { streams, streamsAt, health } = this.#station;
    for (const stream of streams) this.#tiles.get(stream.name)?.show(stream, { health, streamsAt });
  }

  #lookAtPictures() {
    if (document.hidden) return;
    for (const { name, recipe } of this.#station.streams) if (recipe) this.#tiles.get(name)?.lookAtPicture();
  }
}

class Tile {
  element = document.createElement("button");
  #name;
  #socket = null;
  #link = { phase: "open" };
  #last = null; // { result, at }
  #parts = new PartsHeard();
  #state = "live";
  #shown = "";
  #pictureOf = ""; // the frame that is shown
  #closed = false;

  constructor(name, onopen) {
    this.#name = name;
    this.element.type = "button";
    this.element.className = "tile";
    this.element.dataset.stream = name;
    this.element.innerHTML =
      '<span class="tile-picture"><img alt="" hidden><img alt="" hidden></span><span class="tile-verdict"><svg aria-hidden="true"><use href="#icon-waiting"/></svg><span class="tile-word"></span></span><span class="tile-name"></span><span class="tile-age"></span>';
    this.#find(".tile-name").textContent = name;
    this.element.addEventListener("click", onopen);
  }

  listen() {
    this.#socket = new ReconnectingSocket(socketAddress(`ws/live/${encodeURIComponent(this.#name)}?heatmap=0`), {
      wanted: { watch: this.#name },
      silentAfterMs: SILENT_AFTER_MS,
      onstate: (link) => {
        this.#link = link;
        if (link.phase !== "open") this.#parts.forget();
      },
      onmessage: (message) => this.#hear(message),
    });
  }

  #hear(message) {
    if (message.type === "result") {
      this.#last = { result: message, at: performance.now() };
      if (!message.repeated) this.#parts.see(message.part_number);
    } else if (message.type === "part") this.#parts.hear(message);
    else if (message.type === "change") this.#parts.forget();
    else if (message.type === "status") this.#state = message.state;
  }

  close() {
    this.#closed = true;
    this.#socket?.close();
    this.#dropPictures();
    this.element.remove();
  }

  show(stream, { health, streamsAt }) {
    const heard = this.#socket ? this.#last : listed(stream, streamsAt);
    const age = heard ? performance.now() - heard.at : 0;
    const ofParts = hasPartVerdicts(stream);
    const { verdict, word, detail, stale, attention } = decide({
      health,
      camera: null,
      link: this.#link,
      streamState: stream.is_taught ? "teaching" : stream.state === "silent" ? "silent" : this.#state,
      streamName: this.#name,
      trouble: cameraNotice(stream.camera, 0)?.title ?? "",
      waits: stream.camera?.state === "waiting",
      result: heard?.result ?? null,
      age,
      ...(ofParts ? { part: this.#parts.last, partWaits: this.#socket ? waitsForPart(stream, null) : "Open it for the verdicts on its parts" } : {}),
    });
    const when = word === verdict && !ofParts ? ago(age) : detail; // a part's detail says which, and when
    const key = [verdict, word, stale, attention, when].join("|");
    if (key === this.#shown) return;
    this.#shown = key;
    Object.assign(this.element.dataset, { verdict, stale, attention, parts: ofParts });
    this.#find(".tile-word").textContent = word;
    this.#find("use").setAttribute("href", `#${ICONS[verdict]}`);
    this.#find(".tile-age").textContent = when;
    this.element.setAttribute("aria-label", `${this.#name}: ${word}, ${when}. Open`);
  }

  async lookAtPicture() {
    try {
      const [frame] = await keptFrames(this.#name, "recent");
      if (!frame || frame.id === this.#pictureOf || this.#closed) return;
      const shown = await Promise.all([picture(frame.picture), frame.verdict === "ANOMALY" ? picture(frame.heatmap) : null]);
      if (!shown[0] || this.#closed) return;
      this.#dropPictures();
      this.#pictureOf = frame.id;
      this.element.querySelectorAll("img").forEach((place, i) => Object.assign(place, { src: shown[i] ? URL.createObjectURL(shown[i]) : "", hidden: !shown[i] }));
    } catch {
      // none is kept: the verdict is what counts
    }
  }

  #dropPictures() {
    for (const { src } of this.element.querySelectorAll("img:not([hidden])")) URL.revokeObjectURL(src);
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }
}

// A result as far as the list of streams tells it, which says nothing of now once it is old: how old the result is, is only known
// to be more than the list is.
function listed({ last_verdict: verdict, inspected_per_s: rate }, streamsAt) {
  if (!verdict) return null;
  const now = performance.now();
  const at = rate > 0 && now - streamsAt < LIST_STANDS_MS ? Math.max(streamsAt, now - STALE_AFTER_MS / 2) : streamsAt - 2 * STALE_AFTER_MS;
  return { result: { verdict, is_anomaly: verdict === "ANOMALY", score: verdict === "ANOMALY" ? 0.5 : 0.1 }, at };
}
