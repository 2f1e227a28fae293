// How verdicts and dispositions read.

export const VERDICT = { ANOMALY: "Rejected", NORMAL: "Passed", FAILED: "Failed" };
export const MARK = { ANOMALY: "✕", NORMAL: "✓", FAILED: "!" };
export const SAID = { confirmed: "confirmed", false_reject: "false reject", escape: "escape" };

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const whole = new Intl.NumberFormat("en");

/** `09:30:05` of today, `25 Nov 09:30:05` of other days; by this device's clock. */
export function moment(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`;
}

export function number(value) {
  return whole.format(value);
}

export function score(value) {
  return value === null ? "–" : value.toFixed(2);
}

export function percent(value) {
  return value === null ? "–" : `${(100 * value).toFixed(value > 0.999 && value < 1 ? 2 : 1)} %`;
}

export function milliseconds(value) {
  if (value === null) return "–";
  return value < 1000 ? `${value < 100 ? value.toFixed(1) : Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
}

export function gigabytes(bytes) {
  return `${(bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 0)} GB`;
}
