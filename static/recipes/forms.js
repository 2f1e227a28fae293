// The threshold rule, the decision and the options of a recipe as forms.

import { FormCard } from "./form_card.js";
import { decisionWords, ruleWords } from "./words.js";

/** `save(value)` makes it count. */
export function ruleForm(form, save) {
  const fields = form.elements;
  return new FormCard(form, {
    read() {
      const kind = fields.rule.value;
      return { one_in: null, k: null, raw: null, [kind || "one_in"]: number(fields[kind || "one_in"]) };
    },
    show(rule) {
      const kind = ["one_in", "k", "raw"].find((name) => rule[name] !== null && rule[name] !== undefined) ?? "one_in";
      fields.rule.value = kind;
      fields[kind].value = rule[kind];
    },
    problem({ one_in: oneIn, k, raw }) {
      if (fields.rule.value === "one_in" && !(Number.isInteger(oneIn) && oneIn >= 5 && oneIn <= 100_000)) return "One in 5 to 100000 good parts, a whole number.";
      if (fields.rule.value === "k" && !(k >= 1 && k <= 10)) return "k is from 1 to 10 standard deviations.";
      if (fields.rule.value === "raw" && !(raw > 0)) return "A threshold is a number above 0.";
      return "";
    },
    words: ruleWords,
    save,
  });
}

export function decisionForm(form, save) {
  const fields = form.elements;
  return new FormCard(form, {
    read() {
      const kind = fields.kind.value || "frame";
      const release = number(fields.release) / 100;
      if (kind === "n_of_m") return { kind, n: number(fields.n), m: number(fields.of), release: 0.9 };
      if (kind === "hysteresis") return { kind, n: 1, m: number(fields.calm), release };
      return { kind, n: 1, m: 1, release: 0.9 };
    },
    show({ kind, n, m, release }) {
      fields.kind.value = kind;
      if (kind === "n_of_m") Object.assign(fields.n, { value: n }), Object.assign(fields.of, { value: m });
      if (kind === "hysteresis") Object.assign(fields.calm, { value: m }), Object.assign(fields.release, { value: Math.round(release * 100) });
    },
    problem({ n, m, release }) {
      const counts = [n, m].every((value) => Number.isInteger(value) && value >= 1 && value <= 50);
      if (!counts) return "Frames are a whole number from 1 to 50.";
      if (n > m) return "It cannot be more frames than are looked back on.";
      return release >= 0.1 && release <= 1 ? "" : "Released at 10 to 100 % of the threshold.";
    },
    words: decisionWords,
    save,
  });
}

export function optionsForm(form, save) {
  const field = form.elements.max_fps;
  return new FormCard(form, {
    read: () => ({ max_fps: field.value === "" && !field.validity.badInput ? null : number(field) }),
    show: ({ max_fps: most }) => (field.value = most ?? ""),
    problem: ({ max_fps: most }) => (most === null || (most >= 0.01 && most <= 1000) ? "" : "From 0.01 to 1000 inspections a second, or empty."),
    words: ({ max_fps: most }) => (most === null ? "Every frame that there is time for is inspected." : `${most} a second at the most; other frames count as dropped.`),
    save,
  });
}

function number(field) {
  return field.value === "" ? NaN : Number(field.value);
}
