// Addresses on this server, wherever a proxy has put it: found from where this very module came from.

const ROOT = new URL("../../", import.meta.url);

/** The address of the live page, with a slash at its end. */
export const root = ROOT.href;

/** The http: or https: address of a path such as `api/streams`. */
export function address(path) {
  return new URL(path, ROOT).href;
}

/** The ws: or wss: address of a path. */
export function socketAddress(path) {
  const url = new URL(path, ROOT);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
