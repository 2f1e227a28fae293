// While parts are shown, and while they are learned.

import { count, noun } from "../shared/count.js";
import { question } from "../shared/question.js";
import { write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";
import { showCoverage } from "./coverage.js";
import { Filmstrip } from "./filmstrip.js";
import { FrameWords } from "./frame_words.js";
import { showNotes } from "./notes.js";
import { Seen } from "./seen.js";
import { Signals } from "./signals.js";
import { Upload } from "./upload.js";

const FLASH_MS = 450;
const LONG_S = 10; // of learning, from which on it is said how far it is

export class Showing {
  #root;
  #told;
  #teaching = null;
  #seen;
  #strip;
  #words = new FrameWords();
  #signals;
  #upload;
  #flash = 0;

  /** `told` hears `cancelled()`. */
  constructor(root, station, told) {
    this.#root = root;
    this.#told = told;
    this.#seen = new Seen(root, station);
    this.#signals = new Signals(this.#find("teach-signal"));
    this.#strip = new Filmstrip(root, (number, isUsed) => this.#teaching?.use(number, isUsed) ?? false);
    this.#upload = new Upload(root, (files) => this.#bring(files));
    this.#find("teach-shutter").addEventListener("click", () => this.#teaching?.take());
    this.#find("teach-auto").addEventListener("click", () => this.#teaching?.setAuto(!this.#teaching.body.auto));
    this.#find("teach-done").addEventListener("click", () => this.#teaching?.finish());
    this.#find("teach-cancel").addEventListener("click", () => this.#cancel());
  }

  begin(teaching) {
    this.#teaching = teaching;
    this.#words = new FrameWords();
    this.#strip.forget();
    this.#upload.stop();
    this.#find("teach-showing").hidden = false;
    this.render();
  }

  end() {
    this.#teaching = null;
    this.#seen.rest();
    this.#upload.stop();
    this.#find("teach-showing").hidden = true;
  }

  /** No picture is asked for while another view is shown. */
  rest() {
    this.#seen.rest();
  }

  render() {
    if (!this.#teaching) return;
    const { body } = this.#teaching;
    const now = performance.now();
    const isLearning = body.state === "learning";
    const isUpload = body.stream === null;
    if (this.#words.note(body, now)) this.#showTaken(isUpload);
    this.#find("teach-showing").dataset.state = body.state;
    this.#find("teach-showing").dataset.from = isUpload ? "pictures" : "stream";
    write(this.#find("teach-kicker"), body.more_of ? "Teaching more of" : "Teaching");
    write(this.#find("teach-shown-name"), body.name);
    write(this.#find("teach-shown-stream"), isUpload ? "from pictures" : `on ${body.stream}`);
    this.#showTrouble(body);
    this.#find("teach-picture").hidden = isUpload;
    this.#find("teach-drop").hidden = !isUpload || isLearning;
    this.#find("teach-signals").hidden = isUpload;
    this.#seen.show(body);
    write(this.#find("teach-parts"), String(body.coverage.parts));
    write(this.#find("teach-unit"), noun(body.coverage.parts, "part"));
    this.#upload.show(body);
    this.#showLast(body, now);
    showCoverage(this.#root, body);
    showNotes(this.#find("teach-notes"), body.notes);
    this.#strip.show(body, isLearning);
    this.#showActions(body, isUpload, isLearning);
  }

  #showLast(body, now) {
    const { tone, icon, word, detail } = this.#words.of(body, now, this.#upload.isOn);
    this.#find("teach-last").dataset.tone = tone;
    const href = `#icon-${icon}`;
    if (this.#find("teach-last-icon").getAttribute("href") !== href) this.#find("teach-last-icon").setAttribute("href", href);
    write(this.#find("teach-last-word"), word);
    write(this.#find("teach-last-detail"), detail);
  }

  #showTrouble(body) {
    const { problem, isAway } = this.#teaching;
    const failed = body.state === "failed" ? `${sentence(body.error ?? "it could not be learned")} Show more parts, or cancel.` : "";
    const away = isAway && "The server does not answer. What was shown is kept there; this page goes on by itself when it is back.";
    // What a press was answered may be of a while ago: it stands behind what is so now.
    write(this.#find("teach-banner"), away || [failed || this.#seen.trouble(body), sentence(problem)].filter(Boolean).join(" "));
  }

  #showActions(body, isUpload, isLearning) {
    this.#find("teach-actions").hidden = isLearning;
    this.#find("teach-last").hidden = isLearning;
    this.#find("teach-cancel").hidden = false;
    this.#find("teach-learning").hidden = !isLearning;
    this.#find("teach-shutter").hidden = this.#find("teach-auto").hidden = isUpload;
    this.#find("teach-auto").setAttribute("aria-checked", String(body.auto));
    const done = this.#find("teach-done");
    done.disabled = !body.can_finish || this.#teaching.isAway;
    write(this.#find("teach-done-hint"), doneHint(body));
    if (!isLearning) return;
    write(this.#find("teach-learning-title"), `Learning from ${count(body.coverage.parts, "part")}…`);
    const progress = this.#find("teach-progress");
    if (body.progress === null) progress.removeAttribute("value");
    else progress.value = body.progress;
    write(this.#find("teach-learning-far"), howFar(body));
  }

  #showTaken(isUpload) {
    if (!isUpload) this.#signals.taken();
    const flash = this.#find("teach-flash");
    flash.dataset.on = "true";
    clearTimeout(this.#flash);
    this.#flash = setTimeout(() => (flash.dataset.on = "false"), FLASH_MS);
  }

  async #bring(files) {
    const teaching = this.#teaching;
    return teaching && (await teaching.bring(files)) ? teaching.body.upload : null;
  }

  async #cancel() {
    const teaching = this.#teaching;
    const { coverage, pictures } = teaching.body;
    const sure = pictures.length === 0 || (await question({ title: "Stop teaching?", text: `${count(coverage.parts, "part")} shown so far ${coverage.parts === 1 ? "is" : "are"} thrown away. Nothing else changes.`, yes: "Throw away", no: "Go on teaching" }));
    if (!sure || teaching !== this.#teaching) return;
    try {
      await teaching.cancel();
      this.#told.cancelled("");
    } catch (error) {
      this.#told.cancelled(error.message);
    }
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function howFar({ learning_s: since, progress }) {
  if (since === null || since < LONG_S) return "";
  const share = progress === null ? "" : `${Math.round(progress * 100)} %, `;
  return `${share}${Math.floor(since)} s since Done`;
}

function doneHint({ can_finish: canFinish, coverage }) {
  if (!canFinish) return coverage.parts ? "A few more, then it can be learned." : "";
  return coverage.enough ? "" : "It can be learned now. More new parts make it surer.";
}
