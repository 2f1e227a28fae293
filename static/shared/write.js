/** Write `text` into the element `id`, only when it changed: screen readers and selections stay undisturbed. */
export function write(id, text) {
  const place = document.getElementById(id);
  if (place.textContent !== text) place.textContent = text;
}
