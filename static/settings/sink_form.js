// The form of one sink, made from what the server says of its kind.

import { element, write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";
import * as requests from "./requests.js";

const PARTS = { all: "every part", rejects: "rejected parts only", none: "none" };
const TOLD = { streams: [], parts: "all", verdicts: true, results_per_s: 0, state: true };

export class SinkForm {
  #form;
  #about;
  #kind = null;
  #sink = null; // the one that is changed; null: a new one
  #turn = 0; // of a form: another one may be opened before an answer comes
  #tests = 0;
  #saysTest = false; // whether what stands there is of a test

  /** `saved(name)` after it is kept, `failed(id, name, words)` where it could not be and the form is gone, `closed()` when that is. */
  constructor(form, about) {
    this.#form = form;
    this.#about = about;
    form.addEventListener("input", ({ target }) => target.id !== "sink-name" && this.#forgetTest());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  get isOpen() {
    return this.#kind !== null;
  }

  get id() {
    return this.#sink?.id ?? null;
  }

  begin(kind, sink = null) {
    this.#kind = kind;
    this.#sink = sink;
    this.#tests += 1;
    this.#turn += 1;
    this.#form.replaceChildren(...this.#made());
    this.#form.hidden = false;
    this.#form.querySelector("input").focus();
  }

  close() {
    this.#kind = this.#sink = null;
    this.#tests += 1;
    this.#turn += 1;
    this.#form.hidden = true;
    this.#form.replaceChildren(); // no secret stays in the page
    this.#about.closed();
  }

  #made() {
    const { title, fields, told } = this.#kind;
    const name = { name: "name", title: "Name", about: "In the log, and wherever it is shown.", kind: "text", required: true, longest: 64, placeholder: "mes" };
    const shown = fields.filter(({ more }) => !more).map((one) => this.#field(one));
    const more = fields.filter((one) => one.more).map((one) => this.#field(one));
    return [
      element("h3", { id: "sink-form-title" }, this.#sink ? `Change ${this.#sink.name}` : `Add: ${title}`),
      element("div", { className: "sink-fields" }, this.#field(name, "sink-name", this.#sink?.name), ...shown),
      more.length ? element("details", {}, element("summary", {}, "More"), element("div", { className: "sink-fields" }, ...more)) : null,
      told ? element("details", {}, element("summary", {}, "What it is told"), this.#told()) : null,
      element(
        "label",
        { className: "option-line" },
        element("input", { type: "checkbox", id: "sink-enabled", checked: this.#sink ? this.#sink.enabled : true, data: { testid: "sink-enabled" } }),
        "Switched on",
      ),
      element(
        "p",
        { className: "buttons" },
        element("button", { type: "button", data: { testid: "sink-form-test" }, on: { click: () => this.#test() } }, "Test"),
        element("button", { type: "submit", className: "primary", data: { testid: "sink-save" } }, this.#sink ? "Save" : "Add"),
        element("button", { type: "button", data: { testid: "sink-cancel" }, on: { click: () => this.close() } }, "Cancel"),
      ),
      element("p", { className: "sink-tried", role: "status", data: { testid: "sink-form-tried", outcome: "none" } }),
    ].filter(Boolean);
  }

  #field(field, id = `sink-setting-${field.name}`, value = this.#sink?.settings[field.name]) {
    const about = `${id}-about`;
    const common = { id, data: { testid: id }, "aria-describedby": about };
    const given = value ?? field.default;
    const why = element("p", { className: "sink-about", id: about }, [sentence(field.about), this.#isKept(field) ? "One is kept: leave it empty to keep it." : ""].filter(Boolean).join(" "));
    if (field.kind === "yes_no") {
      const box = element("input", { ...common, type: "checkbox", checked: Boolean(given) });
      return element("div", {}, element("label", { className: "option-line" }, box, field.title), why);
    }
    const label = element("label", { htmlFor: id }, field.unit ? `${field.title} (${field.unit})` : field.title);
    const wide = field.kind === "lines" || field.longest >= 200;
    const made = element("div", { className: wide ? "field field-wide" : "field" }, label, this.#input(field, common, given), why);
    if (!this.#isKept(field) || field.required) return made;
    const forget = element("input", { type: "checkbox", id: `${id}-forget` });
    return [made, element("label", { className: "option-line field-wide" }, forget, `${field.title}: forget the one that is kept`)];
  }

  #input(field, common, given) {
    const text = { ...common, autocomplete: field.secret ? "new-password" : "off", spellcheck: false, autocapitalize: "off", placeholder: field.placeholder || "", required: field.required };
    switch (field.kind) {
      case "choice": {
        const made = element("select", common, ...field.choices.map((choice) => element("option", { value: choice }, choice)));
        made.value = given;
        return made;
      }
      case "lines":
        return element("textarea", { ...text, maxLength: field.longest ?? 100_000, value: given ?? "" });
      case "number":
      case "whole":
        return element("input", { ...text, type: "number", step: field.kind === "whole" ? "1" : "any", inputMode: field.kind === "whole" ? "numeric" : "decimal", min: field.least ?? "", max: field.most ?? "", value: given ?? "" });
      default: {
        const made = element("input", { ...text, type: field.secret ? "password" : "text", maxLength: field.longest ?? 2000, value: given ?? "" });
        return field.makes === "whsec" ? this.#withMaker(made) : made;
      }
    }
  }

  /** A secret that the server never tells back has to be seen once, to be given to the other side. */
  #withMaker(input) {
    const make = () => {
      this.#forgetTest();
      const bytes = crypto.getRandomValues(new Uint8Array(32));
      input.value = `whsec_${btoa(String.fromCharCode(...bytes))}`;
      input.type = "text";
      input.select();
      this.#say("Copy it to the receiver now: it is not shown again.", "wait");
    };
    return element("div", { className: "sink-made" }, input, element("button", { type: "button", data: { testid: "sink-make" }, on: { click: make } }, "Make one"));
  }

  #told() {
    const told = this.#sink?.told ?? TOLD;
    const check = (name, words) => element("label", { className: "option-line" }, element("input", { type: "checkbox", id: `sink-told-${name}`, checked: told[name] }), words);
    const parts = element("select", { id: "sink-told-parts", data: { testid: "sink-told-parts" } }, ...Object.entries(PARTS).map(([value, words]) => element("option", { value }, words)));
    parts.value = told.parts;
    return element(
      "div",
      { className: "sink-fields" },
      element("div", { className: "field" }, element("label", { htmlFor: "sink-told-parts" }, "Parts"), parts),
      element("div", { className: "field" }, element("label", { htmlFor: "sink-told-streams" }, "Streams, with commas between"), element("input", { type: "text", id: "sink-told-streams", value: told.streams.join(", "), placeholder: "all", autocomplete: "off", spellcheck: false })),
      element("div", { className: "field" }, element("label", { htmlFor: "sink-told-results" }, "Free-running results of a stream (a second)"), element("input", { type: "number", id: "sink-told-results", min: "0", max: "10", step: "any", inputMode: "decimal", value: told.results_per_s })),
      element("div", { className: "field-wide" }, check("verdicts", "Changes of a free-running verdict"), check("state", "Cameras that come and go, changes of recipe")),
    );
  }

  #isKept(field) {
    return Boolean(field.secret && this.#sink?.secrets.includes(field.name));
  }

  /** What is written in the form. */
  #wanted() {
    const settings = {};
    for (const field of this.#kind.fields) {
      const input = this.#find(`sink-setting-${field.name}`);
      if (field.kind === "yes_no") settings[field.name] = input.checked;
      else if (field.kind === "number" || field.kind === "whole") settings[field.name] = input.value === "" ? field.default : Number(input.value);
      else if (field.secret && !input.value) {
        if (this.#find(`sink-setting-${field.name}-forget`)?.checked) settings[field.name] = field.default ?? "";
      } // else the one that is kept stays
      else settings[field.name] = field.kind === "text" ? input.value.trim() : input.value;
    }
    return { kind: this.#kind.name, name: this.#find("sink-name").value.trim(), settings };
  }

  #wantedTold() {
    if (!this.#kind.told) return {};
    const told = {
      streams: this.#find("sink-told-streams").value.split(",").map((name) => name.trim()).filter(Boolean),
      parts: this.#find("sink-told-parts").value,
      verdicts: this.#find("sink-told-verdicts").checked,
      results_per_s: Number(this.#find("sink-told-results").value) || 0,
      state: this.#find("sink-told-state").checked,
    };
    return { told };
  }

  #problem({ name, settings }, { needsName }) {
    if (needsName && !/^[A-Za-z0-9._-]{1,64}$/.test(name)) return ["sink-name", "The name has 1 to 64 letters, digits, dots, dashes and underlines."];
    for (const field of this.#kind.fields) {
      const id = `sink-setting-${field.name}`;
      const input = this.#find(id);
      if (input.validity.badInput) return [id, `${field.title} is a number.`];
      if (field.required && !settings[field.name] && settings[field.name] !== 0 && !this.#isKept(field)) return [id, `${field.title} is missing.`];
      if (input.validity.rangeUnderflow || input.validity.rangeOverflow) return [id, range(field)];
      if (field.kind === "whole" && settings[field.name] !== null && !Number.isInteger(settings[field.name])) return [id, `${field.title} is a whole number.`];
    }
    if (this.#kind.told && this.#find("sink-told-results").validity.badInput) return ["sink-told-results", "Free-running results of a stream is a number."];
    return null;
  }

  async #test() {
    const wanted = this.#wanted();
    if (this.#refuse(wanted, { needsName: false })) return;
    const turn = ++this.#tests;
    const button = this.#form.querySelector("[data-testid=sink-form-test]");
    button.disabled = true;
    this.#say("Trying, up to half a minute…", "wait", { ofTest: true });
    try {
      const { ok, words } = await requests.testSink(this.id, { ...wanted, name: wanted.name || "test" });
      if (turn === this.#tests) this.#say(`${ok ? "✓ " : ""}${sentence(words)}`, ok ? "done" : "problem", { ofTest: true });
    } catch (error) {
      if (turn === this.#tests) this.#say(sentence(error.message), "problem", { ofTest: true });
    } finally {
      button.disabled = false;
    }
  }

  async #save() {
    const wanted = this.#wanted();
    if (this.#refuse(wanted, { needsName: true })) return;
    const all = { ...wanted, ...this.#wantedTold(), enabled: this.#find("sink-enabled").checked };
    const button = this.#form.querySelector("[data-testid=sink-save]");
    const [id, turn] = [this.id, this.#turn];
    const isStill = () => turn === this.#turn;
    button.disabled = true;
    try {
      if (id) {
        const { kind, ...change } = all;
        await requests.changeSink(id, change);
      } else await requests.addSink(all);
    } catch (error) {
      if (isStill()) this.#say(sentence(error.message), "problem");
      else this.#about.failed(id, all.name, sentence(error.message));
      return;
    } finally {
      button.disabled = false;
    }
    if (isStill()) this.close();
    await this.#about.saved(all.name);
  }

  #refuse(wanted, needs) {
    const problem = this.#problem(wanted, needs);
    if (!problem) return false;
    const [id, words] = problem;
    const input = this.#find(id);
    const folded = input.closest("details");
    if (folded) folded.open = true;
    this.#say(words, "problem");
    input.focus();
    return true;
  }

  // What was tried is not what is written now; its name is nothing to it.
  #forgetTest() {
    this.#tests += 1;
    if (this.#saysTest) this.#say("", "none");
  }

  #say(words, outcome, { ofTest = false } = {}) {
    this.#saysTest = ofTest;
    const place = this.#form.querySelector("[data-testid=sink-form-tried]");
    if (!place) return;
    place.dataset.outcome = outcome;
    write(place, words);
  }

  #find(id) {
    return this.#form.querySelector(`#${id}`);
  }
}

function range({ title, least, most }) {
  if (least !== null && most !== null) return `${title} is from ${least} to ${most}.`;
  return least !== null ? `${title} is ${least} or more.` : `${title} is ${most} at the most.`;
}
