// Who wants to be told of what.

export class Listeners {
  #of = new Map();

  /** Call `listener` at every `kind`; returns a function that ends it. */
  on(kind, listener) {
    const listening = this.#of.get(kind) ?? new Set();
    this.#of.set(kind, listening.add(listener));
    return () => listening.delete(listener);
  }

  tell(kind, ...what) {
    for (const listener of [...(this.#of.get(kind) ?? [])]) listener(...what);
  }
}
