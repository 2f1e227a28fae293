// A WebSocket that comes back by itself.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;

// Closes after which coming back by itself would only repeat the problem.
const FINAL_CLOSES = {
  1008: { phase: "refused", words: "The server refused this connection" },
  1009: { phase: "refused", words: "A frame was larger than the server accepts" },
  4001: { phase: "replaced", words: "Another device took over this stream name" },
};

/** Milliseconds before attempt number `attempt` (from 0): 0.5 s doubling to 10 s, minus up to half by chance. */
export function backoff(attempt, random = Math.random()) {
  const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return delay * (1 - random / 2);
}

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
    this.#report("connecting", "Connecting");
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
    this.#report("connecting", "Connecting");
    this.#connect();
  }

  close() {
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#wake);
    window.removeEventListener("online", this.#wake);
    this.#detach();
    this.#report("closed", "Not connected");
    this.#handlers = null;
  }

  #report(phase, words) {
    this.#handlers?.onstate({ phase, words });
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
      this.#report("open", "Connected");
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

  #closed({ code, reason }) {
    const final = FINAL_CLOSES[code];
    if (final) {
        this.#report(final.phase, reason && final.phase === "refused" ? `${final.words}: ${reason}` : final.words);
      return;
    }
    const delay = backoff(this.#attempt++);
    const cause = code === 1012 ? "The server is restarting" : "Connection lost";
    this.#report("reconnecting", `${cause}, trying again in ${Math.max(1, Math.round(delay / 1000))} s`);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }
}
