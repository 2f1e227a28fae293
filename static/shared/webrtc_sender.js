// Sends a camera as video over WebRTC; results come back over a data channel, verdicts on parts over one that repeats what is lost.

import { backoff, finalState, waitingState } from "./close_codes.js";
import { Unreachable, offer } from "./server.js";

// A server that asks a STUN server which is not there answers after 5 s. Behind some proxies it does not hear that an offer was given up,
// and opens the stream all the same: this page's next connection would be ended by it.
const ANSWERED_WITHIN_MS = 10_000;
const CONNECT_WITHIN_MS = 4_000; // from the answer on
const INTERRUPTED_MS = 3_000;
const SILENCE_MS = 8_000;
const SILENCE_AFTER_WAKING_MS = 2_500;
const WATCH_EVERY_MS = 500;
// H264 costs the server less, but Chromium's leaves a part at rest as soft as its first frame was: scores 50 % higher than
// from JPEG. In VP8 it gets sharp within a second.
const CODECS = ["video/VP8", "video/H264"];

/**
 * As openSender in transport.js. `onfailed({ noPath })` is called once, when WebRTC does not work here or no longer;
 * `noPath` says that the server agreed and no packets came through. The sender is closed then.
 */
export class WebRTCSender {
  #options;
  #stream;
  #peer = null;
  #asking = null; // with which an offer is given up
  #channel = null;
  #parts = null;
  #video = null; // the RTCRtpSender
  #newest = -1;
  #open = false;
  #attempt = 0;
  #timers = { deadline: 0, interrupted: 0, retry: 0 };
  #watch;
  #quietSince = 0;
  #mustWake = false; // ended while the page was hidden
  #justWoken = false;
  #wake = () => {
    if (document.hidden) return;
    this.#quietSince = performance.now();
    this.#justWoken = true;
    if (this.#mustWake || this.#timers.retry) this.#connect();
  };
  // A page that is left says so: the server would show its stream as live until it has missed it for half a minute.
  #part = () => {
    const comesBack = Boolean(this.#peer || this.#timers.retry); // not where another device took the name over
    this.#hangUp();
    this.#mustWake = comesBack;
  };

  static get possible() {
    return typeof RTCPeerConnection !== "undefined";
  }

  constructor(options) {
    this.#options = options;
    this.#stream = options.stream;
    document.addEventListener("visibilitychange", this.#wake);
    window.addEventListener("online", this.#wake);
    window.addEventListener("pagehide", this.#part);
    this.#watch = setInterval(() => this.#listen(), WATCH_EVERY_MS);
    this.#connect();
  }

  replaceStream(stream) {
    this.#stream = stream;
    this.#quietSince = performance.now();
    const peer = this.#peer;
    // Another kind of video needs a new offer.
    this.#video?.replaceTrack(this.#track()).catch(() => peer === this.#peer && this.#connect());
  }

  retry() {
    this.#attempt = 0;
    this.#connect();
  }

  close() {
    this.#leave();
    this.#report({ phase: "closed", words: "Not connected" });
  }

  async #connect() {
    this.#hangUp();
    this.#report({ phase: "connecting", words: "Connecting" });
    const peer = new RTCPeerConnection({ iceServers: this.#options.iceServers });
    const asking = new AbortController();
    [this.#peer, this.#asking] = [peer, asking];
    this.#timers.deadline = setTimeout(() => this.#fail({ noPath: false }), ANSWERED_WITHIN_MS);
    this.#openChannel(peer);
    peer.oniceconnectionstatechange = () => this.#follow(peer.iceConnectionState);
    const transceiver = peer.addTransceiver(this.#track(), { direction: "sendonly", streams: [this.#stream] });
    this.#video = transceiver.sender;
    preferCodecs(transceiver);
    try {
      await peer.setLocalDescription();
      // Sent at once: the browser's own addresses reach the server with the first packets.
      const { sdp } = await offer(peer.localDescription.sdp, this.#options.name, asking.signal);
      if (peer !== this.#peer) return;
      clearTimeout(this.#timers.deadline);
      this.#timers.deadline = setTimeout(() => this.#fail({ noPath: true }), CONNECT_WITHIN_MS);
      await peer.setRemoteDescription({ type: "answer", sdp });
      await keepResolution(transceiver.sender);
    } catch (error) {
      if (peer !== this.#peer) return;
      if (error instanceof Unreachable) this.#comeBack({}); // which is not WebRTC's fault
      else this.#fail({ noPath: false });
    }
  }

  #openChannel(peer) {
    const channel = peer.createDataChannel("results", { ordered: false, maxRetransmits: 0 });
    this.#channel = channel;
    channel.onopen = () => {
      clearTimeout(this.#timers.deadline);
      this.#newest = -1;
      this.#quietSince = performance.now();
      this.#open = true;
      this.#report({ phase: "open", words: "Connected" });
    };
    this.#parts = peer.createDataChannel("parts");
    this.#parts.onmessage = channel.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    channel.onclose = () => this.#end();
  }

  #hear(message) {
    if (message.type === "goodbye") {
      this.#sayGoodbye(message);
      return;
    }
    if (message.seq <= this.#newest) return; // overtaken on the way
    if (message.seq !== undefined) this.#newest = message.seq; // frames have one, other messages do not
    this.#attempt = 0;
    this.#quietSince = performance.now();
    this.#justWoken = false;
    if (message.type === "result") this.#options.onresult(message);
    else if (message.type === "error") this.#options.onerror(message);
    else if (message.type === "change") this.#options.onchange?.(message);
    else if (message.type === "heartbeat") this.#options.onheartbeat?.(message);
    else if (message.type === "part") this.#options.onpart?.(message);
    else if (message.type === "status") this.#options.onstatus?.(message);
  }

  #sayGoodbye(goodbye) {
    const final = finalState(goodbye);
    if (!final) {
      this.#comeBack(goodbye);
      return;
    }
    this.#hangUp();
    this.#report(final);
  }

  #comeBack(close) {
    this.#hangUp();
    const delay = backoff(this.#attempt++);
    this.#report(waitingState(close, delay));
    this.#timers.retry = setTimeout(() => this.#connect(), delay);
  }

  #follow(ice) {
    clearTimeout(this.#timers.interrupted);
    if (ice === "failed") this.#end();
    else if (ice === "disconnected") this.#timers.interrupted = setTimeout(() => this.#end(), INTERRUPTED_MS);
  }

  // A phone that sleeps loses its connection; that says nothing about WebRTC.
  #end() {
    if (!document.hidden) {
      this.#fail({ noPath: !this.#open });
      return;
    }
    this.#hangUp();
    this.#mustWake = true;
    this.#report({ phase: "reconnecting", words: "Paused while this page is hidden" });
  }

  // Connected, and yet nothing comes: better seen here than by the operator.
  #listen() {
    const now = performance.now();
    const track = this.#track();
    const flows = this.#open && !document.hidden && track.readyState === "live" && !track.muted;
    if (!flows) this.#quietSince = now;
    else if (this.#justWoken && now - this.#quietSince > SILENCE_AFTER_WAKING_MS) this.#connect();
    else if (now - this.#quietSince > SILENCE_MS) this.#fail({ noPath: false });
  }

  #fail(why) {
    this.#leave();
    this.#options.onfailed(why);
  }

  #leave() {
    clearInterval(this.#watch);
    document.removeEventListener("visibilitychange", this.#wake);
    window.removeEventListener("online", this.#wake);
    window.removeEventListener("pagehide", this.#part);
    this.#hangUp();
  }

  #hangUp() {
    for (const timer of Object.keys(this.#timers)) {
      clearTimeout(this.#timers[timer]);
      this.#timers[timer] = 0;
    }
    this.#open = this.#mustWake = this.#justWoken = false;
    if (!this.#peer) return;
    this.#asking.abort(); // an answer that came later would take the name from whoever has it then: this very page
    this.#channel.onopen = this.#channel.onmessage = this.#channel.onclose = this.#parts.onmessage = null;
    this.#peer.oniceconnectionstatechange = null;
    this.#peer.close();
    this.#peer = this.#channel = this.#parts = this.#video = null;
  }

  #track() {
    return this.#stream.getVideoTracks()[0];
  }

  #report(state) {
    this.#options.onstate({ ...state, transport: "WebRTC" });
  }
}

function preferCodecs(transceiver) {
  const { codecs } = RTCRtpSender.getCapabilities?.("video") ?? { codecs: [] };
  const wanted = CODECS.flatMap((type) => codecs.filter(({ mimeType }) => mimeType === type));
  const rest = codecs.filter(({ mimeType }) => mimeType === "video/rtx"); // lost packets are sent again
  try {
    if (wanted.length > 0) transceiver.setCodecPreferences([...wanted, ...rest]);
  } catch {
    // an older browser: it offers VP8 by itself
  }
}

// Small defects die in a smaller picture: rather fewer frames. (contentHint "detail" says the same, but has Chromium encode
// as for shared screens, which raised the scores of moving good parts by 10 %.)
async function keepResolution(sender) {
  try {
    await sender.setParameters({ ...sender.getParameters(), degradationPreference: "maintain-resolution" });
  } catch {
    // a browser that does not know it
  }
}
