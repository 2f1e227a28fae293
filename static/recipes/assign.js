// Which of the running streams are inspected with a recipe.

import { element, keep, write } from "../shared/elements.js";

/** `choose(stream, isChosen)` puts the recipe on a stream, or the default one. */
export class Assign {
  #root;
  #choose;

  constructor(root, choose) {
    this.#root = root;
    this.#choose = choose;
  }

  show(recipe, recipes, streams) {
    const nameOf = (stream) => recipes.find(({ streams: on }) => on.includes(stream))?.name;
    keep(
      this.#root.querySelector("#assign"),
      streams,
      ({ name }) => name,
      ({ name }) => this.#row(name),
      (row, { name, simulated, is_taught: isTaught }) => {
        const isOn = recipe.streams.includes(name);
        row.dataset.on = String(isOn);
        const button = row.querySelector("button");
        write(row.querySelector(".assign-now"), stateOf({ isTaught, isOn, simulated, other: nameOf(name) }));
        write(button, isOn ? "Back to the default" : "Use this recipe");
        button.disabled = Boolean(isTaught) || simulated || (isOn && recipe.is_default) || recipe.problem !== null;
        button.hidden = simulated; // it keeps its own recipe: the server refuses another one
      },
    );
    this.#root.querySelector("#assign-none").hidden = streams.length > 0;
  }

  #row(name) {
    const press = async (event) => {
      const row = event.currentTarget.closest("li");
      event.currentTarget.disabled = true;
      await this.#choose(name, row.dataset.on !== "true");
    };
    return element(
      "li",
      { data: { testid: "assign-stream" } },
      element("p", {}, element("strong", {}, name), " ", element("span", { className: "assign-now" })),
      element("button", { type: "button", data: { needs: "operator" }, on: { click: press } }),
    );
  }
}

function stateOf({ isTaught, isOn, simulated, other }) {
  if (isTaught) return "is being taught";
  if (isOn) return simulated ? "✓ inspected with this recipe, the only one it can have" : "✓ inspected with this recipe";
  if (simulated) return "keeps its own recipe";
  return other ? `inspected with ${other}` : "not inspected";
}
