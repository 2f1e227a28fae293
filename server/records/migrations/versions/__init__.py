"""One module a step, by the order of their numbers."""
