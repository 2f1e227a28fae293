const LITERAL = /[:_/.\d@=]/; // within its first word: a name, an address or a secret, which is another one with a capital letter

/** Begins with a capital letter, unless it begins with what stands for itself. */
export function capital(words) {
  if (!words) return "";
  const first = words.split(/\s/, 1)[0].replace(/[.,:;!?…)]+$/, "");
  return LITERAL.test(first) ? words : words[0].toUpperCase() + words.slice(1);
}

/** Begins with a capital letter and ends with a full stop; "" of nothing. */
export function sentence(words) {
  return words ? `${capital(words)}${/[.?!…]$/.test(words) ? "" : "."}` : "";
}
