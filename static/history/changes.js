// Changes of recipes as a list: when, what, from, to, why, on which data, who.

import { count } from "../shared/count.js";
import { element } from "../shared/elements.js";
import { capital, sentence } from "../shared/sentence.js";
import { timeElement } from "../shared/moments.js";

const SHOWN_AT_FIRST = 30;

/**
 * Fill `list` with `changes`, newest first. `goBack(change)` is called for one that can be gone back from; without it there is
 * no such button. A change may bring `recipe`, the name of its recipe.
 */
export function showChanges(list, changes, goBack = null) {
  const shown = Math.max(SHOWN_AT_FIRST, Number(list.dataset.shown ?? 0));
  const key = JSON.stringify([changes, shown]);
  if (list.dataset.told === key) return;
  list.dataset.told = key;
  list.replaceChildren(...changes.slice(0, shown).map((change) => item(change, goBack)));
  if (changes.length === 0) list.append(element("li", { className: "empty" }, "Nothing has changed yet."));
  if (changes.length <= shown) return;
  const more = () => {
    list.dataset.shown = shown + 100;
    showChanges(list, changes, goBack);
  };
  list.append(element("li", {}, element("button", { type: "button", className: "quiet", on: { click: more } }, `Show ${count(changes.length - shown, "older change")}`)));
}

/** Nothing is known of what is listed next. */
export function forgetChanges(list) {
  list.replaceChildren();
  for (const name of ["told", "shown"]) delete list.dataset[name];
}

function item(change, goBack) {
  const { when, who, action, why, on, was, became, from_version: from, to_version: to, recipe, can_restore: canRestore } = change;
  return element(
    "li",
    { className: "change", data: { testid: "change" } },
    timeElement(when),
    element(
      "div",
      {},
      element("p", { className: "change-action" }, recipe ? element("strong", {}, recipe) : "", recipe ? " · " : "", capital(action), to ? element("span", { className: "version" }, from ? `version ${from} → ${to}` : `version ${to}`) : ""),
      (was || became) && element("p", { className: "change-what" }, was && became ? `${was} → ` : was, element("b", {}, became)),
      element("p", { className: "change-why" }, [sentence(why), on && `On ${on}.`, who && `By ${who}.`].filter(Boolean).join(" ")),
    ),
    goBack && canRestore && element("button", { type: "button", className: "quiet", "aria-label": `Go back to version ${from}`, data: { testid: "go-back", needs: "engineer" }, on: { click: () => goBack(change) } }, `Go back to ${from}`),
  );
}
