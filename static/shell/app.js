// Starts the page: one station, the views around it, and the line that says how the connection is.

import { Navigation } from "./navigation.js";
import { Station } from "./station.js";
import { showConnection } from "./connection.js";

const station = new Station(document.getElementById("camera-feed"));
station.on("state", () => showConnection(station));
new Navigation({ station });
station.start();
