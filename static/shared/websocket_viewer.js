// Watches a stream over a WebSocket.

import { ReconnectingSocket } from "./reconnecting_socket.js";
import { socketAddress } from "./address.js";

/** Two and a half of the server's heartbeats on `ws/live`, which come whatever the stream does. */
export const SILENT_AFTER_MS = 12_500;

/** See openViewer in transport.js. */
export class WebSocketViewer {
  #socket;

  constructor({ name, code, onresult, onerror, onstatus, onstate, onchange = () => {}, onheartbeat = () => {}, onpart = () => {} }) {
    const query = new URLSearchParams({ picture: 1, ...(code ? { code } : {}) });
    this.#socket = new ReconnectingSocket(socketAddress(`ws/live/${encodeURIComponent(name)}?${query}`), {
      wanted: { watch: name },
      silentAfterMs: SILENT_AFTER_MS,
      onstate: (state) => onstate({ ...state, transport: "WebSocket" }),
      onmessage: (message) => {
        if (message.type === "result") onresult(message); // also one that was sent again: `repeated`, it says nothing of now
        else if (message.type === "error") onerror(message);
        else if (message.type === "status") onstatus(message);
        else if (message.type === "change") onchange(message);
        else if (message.type === "heartbeat") onheartbeat(message);
        else if (message.type === "part") onpart(message);
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
