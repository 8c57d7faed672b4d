"""A cache that cannot grow: memory is bounded by configuration, whatever arrives."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """A mapping of at most `size` items that forgets those that were not asked for lately. Where strangers choose how
    long its items are, `weigh` says how many bytes one takes, and all of them together take at most `most_bytes`.

    It has two generations: when the young one has half of `size` items, it becomes the old one, and the former old one
    is dropped. An item that is asked for moves back to the young one. Every step is O(1); a known key costs one or two
    dictionary look-ups.
    """

    __slots__ = ("_half", "_half_bytes", "_old", "_weigh", "_weight", "young")

    def __init__(self, size: int, most_bytes: int = 0, weigh: Callable[[K, V], int] | None = None) -> None:
        self._half, self._half_bytes = max(1, size // 2), most_bytes // 2
        self._weigh = weigh
        self._weight = 0
        """Bytes of the young generation."""
        self.young: dict[K, V] = {}
        """The items that were asked for lately. Where every 0.1 µs counts, callers look here before they use `get`."""
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
        weight = self._weigh(key, value) if self._weigh else 0
        if key not in self.young and (len(self.young) >= self._half or self._weight + weight > self._half_bytes):
            self._age()
        self._weight += weight
        self.young[key] = value

    def update(self, items: Iterable[tuple[K, V]]) -> None:
        """Remember many values at once: 100 take 2 µs, by `put` 7. The bound is exceeded by their number. Not for a
        mapping that weighs its items."""
        if len(self.young) >= self._half:
            self._age()
        self.young.update(items)

    def forget(self, key: K) -> None:
        """Forget a key, known or not."""
        self.young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self.young, self._old, self._weight = {}, {}, 0

    def _age(self) -> None:
        self._old, self.young, self._weight = self.young, {}, 0

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
