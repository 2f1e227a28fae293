// One stream on a whole screen, for people who stand three metres away.

import { Screen } from "../shared/screen.js";

new Screen({ path: "kiosk", panel: document.getElementById("kiosk") }).begin();
