// The rules that place a threshold: `{ one_in }`, about one in so many good parts rejected, or `{ k }`, mean + k · std.

const BY_STD = "k";

export const [K_MIN, K_MAX] = [1, 10]; // what the server takes

export function ruleWords({ one_in: oneIn, k }) {
  return oneIn ? `about 1 in ${oneIn} good parts rejected` : `mean + ${k} · std`;
}

/** The form's fields that say which rule: a list of targets, and k for the rule at its end. */
export class RuleChoice {
  #target;
  #k;
  #kField;

  constructor(root, onchange) {
    this.#target = root.querySelector("#calibrate-rule");
    this.#k = root.querySelector("#calibrate-k");
    this.#kField = root.querySelector("#calibrate-k-field");
    for (const field of [this.#target, this.#k]) {
      field.addEventListener("input", () => {
        this.#kField.hidden = this.#target.value !== BY_STD;
        onchange();
      });
    }
  }

  /** The rule that is chosen, or null where k cannot be. */
  get rule() {
    if (this.#target.value !== BY_STD) return { one_in: Number(this.#target.value) };
    const k = Number(this.#k.value);
    return this.#k.value !== "" && k >= K_MIN && k <= K_MAX ? { k } : null;
  }
}
