// How much of what good parts look like was shown: a mark for each of the last 20 pictures, filled where it brought something new;
// and the same in words, once.

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
  write(root.querySelector("#teach-bounds"), `${coverage.enough ? "✓ " : ""}${sentence(coverage.sentence)}`);
  root.querySelector("#teach-coverage").dataset.enough = String(coverage.enough);
}
