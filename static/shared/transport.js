// The one module that knows how frames and results travel. The rest of the page sees camera streams, frames and results.

import { WebRTCSender } from "./webrtc_sender.js";
import { WebSocketSender } from "./websocket_sender.js";
import { WebSocketViewer } from "./websocket_viewer.js";

const NO_PATH_KEY = "defectvision.webrtc-finds-no-path";

/**
 * Send a camera under a stream name and hear the verdicts: over WebRTC, or, where that does not work, over a WebSocket.
 *
 * `stream` is a MediaStream, `video` the element that shows it, `iceServers` what /health gives. `onresult`, `onerror`,
 * `onchange` and `onstatus` get the messages of docs/protocol.md, `onstate` gets `{ phase, words, transport }`.
 * Returns `{ replaceStream, retry, close }`.
 */
export function openSender(options) {
  return new Sender(options);
}

/**
 * Watch a stream, showing the access `code` where there is no cookie. `onresult`, `onerror`, `onstatus`, `onchange` and `onstate` as above; each result carries its picture.
 * Returns `{ retry, close }`.
 */
export function openViewer(options) {
  return new WebSocketViewer(options);
}

class Sender {
  #options;
  #way;

  constructor(options) {
    this.#options = options;
    const onfailed = (why) => this.#fallBack(why);
    const tryWebRTC = WebRTCSender.possible && !sessionStorageHas(NO_PATH_KEY);
    this.#way = tryWebRTC ? new WebRTCSender({ ...options, onfailed }) : new WebSocketSender(options);
  }

  replaceStream(stream) {
    this.#options = { ...this.#options, stream };
    this.#way.replaceStream(stream);
  }

  retry() {
    this.#way.retry();
  }

  close() {
    this.#way.close();
  }

  #fallBack({ noPath }) {
    if (noPath) keepForSession(NO_PATH_KEY); // the next start need not wait for it again
    this.#way = new WebSocketSender(this.#options);
  }
}

function sessionStorageHas(key) {
  try {
    return sessionStorage.getItem(key) !== null;
  } catch {
    return false;
  }
}

function keepForSession(key) {
  try {
    sessionStorage.setItem(key, "yes");
  } catch {
    // private windows may refuse: the next start then tries again
  }
}
