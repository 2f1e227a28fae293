// All recipes, one line each.

import { element, keep, write } from "../shared/elements.js";
import { modelWords, streamsWords } from "./words.js";

/** `open(id)` is called with the recipe that was pressed. */
export function showList(list, recipes, opened, open) {
  keep(list, recipes, ({ id }) => id, ({ id }) => row(id, open), (made, recipe) => fill(made, recipe, recipe.id === opened));
}

function row(id, open) {
  return element(
    "li",
    {},
    element(
      "button",
      { type: "button", className: "recipe-row", data: { testid: "recipe-row" }, on: { click: () => open(id) } },
      element("span", { className: "recipe-row-name" }),
      element("span", { className: "chips" }),
      element("span", { className: "recipe-row-model" }),
      element("span", { className: "recipe-row-streams" }),
    ),
  );
}

function fill(made, recipe, isOpened) {
  const button = made.firstElementChild;
  if (isOpened) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
  write(button.querySelector(".recipe-row-name"), recipe.name);
  write(button.querySelector(".recipe-row-model"), modelWords(recipe));
  write(button.querySelector(".recipe-row-streams"), streamsWords(recipe));
  button.dataset.problem = String(recipe.problem !== null);
  showChips(button.querySelector(".chips"), recipe);
}

/** Version, default, given, cannot be used, not loaded. */
export function showChips(place, recipe) {
  const words = [`version ${recipe.version}`];
  if (recipe.is_default) words.push("default");
  if (recipe.is_given) words.push("given at the start");
  if (recipe.problem) words.push("⚠ cannot be used");
  else if (!recipe.is_loaded) words.push("loaded when it is needed");
  if (place.dataset.told === words.join()) return;
  place.dataset.told = words.join();
  place.replaceChildren(...words.map((word) => element("span", { className: "chip" }, word)));
}
