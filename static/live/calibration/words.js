// Numbers and sentences as the calibration says them.

import { capital } from "../../shared/sentence.js";

const moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const TRANSPORTS = { websocket: "WebSocket", webrtc: "WebRTC", camera: "a pulled camera", simulated: "the simulated line", pictures: "pictures" };

/** A raw distance with three significant digits or more. */
export function distance(value) {
  return value >= 100 ? value.toFixed(1) : value.toPrecision(4);
}

/** Begins with a capital letter and ends with a full stop. */
export function sentence(words) {
  return `${capital(words)}${/[.?!]$/.test(words) ? "" : "."}`;
}

/** An ISO 8601 time as it reads on this device's clock; the text itself where it is none. */
export function when(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : moment.format(date);
}

export function transportName(transport) {
  return TRANSPORTS[transport] ?? transport;
}
