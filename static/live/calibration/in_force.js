// The threshold in force on the card: how it was made, what it promises, and what came true since.

import { ruleWords } from "./rules.js";
import { count } from "../../shared/count.js";
import { distance, sentence, transportName, when } from "./words.js";

const SOURCES = {
  environment: "from the environment (THRESHOLD)",
  recipe: "put by hand",
  calibration: "from calibration",
  model: "model default",
  uncalibrated: "none yet: everything is an ANOMALY until you calibrate",
};

export class InForce {
  #root;

  constructor(root) {
    this.#root = root;
  }

  showThreshold(threshold, source) {
    this.#write("threshold", threshold == null ? "–" : distance(threshold));
    this.#write("threshold-source", threshold == null ? "" : (SOURCES[source] ?? source));
    this.#find("threshold-source").dataset.source = source ?? "";
  }

  /** `calibration` as /health or /api/streams tells it, or null; `stream` is the entry of what is shown, or undefined. */
  show(calibration, stream) {
    this.#find("calibration-why").hidden = calibration !== null;
    this.#write("calibration-made", calibration ? made(calibration) : "");
    this.#write("calibration-promise", calibration ? promised(calibration) : "");
    this.#write("calibration-other", calibration && stream ? otherTransport(calibration, stream) : "");
    const since = (calibration && stream?.since_calibration) || null;
    this.#write("calibration-since", since ? sentence(since.sentence) : "");
    this.#find("calibration-since").dataset.kept = String(since?.kept ?? "unknown");
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }

  #write(id, text) {
    const field = this.#find(id);
    if (field.textContent !== text) field.textContent = text;
  }
}

function made({ when: at, stream, transport, n, rule }) {
  const over = !["unknown", "simulated", "pictures"].includes(transport); // these say nothing that the stream's name does not
  const from = [count(n, "part"), stream && `of ${stream}`, over && `over ${transportName(transport)}`].filter(Boolean).join(" ");
  return sentence(`made ${when(at)} from ${from}: ${ruleWords(rule)}`);
}

function promised({ promise, no_promise: noPromise }) {
  const words = promise ?? noPromise;
  return words ? sentence(words) : "";
}

function otherTransport({ transport }, stream) {
  if (["unknown", stream.transport].includes(transport)) return "";
  return `What is shown comes over ${transportName(stream.transport)}, which moves scores: calibrate here.`;
}
