// The way to the form that asks who somebody is, and back.

import { address, root } from "./address.js";

/** Leave for the form; afterwards the browser is back at this very place. A framed page stays: its frame cannot log in. */
export function goToLogin() {
  if (window.top !== window.self) return;
  const next = `/${location.href.slice(root.length)}`;
  location.replace(`${address("enter")}?${new URLSearchParams({ next })}`);
}
