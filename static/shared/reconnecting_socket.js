// A WebSocket that comes back by itself.

import { backoff, finalState, waitingState } from "./close_codes.js";
import { sentence } from "./sentence.js";
import { whyNoConnection } from "./server.js";

const CONNECT_TIMEOUT_MS = 10_000;
const UNEXPLAINED_TRIES = 3;
const SOMETHING_IN_BETWEEN =
  "The server answers, but no WebSocket gets through to it: a proxy or firewall in between stops them. docs/proxies.md shows what it has to let pass.";

/**
 * Calls `onstate({ phase, words })` with phase connecting, open, reconnecting, replaced, refused or closed,
 * and `onmessage(object)` with every JSON message. `refused` and `replaced` stay until `retry()`. Where no connection comes
 * about at all, the server is asked whether this page may have what is `wanted` (`{ watch }` or `{ send }`, a stream's name): `refused`
 * with `forbidden` where not. Else `reconnecting` also brings `problem`: what stands in the way, a sentence, or "" while that is not known, and
 * `access`: false when it is the access code. With `silentAfterMs`, a connection on which nothing came for so long is left for a
 * new one: of a machine that lost its power, or a cable that was cut, nothing else tells.
 */
export class ReconnectingSocket {
  #url;
  #wanted;
  #socket = null;
  #timer = 0;
  #listening = 0;
  #heardAt = 0;
  #silentAfterMs;
  #attempt = 0;
  #neverOpened = 0; // so many tries in a row
  #obstacle = { problem: "", access: true };
  #handlers;
  #wake = () => {
    if (document.visibilityState === "visible" && this.#timer) this.#connect();
  };

  constructor(url, { wanted, silentAfterMs = Infinity, ...handlers }) {
    this.#url = url;
    this.#wanted = wanted;
    this.#silentAfterMs = silentAfterMs;
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

  #listen() {
    const left = this.#heardAt + this.#silentAfterMs - performance.now();
    if (left <= 0) this.retry();
    else if (left < Infinity) this.#listening = setTimeout(() => this.#listen(), left);
  }

  #detach() {
    clearTimeout(this.#listening);
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
    this.#neverOpened += 1;
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    // A phone that changed networks can wait minutes for a connection attempt to fail.
    const giveUp = setTimeout(() => socket.close(), CONNECT_TIMEOUT_MS);
    socket.onopen = () => {
      clearTimeout(giveUp);
      this.#neverOpened = 0;
      this.#obstacle = { problem: "", access: true };
      this.#heardAt = performance.now();
      this.#listen();
      this.#report({ phase: "open", words: "Connected" });
    };
    socket.onmessage = (event) => {
      this.#heardAt = performance.now();
      this.#attempt = 0; // a server that accepts and hangs up at once has not earned a reset
      this.#handlers?.onmessage(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      clearTimeout(giveUp);
      clearTimeout(this.#listening);
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
    const state = waitingState(close, delay);
    this.#report({ ...state, ...this.#obstacle });
    this.#timer = setTimeout(() => this.#connect(), delay);
    if (this.#neverOpened > 0) this.#explain(state);
  }

  // Trying again would be refused again.
  #refuse(words) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#report({ phase: "refused", words: sentence(words), forbidden: true });
  }

  // A browser does not say why a WebSocket failed; what arrives by plain HTTP often does.
  async #explain(state) {
    const timer = this.#timer;
    const unexplained = this.#neverOpened >= UNEXPLAINED_TRIES ? SOMETHING_IN_BETWEEN : "";
    try {
      const { problem, access, refusal } = await whyNoConnection(this.#wanted);
      if (refusal && timer === this.#timer) return this.#refuse(refusal);
      this.#obstacle = { problem: problem ?? unexplained, access };
    } catch {
      this.#obstacle = { problem: "", access: true }; // the server is away altogether: that will be all
    }
    if (timer === this.#timer) this.#report({ ...state, ...this.#obstacle });
  }
}
