// Times as they read on this device's clock.

const moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** An element for an ISO 8601 time; the text itself where it is none. */
export function timeElement(iso) {
  const made = document.createElement("time");
  made.dateTime = iso;
  const date = new Date(iso);
  made.textContent = Number.isNaN(date.getTime()) ? iso : moment.format(date);
  return made;
}
