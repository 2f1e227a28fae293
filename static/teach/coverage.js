// How much of what good parts look like was shown: a mark for each of the last 20 pictures, filled where it brought something new.

import { element, write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";

const MARKS = 20;

export function showCoverage(root, { coverage, pictures }) {
  const marks = root.querySelector("#teach-marks");
  if (marks.childElementCount !== MARKS) marks.replaceChildren(...Array.from({ length: MARKS }, () => element("i", {})));
  const last = pictures.filter(({ copy }) => !copy).slice(-coverage.of_last).map(({ new: isNew }) => isNew);
  const told = last.length === coverage.of_last && last.filter(Boolean).length === coverage.new_of_last;
  const isNew = told ? last : Array.from({ length: coverage.of_last }, (_, i) => i < coverage.new_of_last);
  [...marks.children].forEach((mark, i) => (mark.dataset.new = i < isNew.length ? String(isNew[i]) : "none"));
  marks.setAttribute("aria-label", `Of the last ${coverage.of_last} ${coverage.of_last === 1 ? "picture" : "pictures"}, ${coverage.new_of_last} brought something new`);
  const numbers = coverage.of_last ? `Of the last ${coverage.of_last}, ${coverage.new_of_last} ${coverage.new_of_last === 1 ? "was" : "were"} new.` : "Nothing was shown yet.";
  write(root.querySelector("#teach-new-of-last"), coverage.enough ? `✓ Enough. ${numbers}` : numbers);
  write(root.querySelector("#teach-bounds"), coverage.of_last ? sentence(coverage.sentence) : "");
  root.querySelector("#teach-coverage").dataset.enough = String(coverage.enough);
}
