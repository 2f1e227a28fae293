// Watches a stream over a WebSocket.

import { ReconnectingSocket } from "./reconnecting_socket.js";
import { socketUrl } from "./socket_url.js";

/** See openViewer in transport.js. */
export class WebSocketViewer {
  #socket;

  constructor({ name, onresult, onerror, onstatus, onstate }) {
    this.#socket = new ReconnectingSocket(socketUrl(`/ws/live/${encodeURIComponent(name)}?picture=1`), {
      onstate: (state) => onstate({ ...state, transport: "WebSocket" }),
      onmessage: (message) => {
        if (message.type === "result") onresult(message);
        else if (message.type === "error") onerror(message);
        else if (message.type === "status") onstatus(message);
      },
    });
  }

  retry() {
    this.#socket.retry();
  }

  close() {
    this.#socket.close();
  }
}
