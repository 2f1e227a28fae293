// What became of the last frame: a shape, a word to read from an arm's length, and what to do next.

import { count } from "../shared/count.js";
import { sentence } from "../shared/sentence.js";

const TAKEN_STAYS_MS = 1_200;
const REASONS = [
  [/same part|lying still|still lying|not new|nothing new|like (one|those) before/i, { tone: "next", icon: "switch", word: "Show another" }],
  [/blur|sharp|focus|moves|moving|hold still/i, { tone: "wait", icon: "waiting", word: "Hold still" }],
  [/dark|black/i, { tone: "wait", icon: "torch", word: "More light" }],
  [/satur|bright|glare|overexpos/i, { tone: "wait", icon: "torch", word: "Too bright" }],
  [/full|most|at the most|no more/i, { tone: "next", icon: "normal", word: "That is enough" }],
];

/** Says `{ tone, icon, word, detail }` of a teaching; `tone` is taken, next, wait or idle. */
export class FrameWords {
  #parts = null;
  #takenAt = -Infinity;

  /** Whether this answer brought a part that those before it did not have. */
  note({ coverage: { parts } }, now) {
    const isNew = this.#parts !== null && parts > this.#parts;
    this.#parts = parts;
    if (isNew) this.#takenAt = now;
    return isNew;
  }

  /** `isSending`: this page brings pictures. */
  of({ last, auto, stream, pictures, upload, can_finish: canFinish }, now, isSending = false) {
    if (stream === null) return ofPictures({ pictures, upload, canFinish }, isSending);
    const wasTaken = now - this.#takenAt < TAKEN_STAYS_MS;
    if (wasTaken || last?.taken) return { tone: "taken", icon: "normal", word: "Taken", detail: `${count(this.#parts, "part")}. Now show another good part.` };
    if (last) {
      const [, known] = REASONS.find(([pattern]) => pattern.test(last.why)) ?? [null, { tone: "wait", icon: "waiting", word: "Not taken" }];
      return { ...known, detail: sentence(last.why) };
    }
    return { tone: "idle", icon: "teaching", word: "Show a good part", detail: auto ? "It is taken by itself when it is sharp, still and new." : "Press the shutter when it lies well." };
  }
}

// Without a stream there is no last frame: how bringing pictures goes.
function ofPictures({ pictures, upload, canFinish }, isSending) {
  const idle = { tone: "idle", icon: "teaching" };
  if (isSending) return { ...idle, word: "Taking pictures", detail: "Keep this page open until all were looked at." };
  if (upload?.state === "going") return { ...idle, word: "Taking pictures", detail: "They are brought from another page." };
  if (upload?.state === "broken") return { tone: "wait", icon: "waiting", word: "Broke off", detail: "Not all pictures came: bring them again." };
  if (pictures.length) return { ...idle, word: "Add more", detail: canFinish ? "Or press Done." : "" };
  return { ...idle, word: "Add pictures", detail: "Good parts only, 30 or more." };
}
