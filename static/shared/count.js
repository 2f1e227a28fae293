const whole = new Intl.NumberFormat("en");

/** A number of things in words: `1 frame`, `2 frames`, `1,204 frames`. */
export function count(n, one, many = `${one}s`) {
  return `${whole.format(n)} ${noun(n, one, many)}`;
}

/** The noun alone, where the number stands elsewhere. */
export function noun(n, one, many = `${one}s`) {
  return n === 1 ? one : many;
}
