// A camera that sees whatever picture a test shows it: see line_operator.py. What follows it is the page's own: capture,
// encoding, sending. `frames_per_second` is put in there.

(() => {
  const SENT_WITHIN_MS = 30_000;
  const LOOK_AGAIN_MS = 10;
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { alpha: false });
  let socket = null; // the newest one that frames were sent on
  let sent = []; // of each of its frames, in their order, the digest of the JPEG
  let picture = null;

  const draw = () => picture && context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  setInterval(draw, 1000 / frames_per_second); // a canvas that nobody draws on gives no frames
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream();

  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (data instanceof Blob) note(this, data);
    return send.call(this, data);
  };

  async function note(from, jpeg) {
    if (from !== socket) [socket, sent] = [from, []];
    const [of, seq] = [sent, sent.push("") - 1];
    of[seq] = hex(await crypto.subtle.digest("SHA-256", await jpeg.arrayBuffer()));
  }

  function hex(digest) {
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async function until(found) {
    const end = performance.now() + SENT_WITHIN_MS;
    for (;;) {
      const answer = found();
      if (answer) return answer;
      if (performance.now() > end) throw new Error("the page sends nothing of the picture that its camera sees");
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  window.played = {
    /**
     * See another picture (base64 of a file) from now on; the first one says how large all are. Answers the number and the
     * digest of the first frame that shows it, `{ seq, digest }`; null where no frames are sent over a WebSocket.
     */
    async see(base64) {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const next = await createImageBitmap(new Blob([bytes]));
      if (!picture) Object.assign(canvas, { width: next.width, height: next.height });
      const isSent = socket?.readyState === WebSocket.OPEN;
      const before = isSent && sent.length ? await until(() => sent.at(-1)) : "";
      const from = sent.length;
      picture = next;
      draw();
      return isSent ? this.sent(from, before) : null;
    },

    /** The first frame from number `from` on that is another than that of the digest `before`. */
    sent(from = sent.length, before = "") {
      return until(() => {
        const seq = sent.findIndex((digest, number) => number >= from && digest && digest !== before);
        return seq < 0 ? null : { seq, digest: sent[seq] };
      });
    },
  };
})();
