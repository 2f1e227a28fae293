// The stream name of this device, the same at every visit.

const KEY = "defectvision.stream-name";

export function deviceName() {
  const kept = read();
  if (kept && /^[A-Za-z0-9._-]{1,64}$/.test(kept)) return kept;
  const number = crypto.getRandomValues(new Uint16Array(1))[0].toString(16).padStart(4, "0");
  const name = `${deviceKind()}-${number}`;
  keepDeviceName(name);
  return name;
}

export function keepDeviceName(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // private windows may refuse: the name then lasts as long as the page
  }
}

function read() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function deviceKind() {
  if (!matchMedia("(pointer: coarse)").matches) return "computer";
  return Math.min(screen.width, screen.height) < 600 ? "phone" : "tablet";
}
