// Settings, People and machines: logins, tokens, who is in, and what was done.

import { AuditLog } from "./audit.js";
import { browserWords } from "../../shared/browser_words.js";
import { copy } from "../../shared/copy.js";
import { count } from "../../shared/count.js";
import { demand, send } from "../../shared/server.js";
import { element, keep, write } from "../../shared/elements.js";
import { me } from "../../shared/me.js";
import { question } from "../../shared/question.js";
import { sentence } from "../../shared/sentence.js";
import { dayElement, timeElement } from "../../shared/moments.js";

const at = encodeURIComponent;

export class People {
  #root;
  #audit;
  #sessions = [];

  constructor(root) {
    this.#root = root;
    this.#audit = new AuditLog(root);
    this.#submit("user-form", "users", () => this.#addUser());
    this.#submit("token-form", "tokens", () => this.#addToken());
  }

  /** Ask for all of it. */
  async look() {
    this.#find("people-open").hidden = me()?.closed !== false;
    const [{ users }, { tokens }, { sessions }] = await Promise.all([demand("api/users"), demand("api/tokens"), demand("api/sessions"), this.#audit.look()]);
    this.#sessions = sessions;
    keep(this.#find("users"), users, ({ name }) => name, (user) => this.#userRow(user), fillUser);
    keep(this.#find("tokens"), tokens, ({ id }) => id, (token) => this.#tokenRow(token), fillToken);
    keep(this.#find("sessions"), sessions, ({ id }) => id, (session) => this.#sessionRow(session), fillSession);
    this.#find("sessions-none").hidden = sessions.length > 0;
  }

  async #addUser() {
    const { user, password } = await send("POST", "api/users", { name: this.#value("user-name"), role: this.#value("user-role") });
    this.#find("user-form").reset();
    this.#showSecret("user-secret", `Password of ${user.name}`, password);
  }

  async #addToken() {
    const streams = this.#value("token-streams").split(",").map((name) => name.trim()).filter(Boolean);
    const days = Number(this.#value("token-days"));
    const wanted = { name: this.#value("token-name"), role: this.#value("token-role"), ...(streams.length ? { streams } : {}), ...(days ? { days } : {}) };
    const { token, secret } = await send("POST", "api/tokens", wanted);
    this.#find("token-form").reset();
    this.#showSecret("token-secret", `Token ${token.name}`, secret);
  }

  #userRow({ name }) {
    const path = `api/users/${at(name)}`;
    const role = element("select", { "aria-label": `Role of ${name}`, data: { testid: "user-role-of" }, on: { change: () => this.#do("users", () => send("PATCH", path, { role: role.value })) } }, ...["viewer", "operator", "engineer", "admin"].map((word) => element("option", {}, word)));
    const disable = async ({ currentTarget }) => {
      const disabled = currentTarget.dataset.disables === "true";
      const phones = disabled ? this.#phonesOf(name) : "";
      const sure = phones ? await question({ title: `Disable ${name}?`, text: "Its browsers are logged out.", yes: "Disable it", no: "Leave it", also: phones }) : true;
      if (sure) await this.#do("users", () => send("PATCH", path + also(sure), { disabled }));
    };
    const reset = async () => {
      if (!(await question({ title: `Another password for ${name}?`, text: "The one that holds now is good for nothing then, and the login’s browsers are logged out.", yes: "Make a new one", no: "Leave it" }))) return;
      await this.#do("users", async () => this.#showSecret("user-secret", `New password of ${name}`, (await send("POST", `${path}/password`, {})).password));
    };
    const remove = async () => {
      const sure = await question({ title: `Remove ${name}?`, text: "Its browsers are logged out. What it did stays in the audit log.", yes: "Remove it", no: "Keep it", also: this.#phonesOf(name) });
      if (sure) await this.#do("users", () => demand(path + also(sure), { method: "DELETE" }));
    };
    return row("user", element("p", { className: "buttons" }, role, button(name, "user-disable", "Disable", disable), button(name, "user-password", "New password", reset), button(name, "user-remove", "Remove", remove)));
  }

  #tokenRow({ id, name }) {
    const revoke = async () => {
      const sure = await question({ title: `Revoke ${name}?`, text: "The machine that shows it is refused from now on.", yes: "Revoke it", no: "Keep it", also: this.#phonesOf(name) });
      if (sure) await this.#do("tokens", () => demand(`api/tokens/${at(id)}${also(sure)}`, { method: "DELETE" }));
    };
    return row("token", element("p", { className: "buttons" }, button(name, "token-revoke", "Revoke", revoke)));
  }

  #sessionRow({ id, name, address, own }) {
    return row("session", element("p", { className: "buttons" }, button(`${name}, ${address}`, "session-end", own ? "Log out" : "End", () => this.#do("sessions", () => demand(`api/sessions/${at(id)}`, { method: "DELETE" })))));
  }

  /** What to ask of the phones that one paired, which stay in without it; "" where there are none. */
  #phonesOf(name) {
    const paired = this.#sessions.filter(({ kind, by }) => kind === "device" && by?.toLowerCase() === name.toLowerCase()).length;
    return paired && `Revoke ${count(paired, "phone")} that it paired, too`;
  }

  #showSecret(id, what, secret) {
    const place = this.#find(id);
    place.hidden = false;
    const code = element("code", { data: { testid: `${id}-code` } }, secret);
    const said = element("small", { role: "status" }, "It is not shown again: keep it before you go on.");
    const copies = element("button", { type: "button", data: { testid: `${id}-copy` }, on: { click: async () => write(said, await copy(secret, code)) } }, "Copy");
    const close = () => {
      place.replaceChildren();
      place.hidden = true;
    };
    place.replaceChildren(element("span", {}, `${what}:`), code, copies, element("button", { type: "button", on: { click: close } }, "I have it"), said);
    copies.focus();
  }

  #submit(form, list, step) {
    this.#find(form).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#do(list, step);
    });
  }

  /** Do something, and say under `list` why not. */
  async #do(list, step) {
    const told = this.#find(`${list}-told`);
    let problem = "";
    try {
      await step();
    } catch (error) {
      problem = sentence(error.message);
    }
    write(told, problem);
    await this.look().catch(() => {}); // the next look comes soon
  }

  #value(id) {
    return this.#find(id).value.trim();
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function row(kind, buttons) {
  return element("li", { className: "camera person", data: { testid: kind } }, element("div", {}, element("p", { className: "person-name" }), element("p", { className: "person-more" })), buttons);
}

// In the address, where the phones go, too.
function also(sure) {
  return sure === "also" ? "?phones=1" : "";
}

function button(of, testid, words, click) {
  return element("button", { type: "button", className: "quiet", "aria-label": `${words}: ${of}`, data: { testid }, on: { click } }, words);
}

function chip(words, kind) {
  return element("span", { className: "chip", data: { kind } }, words);
}

// What is said is made anew only where it changed: a reader is not disturbed.
function say(made, thing, name, more) {
  const key = JSON.stringify(thing);
  if (made.dataset.told === key) return false;
  made.dataset.told = key;
  made.querySelector(".person-name").replaceChildren(...name.filter(Boolean));
  made.querySelector(".person-more").replaceChildren(...more.filter(Boolean));
  return true;
}

function fillUser(made, user) {
  const { name, role, disabled, sessions, seen } = user;
  if (!say(made, user, [name, disabled && chip("disabled", "off")], [sessions ? `${count(sessions, "browser")} in` : "nowhere in", seen && ", seen ", seen && timeElement(seen)])) {
    made.querySelector("select").value = role; // also where a change was refused
    return;
  }
  made.querySelector("select").value = role;
  const disable = made.querySelector("[data-testid=user-disable]");
  disable.dataset.disables = String(!disabled);
  write(disable, disabled ? "Enable" : "Disable");
  disable.setAttribute("aria-label", `${disabled ? "Enable" : "Disable"}: ${name}`);
}

function fillSession(made, session) {
  const { kind, name, role, streams, address, browser, by, seen, expires, own } = session;
  const who = [name, chip(kind === "device" ? "phone" : role), streams && chip(streams.join(", ")), own && chip("this one")];
  say(made, session, who, [`${browserWords(browser)}, ${address}, seen `, timeElement(seen), ", until ", dayElement(expires), by && `, paired by ${by}`]);
  made.querySelector("button").setAttribute("aria-label", `${own ? "Log out" : "End"}: ${name}, ${address}`);
}

function fillToken(made, token) {
  const { name, role, streams, by, created, expires, expired, used, origin } = token;
  const when = [created && "made ", created && timeElement(created), by && ` by ${by}`, created && ", ", used ? "used " : "not used yet", used && timeElement(used), expires && (expired ? ", ended " : ", until "), expires && dayElement(expires)];
  const set = origin === "ACCESS_CODE" ? ["; from the setting ACCESS_CODE, and changed there"] : [];
  say(made, token, [name, chip(role), chip(streams ? streams.join(", ") : "all streams"), expired && chip("over", "off")], [...when, ...set]);
  made.querySelector("button").hidden = origin === "ACCESS_CODE";
}
