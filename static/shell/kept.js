// What this browser keeps for every visit. Private windows may refuse: then it lasts as long as the page.

/** The text under a key, or null. */
export function kept(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // as said above
  }
}
