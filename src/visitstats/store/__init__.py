"""The store: the only package that imports redis. `Store` is what the rest of the project sees of it."""
