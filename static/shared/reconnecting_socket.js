// A WebSocket that comes back by itself.

import { backoff, finalState, waitingState } from "./close_codes.js";

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Calls `onstate({ phase, words })` with phase connecting, open, reconnecting, replaced, refused or closed,
 * and `onmessage(object)` with every JSON message. `refused` and `replaced` stay until `retry()`.
 */
export class ReconnectingSocket {
  #url;
  #socket = null;
  #timer = 0;
  #attempt = 0;
  #handlers;
  #wake = () => {
    if (document.visibilityState === "visible" && this.#timer) this.#connect();
  };

  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
    document.addEventListener("visibilitychange", this.#wake);
    window.addEventListener("online", this.#wake);
    this.#report({ phase: "connecting", words: "Connecting" });
    this.#connect();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  get bufferedAmount() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  send(data) {
    this.#socket.send(data);
  }

  /** Come back after `refused` or `replaced`, or leave a connection that no longer answers. */
  retry() {
    if (!this.#handlers) return;
    this.#attempt = 0;
    this.#report({ phase: "connecting", words: "Connecting" });
    this.#connect();
  }

  close() {
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#wake);
    window.removeEventListener("online", this.#wake);
    this.#detach();
    this.#report({ phase: "closed", words: "Not connected" });
    this.#handlers = null;
  }

  #report(state) {
    this.#handlers?.onstate(state);
  }

  #detach() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#detach();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    // A phone that changed networks can wait minutes for a connection attempt to fail.
    const giveUp = setTimeout(() => socket.close(), CONNECT_TIMEOUT_MS);
    socket.onopen = () => {
      clearTimeout(giveUp);
      this.#report({ phase: "open", words: "Connected" });
    };
    socket.onmessage = (event) => {
      this.#attempt = 0; // a server that accepts and hangs up at once has not earned a reset
      this.#handlers?.onmessage(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      clearTimeout(giveUp);
      this.#socket = null;
      this.#closed(event);
    };
  }

  #closed(close) {
    const final = finalState(close);
    if (final) {
      this.#report(final);
      return;
    }
    const delay = backoff(this.#attempt++);
    this.#report(waitingState(close, delay));
    this.#timer = setTimeout(() => this.#connect(), delay);
  }
}
