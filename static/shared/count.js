const whole = new Intl.NumberFormat("en");

/** A number of things in words: `1 frame`, `2 frames`, `1,204 frames`. */
export function count(n, one, many = `${one}s`) {
  return `${whole.format(n)} ${n === 1 ? one : many}`;
}
