// Copies a text, where the browser lets a page do that; elsewhere it is selected, to be copied by hand.

/** Resolves to what to say. `place` is the element that shows the text. */
export async function copy(text, place) {
  try {
    await navigator.clipboard.writeText(text); // absent on plain http
    return "Copied.";
  } catch {
    getSelection().selectAllChildren(place);
    return "Selected: copy it with Ctrl+C, or hold a finger on it.";
  }
}
