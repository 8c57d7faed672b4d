"""A cache that cannot grow: memory is bounded by configuration, whatever arrives."""

from collections.abc import Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """A mapping of at most `size` items that forgets those that were not asked for of late.

    Two generations: when the young one is half the size, it becomes the old one and the former old one is dropped. What
    is still asked for moves back to the young one. Every step is O(1); a known key costs one or two dictionary
    look-ups.
    """

    __slots__ = ("_half", "_old", "young")

    def __init__(self, size: int) -> None:
        self._half = max(1, size // 2)
        self.young: dict[K, V] = {}
        """What was asked for of late; where every 0.1 µs counts, look here first and then `get`."""
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return the value of a key, None when it is not (or no longer) known."""
        value = self.young.get(key)
        if value is None and self._old:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember a value, which must not be None."""
        if len(self.young) >= self._half and key not in self.young:
            self._old = self.young
            self.young = {}
        self.young[key] = value

    def update(self, items: Iterable[tuple[K, V]]) -> None:
        """Remember many values at once: 100 take 2 µs, by `put` 7. The bound is exceeded by their number."""
        if len(self.young) >= self._half:
            self._old = self.young
            self.young = {}
        self.young.update(items)

    def forget(self, key: K) -> None:
        """Forget a key, known or not."""
        self.young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self.young, self._old = {}, {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
