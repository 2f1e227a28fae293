// Starts the page: who is at it, one station, the views around it, and the line that says how the connection is.

import { Navigation } from "./navigation.js";
import { Pairing } from "./pairing.js";
import { Station } from "./station.js";
import { You } from "./you.js";
import { lookAtMe } from "../shared/me.js";
import { showConnection } from "./connection.js";

const WAITED_FOR_MS = 2_000; // a server that hangs must not leave the page without words

const station = new Station(document.getElementById("camera-feed"));
station.on("state", () => showConnection(station));
const pairing = new Pairing(document.getElementById("pairing"), station);
new You(document.getElementById("you"), document.getElementById("you-open"), { pair: () => pairing.open() });
for (const link of document.querySelectorAll("[data-pairs]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    pairing.open();
  });
}
await Promise.race([lookAtMe(), new Promise((resolve) => setTimeout(resolve, WAITED_FOR_MS))]);
new Navigation({ station });
station.start();
