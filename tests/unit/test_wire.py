"""Bytes that go to the scripts come out of msgpack as they went in."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.wire import column, text

pack = msgspec.msgpack.Encoder().encode


def strings(data: bytes) -> list[bytes]:
    """Read an array of msgpack strings by hand: msgspec refuses strings that are no UTF-8."""
    assert data[0] == 0xDC
    count, data, found = int.from_bytes(data[1:3], "big"), data[3:], []
    for _ in range(count):
        size, data = data[0] - 0xA0, data[1:]
        assert 0 <= size < 32
        found.append(data[:size])
        data = data[size:]
    assert not data
    return found


@given(st.lists(st.binary(min_size=8, max_size=8) | st.just(b""), max_size=40))
def test_a_column_holds_its_items_in_order(items: list[bytes]) -> None:
    assert strings(pack(column(items))) == items


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65_535])
def test_a_text_of_any_length_is_a_string(size: int) -> None:
    assert msgspec.msgpack.decode(pack(text(b"x" * size)), type=str) == "x" * size


@pytest.mark.parametrize(
    ("size", "head"), [(0, "a0"), (31, "bf"), (32, "d920"), (255, "d9ff"), (256, "da0100"), (65_535, "daffff")]
)
def test_the_heads_are_those_of_the_specification(size: int, head: str) -> None:
    """https://github.com/msgpack/msgpack/blob/master/spec.md#str-format-family"""
    assert pack(text(b"\xff" * size)) == bytes.fromhex(head) + b"\xff" * size


def test_what_is_too_long_is_refused_and_not_cut() -> None:
    with pytest.raises(OverflowError):
        text(b"x" * 65_536)
    with pytest.raises(OverflowError):
        column([b"12345678"] * 65_536)
