// Times as they read on this device's clock.

const moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** An element for an ISO 8601 time; the text itself where it is none. */
export function timeElement(iso) {
  return elementFor(iso, moment);
}

/** The same, to the day, with its year: for what is far ahead. */
export function dayElement(iso) {
  return elementFor(iso, day);
}

function elementFor(iso, words) {
  const made = document.createElement("time");
  made.dateTime = iso;
  const date = new Date(iso);
  made.textContent = Number.isNaN(date.getTime()) ? iso : words.format(date);
  return made;
}
