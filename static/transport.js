// The one module that knows how frames and results travel. The rest of the page sees camera streams, frames and results.

import { bytesOf } from "./base64.js";
import { FrameEncoder } from "./frames.js";
import { ReconnectingSocket } from "./reconnecting_socket.js";

const MAX_UNANSWERED = 2; // one in inspection, one waiting: more would only be dropped by the server
const MAX_BUFFERED_BYTES = 64 * 1024;
const ANSWER_LOST_MS = 1_000; // frames that the server dropped are never answered
const SILENCE_MS = 8_000;
const LOOK_AGAIN_MS = 20;

/**
 * Send a camera under a stream name and hear the verdicts.
 *
 * `stream` is a MediaStream, `video` the element that shows it. `onresult` and `onerror` get the messages of docs/protocol.md,
 * `onstate` gets `{ phase, words, transport }`.
 * Returns `{ grab, replaceStream, retry, close }`; `grab()` promises one JPEG Blob exactly as frames are sent.
 */
export function openSender(options) {
  return new WebSocketSender(options);
}

/**
 * Watch a stream. `onresult`, `onerror`, `onstatus` and `onstate` as above; each result carries its picture.
 * Returns `{ grab, retry, close }`; `grab(accept)` promises the next picture whose result `accept` likes, as a JPEG Blob.
 */
export function openViewer(options) {
  return new WebSocketViewer(options);
}

function socketUrl(path) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${path}`;
}

function withTransport(onstate) {
  return (state) => onstate({ ...state, transport: "WebSocket" });
}

class WebSocketSender {
  #socket;
  #frames;
  #video;
  #sent = 0;
  #answered = 0;
  #lastSent = 0;
  #lastHeard = 0;
  #closed = false;

  constructor({ name, stream, video, onresult, onerror, onstate }) {
    this.#video = video;
    this.#frames = new FrameEncoder(stream, video);
    const report = withTransport(onstate);
    this.#socket = new ReconnectingSocket(socketUrl(`/ws/stream?name=${encodeURIComponent(name)}`), {
      onstate: (state) => {
        if (state.phase === "open") this.#restart();
        report(state);
      },
      onmessage: (message) => {
        this.#lastHeard = performance.now();
        this.#answered = Math.max(this.#answered, message.seq + 1); // dropped frames before it are settled too
        if (message.type === "result") onresult(message);
        else if (message.type === "error") onerror(message);
      },
    });
    this.#pump();
  }

  grab() {
    return this.#frames.next();
  }

  replaceStream(stream) {
    this.#frames.close();
    this.#frames = new FrameEncoder(stream, this.#video);
  }

  retry() {
    this.#socket.retry();
  }

  close() {
    this.#closed = true;
    this.#frames.close();
    this.#socket.close();
  }

  #restart() {
    this.#sent = this.#answered = 0;
    this.#lastSent = this.#lastHeard = performance.now();
  }

  #mayTakeNext() {
    if (!this.#socket.isOpen || this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) return false;
    const now = performance.now();
    if (this.#sent - this.#answered >= MAX_UNANSWERED && now - this.#lastSent > ANSWER_LOST_MS) this.#answered = this.#sent;
    if (this.#lastSent > this.#lastHeard && now - this.#lastHeard > SILENCE_MS) this.#socket.retry(); // nobody is listening
    return this.#socket.isOpen && this.#sent - this.#answered < MAX_UNANSWERED;
  }

  // A frame is taken only when it can be sent at once, so nothing ever queues here.
  async #pump() {
    while (!this.#closed) {
      if (!this.#mayTakeNext()) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
        continue;
      }
      const jpeg = await this.#frames.next().catch(() => null); // the camera was exchanged meanwhile
      if (jpeg && this.#mayTakeNext()) {
        this.#socket.send(jpeg);
        this.#sent += 1;
        this.#lastSent = performance.now();
      } else if (!jpeg) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
      }
    }
  }
}

class WebSocketViewer {
  #socket;
  #waiting = [];

  constructor({ name, onresult, onerror, onstatus, onstate }) {
    this.#socket = new ReconnectingSocket(socketUrl(`/ws/live/${encodeURIComponent(name)}?picture=1`), {
      onstate: withTransport(onstate),
      onmessage: (message) => {
        if (message.type === "result") {
          this.#hand(message);
          onresult(message);
        } else if (message.type === "error") onerror(message);
        else if (message.type === "status") onstatus(message);
      },
    });
  }

  grab(accept = () => true) {
    return new Promise((resolve, reject) => this.#waiting.push({ accept, resolve, reject }));
  }

  retry() {
    this.#socket.retry();
  }

  close() {
    this.#socket.close();
    for (const { reject } of this.#waiting) reject(new Error("The stream was closed"));
    this.#waiting = [];
  }

  #hand(result) {
    if (!result.picture || this.#waiting.length === 0) return;
    this.#waiting = this.#waiting.filter(({ accept, resolve }) => {
      if (!accept(result)) return true;
      resolve(new Blob([bytesOf(result.picture.data)], { type: "image/jpeg" }));
      return false;
    });
  }
}
