"""A cache never holds more than it may, and never answers with a value that was not put."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.bounded import Bounded

steps = st.lists(
    st.tuples(st.sampled_from(["put", "get", "forget"]), st.integers(0, 12), st.integers(1, 99)), max_size=80
)


@given(st.integers(2, 12), steps)
def test_it_answers_the_last_value_or_nothing_and_holds_no_more_than_its_size(
    size: int, several: list[tuple[str, int, int]]
) -> None:
    cache: Bounded[int, int] = Bounded(size)
    truth: dict[int, int] = {}
    for what, key, value in several:
        if what == "put":
            cache.put(key, value)
            truth[key] = value
        elif what == "forget":
            cache.forget(key)
            truth.pop(key, None)
        else:
            assert cache.get(key) in (truth.get(key), None)
        assert len(cache) <= size
        assert what != "put" or cache.get(key) == value
        assert what != "forget" or cache.get(key) is None


def test_what_is_asked_for_stays_and_what_is_not_goes() -> None:
    cache: Bounded[str, int] = Bounded(100)
    cache.put("asked", 1)
    cache.put("never asked", 2)
    for n in range(1000):
        cache.put(f"passing by {n}", n + 1)
        assert cache.get("asked") == 1
    assert cache.get("never asked") is None
    assert cache.get("passing by 0") is None


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 300), st.booleans()), max_size=120))
def test_it_holds_no_more_bytes_than_it_may(several: list[tuple[int, int, bool]]) -> None:
    """Whatever is put and asked for, and in whichever order: what moves from one generation to the next counts, too.
    Only one item may be too heavy alone."""
    cache: Bounded[int, bytes] = Bounded(1000, 1000, lambda _, value: len(value))
    for key, size, asked in several:
        if asked:
            cache.get(key)
        else:
            cache.put(key, bytes(size))
            assert cache.get(key) == bytes(size)
        held = {**cache._old, **cache.young}
        assert sum(map(len, held.values())) <= 1000 + 300


def test_as_many_as_half_its_size_are_always_remembered() -> None:
    cache: Bounded[int, int] = Bounded(100)
    for n in range(1, 500):
        cache.put(n, n)
    assert all(cache.get(n) == n for n in range(450, 500))
