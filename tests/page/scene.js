// WebSockets that a scene plays: see scene.py. `document_scene` is put in there. While `scene.isCut` nothing comes, and nobody says so.

(() => {
  const scene = (window.scene = JSON.parse(document_scene));
  class PlayedSocket extends EventTarget {
    static OPEN = 1;
    readyState = 0;
    bufferedAmount = 0;
    constructor(url) {
      super();
      this.url = url;
      this.name = decodeURIComponent(new URL(url).pathname.split("/").pop());
      this.seq = 0;
      setTimeout(() => this.begin(), 10);
      (scene.sockets ??= []).push(this);
    }
    begin() {
      const played = scene.plays[this.name];
      if (!played || this.readyState === 3) return;
      if (scene.refused?.includes(this.name)) return this.onclose?.({ code: 1006, reason: "" });
      this.readyState = 1;
      this.onopen?.();
      this.say({ type: "status", stream: this.name, state: played.state });
      if (played.repeated) this.say({ ...this.result(played), repeated: true, at: played.repeated });
      this.timer = setInterval(() => {
        const now = scene.plays[this.name];
        if (now.state === "live" && now.runs && !scene.isCut) this.say(this.result(now));
      }, 150);
      this.heart = setInterval(() => {
        if (!scene.isCut) this.say({ type: "heartbeat", stream: this.name, at: new Date().toISOString(), state: scene.plays[this.name].state, last_verdict: null, last_verdict_at: null, age_s: null });
      }, 5000);
    }
    result(played) {
      const { width, height, data } = scene.heatmap;
      const raw = played.raws[this.seq % played.raws.length];
      const isAnomaly = raw > played.threshold;
      this.seq += 1;
      return {
        type: "result", stream: this.name, seq: this.seq, raw_score: raw, threshold: played.threshold, threshold_source: "calibration",
        score: isAnomaly ? 0.71 : 0.12, is_anomaly: isAnomaly, verdict: isAnomaly ? "ANOMALY" : "NORMAL",
        received: this.seq * 3, inspected: this.seq, dropped: this.seq * 2, failed: 0, anomalies: 0, latency_ms: 14.2,
        at: new Date().toISOString(), recipe: played.recipe, recipe_version: 3, model: "a".repeat(64),
        heatmap: { width, height, data: isAnomaly ? data : scene.cold },
        ...(played.partNumber === undefined ? {} : { part_number: played.partNumber }),
        picture: { width: 320, height: 240, data: scene.picture },
      };
    }
    say(message) { this.onmessage?.({ data: JSON.stringify(message) }); }
    send() {}
    close() { this.readyState = 3; clearInterval(this.timer); clearInterval(this.heart); }
  }
  window.WebSocket = PlayedSocket;
})();
