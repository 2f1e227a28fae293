// Sends a camera as JPEG frames over a WebSocket; results come back on the same one.

import { FrameEncoder } from "./frames.js";
import { ReconnectingSocket } from "./reconnecting_socket.js";
import { socketAddress } from "./address.js";

const MAX_UNANSWERED = 2; // one in inspection, one waiting: more would only be dropped by the server
const MAX_BUFFERED_BYTES = 64 * 1024;
const ANSWER_LOST_MS = 1_000; // frames that the server dropped are never answered
const SHOWN_EVERY_MS = 100; // to a teaching, which answers no frame and has to see what moves
const SILENCE_MS = 8_000;
const LOOK_AGAIN_MS = 20;

/** See openSender in transport.js. */
export class WebSocketSender {
  #socket;
  #frames;
  #video;
  #sent = 0;
  #answered = 0;
  #lastSent = 0;
  #lastHeard = 0;
  #isTaught = false;
  #closed = false;

  constructor({ name, stream, video, onresult, onerror, onstate, onchange = () => {}, onheartbeat = () => {}, onstatus = () => {}, onpart = () => {} }) {
    this.#video = video;
    this.#frames = new FrameEncoder(stream, video);
    this.#socket = new ReconnectingSocket(socketAddress(`ws/stream?name=${encodeURIComponent(name)}&heartbeat=5`), {
      wanted: { send: name },
      onstate: (state) => {
        if (state.phase === "open") this.#restart();
        onstate({ ...state, transport: "WebSocket" });
      },
      onmessage: (message) => {
        this.#lastHeard = performance.now();
        if (message.type === "result") this.#isTaught = false;
        else if (message.state !== undefined) this.#isTaught = message.state === "teaching";
        if (message.seq !== undefined) this.#answered = Math.max(this.#answered, message.seq + 1); // dropped frames before it are settled too
        if (message.type === "result") onresult(message);
        else if (message.type === "error") onerror(message);
        else if (message.type === "change") onchange(message);
        else if (message.type === "heartbeat") onheartbeat(message);
        else if (message.type === "part") onpart(message);
        else if (message.type === "status") onstatus(message);
      },
    });
    this.#pump();
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
    this.#isTaught = false;
  }

  #mayTakeNext() {
    if (!this.#socket.isOpen) return false;
    const now = performance.now();
    if (this.#lastSent > this.#lastHeard && now - this.#lastHeard > SILENCE_MS) this.#socket.retry(); // nobody is listening
    if (!this.#socket.isOpen || this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) return false; // which grows where nobody is
    if (this.#sent - this.#answered >= MAX_UNANSWERED && now - this.#lastSent > ANSWER_LOST_MS) this.#answered = this.#sent;
    return this.#isTaught ? now - this.#lastSent >= SHOWN_EVERY_MS : this.#sent - this.#answered < MAX_UNANSWERED;
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
