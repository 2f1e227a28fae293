// One view at a time of the one document: links, the browser's back and forward, the title, and where the focus goes.

import { address } from "../shared/address.js";
import { may, me, onMe, pairedStream, withArticle } from "../shared/me.js";
import { write } from "../shared/write.js";

const NAMES = ["live", "teach", "recipes", "history", "settings"]; // as server/web/pages.py
const FIRST = "live"; // which is at the root
const NEEDS = { teach: "engineer", settings: "operator" };
const AGAIN_AFTER_MS = 2_000;
const AWAY = "This could not be loaded: the server may be starting again, or this device be off its network. It is tried again by itself; if it does not come, load the page anew.";

/**
 * Each view is `static/NAME/view.js`, the first one loaded with the page, the others when they are first entered, with `enter({ root, go, ...given })`, told each time it is
 * shown, and `leave()`. `root` is its section of the document, `go(name)` leads to another view.
 */
export class Navigation {
  #given;
  #shown = null; // the name of the view that is shown
  #entered = null; // the same, where it is one that somebody may see, and that could be loaded
  #inside = null; // the module of the view that was entered and not left
  #modules = new Map();
  #tries = 0;
  #turn = 0; // somebody who walks on quickly enters the last one only

  constructor(given) {
    this.#given = given;
    document.addEventListener("click", (event) => this.#clicked(event));
    window.addEventListener("popstate", () => this.#show(viewIn(location), { focus: true }));
    this.#show(document.body.dataset.view, { focus: false });
    onMe(() => this.#show(this.#shown, { focus: false }));
  }

  /** Lead to a view; `hash` says where in it, without the #. Resolves once it can be pressed. */
  go(name, hash = "") {
    const url = address(name === FIRST ? "./" : name) + (hash && `#${hash}`);
    if (url !== location.href) {
      history.pushState(null, "", url);
      if (name === this.#shown) window.dispatchEvent(new PopStateEvent("popstate")); // the view shows what the address says
    }
    return this.#show(name, { focus: true });
  }

  #clicked(event) {
    const link = event.target.closest?.("a[data-view]");
    if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.go(link.dataset.view);
  }

  async #show(name, { focus }) {
    const barred = whyNot(name);
    if (name === this.#shown && (barred === "") === (this.#entered === name)) return;
    const turn = ++this.#turn;
    this.#inside?.leave();
    this.#inside = null;
    this.#shown = name;
    this.#entered = barred ? null : name;
    const title = this.#reveal(name, barred);
    if (focus) {
      window.scrollTo(0, 0);
      title.focus({ preventScroll: true }); // in vain in a view that was never entered
    }
    if (barred) return;
    const module = await this.#module(name).catch(() => null);
    if (turn !== this.#turn) return;
    if (module === null) return this.#fail(name, { focus });
    const root = document.getElementById(`view-${name}`);
    if (root.inert) {
      root.inert = false; // a press before it was entered for the first time would be lost
      if (focus) title.focus({ preventScroll: true });
    }
    this.#inside = module;
    module.enter({ ...this.#given, root, go: (...where) => this.go(...where) });
  }

  /** Show a view, or `instead` of it why not; answers what is its title then. */
  #reveal(name, instead) {
    closeDialogs();
    document.body.dataset.view = name;
    for (const view of NAMES) document.getElementById(`view-${view}`).hidden = view !== name || instead !== "";
    document.getElementById("view-barred").hidden = instead === "";
    for (const link of document.querySelectorAll(".nav a[data-view]")) {
      if (link.dataset.view === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const own = document.querySelector(`#view-${name} .view-title`);
    const title = instead ? document.getElementById("title-barred") : own;
    if (instead) write("title-barred", own.textContent);
    write("barred-words", instead);
    document.title = `${title.textContent} – DefectVision`;
    return title;
  }

  #fail(name, { focus }) {
    this.#entered = null; // pressed once more, it is tried at once
    const title = this.#reveal(name, AWAY);
    if (focus) title.focus({ preventScroll: true });
    this.#tryAgain(name, this.#turn);
  }

  async #tryAgain(name, turn) {
    await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
    if (turn !== this.#turn) return;
    const isThere = await this.#module(name).then(
      () => true,
      () => false,
    );
    if (turn !== this.#turn) return;
    if (isThere) this.#show(name, { focus: false });
    else this.#tryAgain(name, turn);
  }

  #module(name) {
    if (!this.#modules.has(name)) {
      const again = this.#tries > 0 ? `?again=${this.#tries}` : ""; // Firefox remembers of an address that it failed; of what a view imports, too, until the page is loaded anew
      const module = import(`../${name}/view.js${again}`);
      this.#modules.set(name, module);
      module.catch(() => {
        this.#tries += 1;
        this.#modules.delete(name);
      });
    }
    return this.#modules.get(name);
  }
}

/** A modal dialog goes on holding the whole document while the view that it lies in is hidden, and cannot be seen. This device's own sheets stay. */
function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]:not(#you, #pairing)")) dialog.close();
}

/** Why a view is not for whoever is here, a sentence, or "". */
function whyNot(name) {
  if (pairedStream() && name !== FIRST) return "This phone was paired for one stream. It sends and watches that, on Live.";
  if (!NEEDS[name] || may(NEEDS[name])) return "";
  return `This is for ${withArticle(NEEDS[name])}. You are here as ${withArticle(me().role)}: an admin can give you another role.`;
}

function viewIn({ pathname }) {
  const last = pathname.slice(pathname.lastIndexOf("/") + 1);
  return NAMES.includes(last) ? last : FIRST;
}
