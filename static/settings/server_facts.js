// How the server is set, and how phones reach it: to read.

import { element, write } from "../shared/elements.js";
import { me } from "../shared/me.js";

const FROM = { default: "default", environment: "environment", ".env": ".env file" };

export function showSettings(root, { settings, env_file: envFile }) {
  write(root.querySelector("#settings-how"), `Read at the start from the environment or ${envFile ?? "a .env file"}; change them there, and start the server again.`);
  root.querySelector("#all-settings").replaceChildren(
    ...settings.map(({ name, value, from, about, secret }) =>
      element(
        "tr",
        { data: { from } },
        element("th", { scope: "row" }, element("code", {}, name)),
        element("td", { data: { head: "Value" } }, shownValue(value, secret)),
        element("td", { data: { head: "From" } }, FROM[from] ?? from),
        element("td", { data: { head: "" } }, about),
      ),
    ),
  );
}

export function showAbout(root, { version, machine, data_dir: dataDirectory, https }) {
  const facts = [
    ["Version", version],
    ["Machine", machine],
    ["Data directory", dataDirectory],
    ["https", https.on ? (https.by === "proxy" ? "yes, by the proxy before it" : "yes") : "no"],
    ["Access", me()?.closed ? "everybody logs in" : "from this machine alone, without a login"],
  ];
  root.querySelector("#about").replaceChildren(
    ...facts.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

export function showPhones(root, { addresses, https }) {
  write(root.querySelector("#phones-state"), phonesState(addresses, https));
  root.querySelector("#addresses").replaceChildren(...addresses.map((found) => element("li", {}, element("a", { href: found }, found))));
  write(root.querySelector("#phones-fingerprint"), https.fingerprint ? `Fingerprint of its certificate authority (SHA-256): ${https.fingerprint}` : "");
}

function phonesState(addresses, https) {
  if (addresses.length === 0) return "This server listens on its own machine only: no phone reaches it. Start it with make phone, or with HOST=0.0.0.0 and HTTPS=true; behind a proxy, give PUBLIC_URL the address that phones open.";
  if (!https.on) return "Phones reach it, and can watch. Their cameras need https: start it with HTTPS=true.";
  return https.made_here ? "Phones reach it over https. The first visit warns, as the certificate was made here." : "Phones reach it over https.";
}

function shownValue(value, secret) {
  if (secret && value) return "•••";
  return value === null || value === "" ? element("span", { className: "not-set" }, "not set") : element("code", {}, value);
}
