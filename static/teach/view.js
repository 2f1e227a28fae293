// The view Teach.

/** `station` is static/shell/station.js, `root` this view's place in the document, `go(view)` leads to another view. */
export function enter({ station, root, go }) {}

export function leave() {}
