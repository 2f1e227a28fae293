// Asks once before something that cannot be taken back.

import { element } from "./elements.js";

/** Resolves to whether `yes` was pressed. `no` is what has the focus, and what Escape means. */
export function question({ title, text, yes, no }) {
  return new Promise((resolve) => {
    const answer = (said) => () => dialog.close(said);
    const dialog = element(
      "dialog",
      { className: "question", "aria-labelledby": "question-title", data: { testid: "question" }, on: { close: done } },
      element("h2", { id: "question-title" }, title),
      element("p", {}, text),
      element(
        "p",
        { className: "question-answers" },
        element("button", { type: "button", autofocus: true, data: { testid: "question-no" }, on: { click: answer("no") } }, no),
        element("button", { type: "button", className: "primary", data: { testid: "question-yes" }, on: { click: answer("yes") } }, yes),
      ),
    );
    function done() {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}
