// Pictures that were taken before: chosen, or dropped onto the page, and brought a few at a time.

import { count, noun } from "../shared/count.js";
import { write } from "../shared/elements.js";

const MOST_FILES = 8;
const MOST_BYTES = 8e6;
const IS_PICTURE = /\.(jpe?g|png|webp|tiff?|bmp)$/i;
const IS_ZIP = /\.zip$/i;

export class Upload {
  #root;
  #bring;
  #queue = [];
  #of = 0; // files
  #batch = []; // that is on its way
  #isOn = false;
  #turn = 0; // of a teaching: what was chosen for one is not brought to another

  /** `bring(files)` hands a few to the server and resolves to what became of them, an UploadBody of /openapi.json; null: they were not brought. */
  constructor(root, bring) {
    this.#root = root;
    this.#bring = bring;
    const drop = this.#find("teach-drop");
    window.addEventListener("beforeunload", (event) => this.#isOn && event.preventDefault()); // the browser asks: what is not here yet would be lost
    for (const id of ["teach-files", "teach-folder"]) {
      this.#find(id).addEventListener("change", ({ target }) => {
        this.add([...target.files]);
        target.value = ""; // the same may be chosen again
      });
    }
    drop.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.dataset.over = "true";
    });
    drop.addEventListener("dragleave", () => (drop.dataset.over = "false"));
    drop.addEventListener("drop", async (event) => {
      event.preventDefault();
      drop.dataset.over = "false";
      const turn = this.#turn;
      const files = await filesOf(event.dataTransfer);
      if (turn === this.#turn) this.add(files);
    });
  }

  /** Whether files are on their way. */
  get isOn() {
    return this.#isOn;
  }

  /** How far the server is with what it was sent last. */
  show({ upload }) {
    if (!this.#isOn) return;
    const going = upload?.state === "going" ? upload : null;
    const [first] = this.#batch;
    const brought = this.#of - this.#queue.length - this.#batch.length;
    const progress = this.#find("teach-upload");
    progress.hidden = false;
    const done = brought + (going ? (this.#batch.length * going.looked_at) / going.of : 0);
    if (done > 0) progress.value = done / this.#of;
    else progress.removeAttribute("value");
    if (!IS_ZIP.test(first.name)) this.#say(`Sending ${count(this.#of, "picture")}: ${brought + (going?.looked_at ?? 0)} looked at…`);
    else this.#say(going ? `${going.looked_at} of ${count(going.of, "picture")} of ${first.name} looked at…` : `Sending ${first.name}…`);
  }

  /** Bring these; what is no picture and no ZIP is left out, and said. */
  async add(files) {
    const fit = files.filter(({ name, size }) => size > 0 && (IS_PICTURE.test(name) || IS_ZIP.test(name)));
    if (fit.length === 0) return this.#say(files.length ? "None of these is a picture or a ZIP." : "");
    this.#queue.push(...fit);
    this.#of += fit.length;
    if (!this.#isOn) await this.#work(files.length - fit.length);
  }

  stop() {
    this.#turn += 1;
    this.#end("");
  }

  async #work(leftOut) {
    const turn = this.#turn;
    this.#isOn = true;
    let [taken, of] = [0, 0];
    while (this.#queue.length) {
      this.#batch = this.#next();
      this.show({ upload: null });
      const became = await this.#bring(this.#batch);
      if (turn !== this.#turn) return;
      if (!became) return this.#end(`Stopped: ${count(this.#batch.length + this.#queue.length, "file")} not brought.`);
      taken += became.taken;
      of += became.of;
    }
    this.#end(`${taken} of ${count(of, "picture")} taken, from ${count(this.#of, "file")}${leftOut ? `; ${count(leftOut, "other")} left out: no ${noun(leftOut, "picture")}` : ""}.`);
  }

  #end(words) {
    this.#isOn = false;
    this.#queue = [];
    this.#batch = [];
    this.#of = 0;
    this.#find("teach-upload").hidden = true;
    this.#say(words);
  }

  // A ZIP by itself, pictures together up to a size that most proxies let through.
  #next() {
    const batch = [this.#queue.shift()];
    let bytes = batch[0].size;
    while (!IS_ZIP.test(batch[0].name) && this.#queue.length && batch.length < MOST_FILES && !IS_ZIP.test(this.#queue[0].name) && bytes + this.#queue[0].size <= MOST_BYTES) {
      bytes += this.#queue[0].size;
      batch.push(this.#queue.shift());
    }
    return batch;
  }

  #say(words) {
    write(this.#find("teach-upload-words"), words);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

/** Of what was dropped, folders included. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files];
  return (await Promise.all(entries.map(filesIn))).flat();
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (some.length === 0) return found;
    found.push(...(await Promise.all(some.map(filesIn))).flat());
  }
}
