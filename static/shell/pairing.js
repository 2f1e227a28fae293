// Pairs a phone: a QR code that is good once and for ten minutes, and whether it was used.

import { demand, send } from "../shared/server.js";
import { copy } from "../shared/copy.js";
import { element, write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";
import { streamIn } from "./sources.js";

const LOOK_EVERY_MS = 2_000;
const IS_NAME = /^[A-Za-z0-9._-]{1,64}$/;
const NO_CAMERA = "The phone may watch, but not send: browsers give their camera to https pages only. Start the server with HTTPS=true first.";
const NOT_REACHED = "No phone reaches this server: it listens on its own machine only. Stop it and start it with make phone, or HOST=0.0.0.0 defectvision serve --https; behind a proxy, give PUBLIC_URL the address that phones open.";

export class Pairing {
  #sheet;
  #station;
  #pairing = null; // { id, stream, device, endsAt }, while it waits
  #timer = 0;
  #turn = 0; // of the form: a code that comes late is not shown

  constructor(sheet, station) {
    this.#sheet = sheet;
    this.#station = station;
    this.#find("pairing-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#begin();
    });
    this.#find("pairing-again").addEventListener("click", () => this.#ask());
    this.#find("pairing-copy").addEventListener("click", () => this.#copy());
    for (const id of ["pairing-close", "pairing-done"]) this.#find(id).addEventListener("click", () => sheet.close());
    sheet.addEventListener("close", () => this.#forget());
  }

  open() {
    this.#ask();
    this.#sheet.showModal();
    this.#find("pairing-stream").focus();
  }

  // A stream that a phone could send: not one that the server renders, or fetches itself.
  #ask() {
    this.#forget();
    const { streams, source } = this.#station;
    const sent = streams.filter(({ simulated, camera }) => !simulated && !camera).map(({ name }) => name);
    const watched = streamIn(source);
    this.#find("pairing-streams").replaceChildren(...sent.map((name) => element("option", { value: name })));
    this.#find("pairing-stream").value = sent.includes(watched) ? watched : freeName(streams);
    this.#find("pairing-form").hidden = false;
    this.#find("pairing-again").hidden = true;
    this.#say("none", "");
    if (this.#sheet.open) this.#find("pairing-stream").focus();
  }

  async #begin() {
    const stream = this.#find("pairing-stream").value.trim();
    const device = this.#find("pairing-device").value.trim();
    if (![stream, device || stream].every((name) => IS_NAME.test(name))) return this.#say("problem", "A name has 1 to 64 letters, digits, dots, dashes and underlines.");
    const turn = this.#turn;
    this.#find("pairing-show").disabled = true;
    try {
      const made = await send("POST", "api/pairings", { stream, ...(device ? { device } : {}) });
      if (turn !== this.#turn) return;
      if (made.url === null) return this.#say("problem", NOT_REACHED);
      this.#show(made);
    } catch (error) {
      if (turn === this.#turn) this.#say("problem", sentence(error.message));
    } finally {
      this.#find("pairing-show").disabled = false;
    }
  }

  #show({ id, stream, device, url, qr, good_for_s: goodFor }) {
    this.#pairing = { id, stream, device, endsAt: performance.now() + goodFor * 1000 };
    this.#say(...(url.startsWith("http:") ? ["problem", NO_CAMERA] : ["none", ""]));
    this.#find("pairing-form").hidden = true;
    this.#find("pairing-code").hidden = false;
    this.#find("pairing-qr").replaceChildren(drawing(qr));
    write(this.#find("pairing-url"), url);
    this.#find("pairing-title").focus();
    this.#tick();
  }

  async #tick() {
    clearTimeout(this.#timer);
    const pairing = this.#pairing;
    if (!pairing) return;
    const left = pairing.endsAt - performance.now();
    write(this.#find("pairing-left"), `For ${pairing.stream}. Good once, for ${left > 90_000 ? `${Math.round(left / 60_000)} minutes` : `${Math.max(0, Math.ceil(left / 1000))} seconds`} more.`);
    let waits = left > 0;
    try {
      waits &&= (await demand(`api/pairings/${encodeURIComponent(pairing.id)}`)).waits;
    } catch (error) {
      if (error.status >= 400 && error.status < 500) return this.#end("problem", sentence(error.message));
    }
    if (pairing !== this.#pairing) return; // closed meanwhile
    if (waits) this.#timer = setTimeout(() => this.#tick(), LOOK_EVERY_MS);
    else if (left > LOOK_EVERY_MS) this.#end("done", `✓ Paired: ${pairing.device} may send and watch ${pairing.stream}.`);
    else this.#end("problem", "The ten minutes are over. Show another one.");
  }

  // The QR code is good for nothing any more: nobody is to scan it.
  #end(kind, words) {
    this.#forget();
    this.#say(kind, words);
    this.#find("pairing-again").hidden = false;
    this.#find("pairing-again").focus();
  }

  #forget() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#pairing = null;
    this.#find("pairing-code").hidden = true;
    this.#find("pairing-qr").replaceChildren();
    write(this.#find("pairing-url"), "");
  }

  async #copy() {
    this.#say("none", await copy(this.#find("pairing-url").textContent, this.#find("pairing-url")));
  }

  #say(kind, words) {
    this.#find("pairing-told").dataset.kind = kind;
    write(this.#find("pairing-told"), words);
  }

  #find(id) {
    return this.#sheet.querySelector(`#${id}`);
  }
}

/** `phone-1`, or the first number that no stream has. */
function freeName(streams) {
  const taken = new Set(streams.map(({ name }) => name));
  let number = 1;
  while (taken.has(`phone-${number}`)) number += 1;
  return `phone-${number}`;
}

/** The server's `<svg>` as an element; what it might carry beside shapes does not come along. */
function drawing(qr) {
  const parsed = new DOMParser().parseFromString(qr, "text/html").querySelector("svg");
  for (const odd of parsed.querySelectorAll("script, foreignObject")) odd.remove();
  parsed.setAttribute("aria-hidden", "true");
  return document.adoptNode(parsed);
}
