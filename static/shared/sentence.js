/** Begins with a capital letter and ends with a full stop; "" of nothing. */
export function sentence(words) {
  return words ? `${words[0].toUpperCase()}${words.slice(1)}${/[.?!…]$/.test(words) ? "" : "."}` : "";
}
