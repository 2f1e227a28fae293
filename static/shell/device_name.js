// The stream name of this device, the same at every visit.

import { keep, kept } from "./kept.js";

const KEY = "defectvision.stream-name";

export function deviceName() {
  const known = kept(KEY);
  if (known && /^[A-Za-z0-9._-]{1,64}$/.test(known)) return known;
  const number = crypto.getRandomValues(new Uint16Array(1))[0].toString(16).padStart(4, "0");
  const name = `${deviceKind()}-${number}`;
  keepDeviceName(name);
  return name;
}

export function keepDeviceName(name) {
  keep(KEY, name);
}

function deviceKind() {
  if (!matchMedia("(pointer: coarse)").matches) return "computer";
  return Math.min(screen.width, screen.height) < 600 ? "phone" : "tablet";
}
