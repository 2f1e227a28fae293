import { element } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";

/** What the person should know, a line each. */
export function showNotes(list, notes) {
  const told = JSON.stringify(notes);
  if (list.dataset.told === told) return;
  list.dataset.told = told;
  list.replaceChildren(...notes.map((note) => element("li", {}, sentence(note))));
}
