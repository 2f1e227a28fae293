// Watches a stream over a WebSocket.

import { bytesOf } from "./base64.js";
import { ReconnectingSocket } from "./reconnecting_socket.js";
import { socketUrl } from "./socket_url.js";

/** See openViewer in transport.js. */
export class WebSocketViewer {
  #socket;
  #waiting = [];

  constructor({ name, onresult, onerror, onstatus, onstate }) {
    this.#socket = new ReconnectingSocket(socketUrl(`/ws/live/${encodeURIComponent(name)}?picture=1`), {
      onstate: (state) => onstate({ ...state, transport: "WebSocket" }),
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
