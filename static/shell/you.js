// Who is logged in: name and role in the head of the page, and a sheet to log out, to change the password, and to end one's other browsers.

import { browserWords } from "../shared/browser_words.js";
import { demand, send } from "../shared/server.js";
import { element, keep, write } from "../shared/elements.js";
import { goToLogin } from "../shared/login.js";
import { me, onMe } from "../shared/me.js";
import { sentence } from "../shared/sentence.js";
import { timeElement } from "../shared/moments.js";

export class You {
  #sheet;
  #open;

  /** `sheet` is a dialog, `open` the button that opens it, `pair()` opens the one that pairs a phone. */
  constructor(sheet, open, { pair }) {
    this.#sheet = sheet;
    this.#open = open;
    open.addEventListener("click", () => this.#show());
    this.#find("you-close").addEventListener("click", () => sheet.close());
    this.#find("you-log-out").addEventListener("click", () => this.#logOut());
    this.#find("you-password-open").addEventListener("click", () => this.#askPassword(true));
    this.#find("you-password-cancel").addEventListener("click", () => this.#askPassword(false));
    this.#find("you-reveal").addEventListener("change", () => this.#reveal());
    this.#find("you-password-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#changePassword();
    });
    this.#find("you-pair").addEventListener("click", () => {
      sheet.close();
      pair();
    });
    sheet.addEventListener("close", () => this.#askPassword(false)); // what was typed is gone
    onMe(() => this.#render());
  }

  #render() {
    const { name, role, how, login, streams } = me();
    const isDevice = how === "device";
    this.#open.hidden = how === "open" || how === "nobody";
    write(this.#find("you-open-name", document), name);
    write(this.#find("you-open-role", document), isDevice ? "phone" : role);
    this.#open.setAttribute("aria-label", `${name}, ${isDevice ? "a paired phone" : role}: your login`);
    write(this.#find("you-title"), name);
    const only = streams ? `, for ${streams.join(", ")} only` : "";
    write(this.#find("you-about"), isDevice ? `This phone was paired${only}.` : `You are here as ${role}${only}.`);
    write(this.#find("you-log-out"), isDevice ? "End the pairing" : "Log out");
    this.#find("you-password-open").hidden = !login;
    this.#find("you-sessions-part").hidden = !login;
    this.#find("you-username").value = name;
  }

  #show() {
    this.#say("none", "");
    this.#sheet.showModal();
    this.#find("you-title").focus();
    if (me().login) this.#look();
  }

  async #look() {
    try {
      const { sessions } = await demand("api/me/sessions");
      keep(this.#find("you-sessions"), sessions, ({ id }) => id, (session) => this.#row(session), fill);
    } catch (error) {
      this.#say("problem", sentence(error.message));
    }
  }

  #row({ id, browser, own }) {
    const end = element("button", { type: "button", className: "quiet", data: { testid: "you-session-end" }, on: { click: () => this.#end(id) } }, "End");
    return element(
      "li",
      { className: "camera", data: { testid: "you-session" } },
      element(
        "div",
        {},
        element("p", { className: "session-what" }, browserWords(browser) || "A browser", own && element("span", { className: "chip" }, "this one")),
        element("p", { className: "session-more" }),
      ),
      !own && end,
    );
  }

  async #end(id) {
    try {
      await demand(`api/me/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
      this.#say("done", "✓ That browser is logged out.");
    } catch (error) {
      this.#say("problem", sentence(error.message));
    }
    await this.#look();
    this.#find("you-title").focus(); // the button is gone
  }

  #askPassword(asks) {
    this.#find("you-password-form").hidden = !asks;
    this.#find("you-password-open").hidden = asks || !me()?.login;
    for (const id of ["you-current", "you-new"]) this.#find(id).value = "";
    write(this.#find("you-password-told"), "");
    this.#find("you-reveal").checked = false;
    this.#reveal();
    if (asks) {
      this.#say("none", "");
      this.#find("you-current").focus();
    }
  }

  #reveal() {
    for (const id of ["you-current", "you-new"]) this.#find(id).type = this.#find("you-reveal").checked ? "text" : "password";
  }

  async #changePassword() {
    const save = this.#find("you-password-save");
    save.disabled = true;
    try {
      await send("POST", "api/me/password", { current: this.#find("you-current").value, new: this.#find("you-new").value });
      this.#askPassword(false);
      this.#say("done", "✓ The password is changed. Your other browsers are logged out.");
      this.#find("you-password-open").focus();
      this.#look();
    } catch (error) {
      write(this.#find("you-password-told"), sentence(error.message));
    } finally {
      save.disabled = false;
    }
  }

  async #logOut() {
    try {
      await demand("api/logout", { method: "POST" });
      goToLogin();
    } catch (error) {
      this.#say("problem", sentence(error.message));
    }
  }

  #say(kind, words) {
    this.#find("you-told").dataset.kind = kind;
    write(this.#find("you-told"), words);
  }

  #find(id, within = this.#sheet) {
    return within.querySelector(`#${id}`);
  }
}

/** What changes of a session: from where it was seen last, and when. */
function fill(row, { browser, address, seen }) {
  row.querySelector("button")?.setAttribute("aria-label", `End ${browserWords(browser)}, ${address}`);
  row.querySelector(".session-more").replaceChildren(`${address}, seen `, timeElement(seen));
}
