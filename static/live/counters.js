// The counters of the running connection.

const LATENCIES_KEPT = 30;
const RATE_WINDOW_MS = 3_000;
const whole = new Intl.NumberFormat("en");

/** The median of a list of numbers, or null of an empty one. */
export function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export class Counters {
  #fields = {};
  #latencies = [];
  #marks = [];
  #last = null;

  constructor(root) {
    for (const id of ["inspected", "dropped", "anomalies", "anomaly-rate", "latency", "inspected-fps"]) {
      this.#fields[id] = root.querySelector(`#${id}`);
    }
    this.clear();
  }

  clear() {
    this.#latencies = [];
    this.#marks = [];
    this.#last = null;
    for (const field of Object.values(this.#fields)) field.textContent = "–";
  }

  /** Take a result that came at `now`, milliseconds. */
  add(result, now) {
    if (this.#last && result.inspected < this.#last.inspected) this.clear(); // a new connection counts from 0
    this.#last = result;
    this.#latencies.push(result.latency_ms);
    if (this.#latencies.length > LATENCIES_KEPT) this.#latencies.shift();
    this.#marks.push({ now, inspected: result.inspected });
    while (now - this.#marks[0].now > RATE_WINDOW_MS) this.#marks.shift();
  }

  /** Write the numbers; the caller decides how often. */
  show(now) {
    if (!this.#last) return;
    const { inspected, dropped, anomalies } = this.#last;
    this.#write("inspected", whole.format(inspected));
    this.#write("dropped", whole.format(dropped));
    this.#write("anomalies", whole.format(anomalies));
    this.#write("anomaly-rate", inspected ? `${((100 * anomalies) / inspected).toFixed(1)} %` : "–");
    const latency = median(this.#latencies);
    this.#write("latency", latency < 10 ? latency.toFixed(1) : latency.toFixed(0));
    this.#write("inspected-fps", this.#rate(now));
  }

  // From the server's own count, so that a slow page does not look like a slow line.
  #rate(now) {
    const recent = this.#marks.filter((mark) => now - mark.now <= RATE_WINDOW_MS);
    if (recent.length < 2) return "0";
    const first = recent[0];
    const last = recent[recent.length - 1];
    const seconds = Math.max(last.now - first.now, now - first.now - 1000) / 1000;
    return ((last.inspected - first.inspected) / seconds).toFixed(1);
  }

  #write(id, text) {
    if (this.#fields[id].textContent !== text) this.#fields[id].textContent = text;
  }
}
