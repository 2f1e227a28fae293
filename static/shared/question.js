// Asks once before something that cannot be taken back.

import { element } from "./elements.js";

/**
 * Resolves to whether `yes` was pressed. `no` is what has the focus, and what Escape means. With `also`, words of what may be done with it, there
 * is a box for that, ticked at first, and what is resolved is "also" where it stayed so.
 */
export function question({ title, text, yes, no, also = "" }) {
  return new Promise((resolve) => {
    const box = also && element("input", { type: "checkbox", checked: true, data: { testid: "question-also" } });
    const answer = (said) => () => dialog.close(said);
    const dialog = element(
      "dialog",
      { className: "question", "aria-labelledby": "question-title", data: { testid: "question" }, on: { close: done } },
      element("h2", { id: "question-title" }, title),
      element("p", {}, text),
      ...(box ? [element("label", { className: "option-line" }, box, also)] : []),
      element(
        "p",
        { className: "question-answers" },
        element("button", { type: "button", autofocus: true, data: { testid: "question-no" }, on: { click: answer("no") } }, no),
        element("button", { type: "button", className: "primary", data: { testid: "question-yes" }, on: { click: answer("yes") } }, yes),
      ),
    );
    function done() {
      dialog.remove();
      const said = dialog.returnValue === "yes";
      resolve(said && box?.checked ? "also" : said);
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}
