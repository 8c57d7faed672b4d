"""Limits per network: generous, of a fixed size, and with no way for one to use up another's."""

from __future__ import annotations

import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.limits import PLACES, NetworkRate, VisitorCap
from visitstats.networks import network_of

NOW = 2_220_000_000_000


def sent(rate: NetworkRate, network: int, now_ms: int, many: int) -> int:
    """How many of so many hits are allowed at one moment."""
    return sum(rate.allows(network, now_ms) for _ in range(many))


def test_a_network_may_send_a_burst_and_then_so_many_a_second() -> None:
    rate = NetworkRate(50, 500)
    assert sent(rate, 7, NOW, 1000) == 500
    assert sent(rate, 7, NOW + 1000, 1000) == 50
    assert sent(rate, 7, NOW + 1100, 1000) == 5
    assert sent(rate, 7, NOW + 3_600_000, 1000) == 500


def test_below_its_rate_a_network_is_never_refused() -> None:
    rate = NetworkRate(1000, 10)
    assert all(rate.allows(7, NOW + n) for n in range(100_000))


def test_another_network_has_a_bucket_of_its_own() -> None:
    rate = NetworkRate(1, 10)
    assert sent(rate, 7, NOW, 100) == 10
    assert sent(rate, 8, NOW, 100) == 10


def test_to_ask_takes_nothing() -> None:
    rate = NetworkRate(1, 1)
    assert [rate.allows(7, NOW, False) for _ in range(5)] == [True] * 5
    assert rate.allows(7, NOW)
    assert not rate.allows(7, NOW, False)


def test_zero_is_no_limit() -> None:
    rate = NetworkRate(0, 1)
    assert sent(rate, 7, NOW, 10_000) == 10_000
    assert rate.allows(7, NOW - 86_400_000)


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    rate = NetworkRate(10, 100)
    assert sent(rate, 7, NOW, 1000) == 100
    assert sent(rate, 7, NOW - 3_600_000, 1000) == 100


@given(
    st.integers(1, 1000),
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 300)), max_size=30),
)
def test_never_more_than_burst_and_rate_allow(per_second: int, burst: int, steps: list[tuple[int, int]]) -> None:
    rate = NetworkRate(per_second, burst)
    now, allowed = NOW, 0
    for wait, many in steps:
        now += wait
        allowed += sent(rate, 7, now, many)
        assert allowed <= burst + per_second * (now - NOW) / 1000 + 1


def test_random_addresses_take_no_memory_and_no_bucket_away() -> None:
    """hostile-inputs row 21: the table neither grows nor forgets an attacker who hides among strangers."""
    rate = NetworkRate(1, 100)
    assert sent(rate, 7, NOW, 1000) == 100
    size = sys.getsizeof(rate._full)
    for n in range(4 * PLACES):
        rate.allows(hash(("stranger", n)), NOW)
    assert sys.getsizeof(rate._full) == size <= 8 * PLACES + 200
    assert isinstance(rate._full, array)
    assert sent(rate, 7, NOW, 10) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.1", "203.0.113.254", True),
        ("203.0.113.1", "203.0.114.1", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("2001:db8:0:1::1", "2001:DB8::1:0:0:0:7", True),
    ],
)
def test_a_network_is_a_24_or_a_64(one: str, other: str, same: bool) -> None:
    """hostile-inputs row 20: 10^5 addresses of one IPv6 /64 are one customer."""
    assert (network_of(one) == network_of(other)) is same


def test_what_is_no_address_has_a_network_too() -> None:
    assert isinstance(network_of(""), int)
    assert isinstance(network_of("nonsense"), int)
    assert isinstance(network_of("::nonsense"), int)


def token(n: int) -> bytes:
    return n.to_bytes(8, "big")


def test_so_many_visit_ids_of_a_network_are_told_apart_and_then_no_more() -> None:
    """hostile-inputs row 22."""
    cap = VisitorCap()
    assert sum(cap.admits(token(n), b"net", 1, 200) for n in range(1, 1001)) == 200
    assert cap.admits(token(100), b"net", 1, 200), "who was here before stays"
    assert not cap.admits(token(999), b"net", 1, 200)


def test_the_next_half_hour_has_room_for_others() -> None:
    cap = VisitorCap()
    assert [cap.admits(token(n), b"net", 1, 2) for n in (1, 2, 3)] == [True, True, False]
    assert [cap.admits(token(n), b"net", 2, 2) for n in (1, 2, 3, 4, 5)] == [True, True, True, True, False]


def test_another_network_is_not_affected() -> None:
    cap = VisitorCap()
    assert [cap.admits(token(n), b"one", 1, 1) for n in (1, 2)] == [True, False]
    assert cap.admits(token(3), b"other", 1, 1)


def test_to_ask_admits_nobody() -> None:
    cap = VisitorCap()
    assert cap.admits(token(1), b"net", 1, 1, take=False)
    assert not cap.knows(token(1))
    assert cap.admits(token(2), b"net", 1, 1)
    assert not cap.admits(token(1), b"net", 1, 1, take=False)


def test_the_tables_of_visitors_never_grow() -> None:
    cap = VisitorCap()
    sizes = sys.getsizeof(cap._known), sys.getsizeof(cap._counted)
    for n in range(200_000):
        cap.admits(token(n), token(n % 1000), 1, 50)
    assert (sys.getsizeof(cap._known), sys.getsizeof(cap._counted)) == sizes
    assert sum(sizes) < 1_600_000
