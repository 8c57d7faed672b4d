"""Limits per network: generous, of a fixed size, and with no way for one to use up another's."""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.limits import PLACES, VISITORS_OF_A_BROWSER, NetworkRate, VisitorCap
from visitstats.system.networks import network_of, parse
from visitstats.web.beacons.limits import NetworkLimits

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
        ("2001:db8:0:1::1", "2001:db8:0:2::1", True),
        ("2001:db8:0:1::1", "2001:db8:1:1::1", False),
        ("2001:db8:0:1::1", "2001:DB8::1:0:0:0:7", True),
        ("203.0.113.1", "::ffff:203.0.113.9", True),
    ],
)
def test_a_network_is_a_24_or_a_48(one: str, other: str, same: bool) -> None:
    """hostile-inputs row 20: 10^5 addresses of one IPv6 /64, or all that one customer has (a /48), are one network."""
    assert (network_of(parse(one)) == network_of(parse(other))) is same


def test_what_is_no_address_has_no_network() -> None:
    assert [network_of(parse(text)) for text in ("", "nonsense", "::nonsense")] == [b"", b"", b""]


def token(n: int) -> bytes:
    return n.to_bytes(8, "big")


NET = b"network1"


def test_so_many_visitors_of_a_network_are_told_apart_and_then_no_more() -> None:
    """hostile-inputs row 20: whatever is rotated; here each has an agent of its own."""
    cap = VisitorCap()
    assert sum(cap.admits(token(n), token(n), NET, 1, 200) for n in range(1, 1001)) == 200
    assert cap.admits(token(100), token(100), NET, 1, 200), "who was here before stays"
    assert not cap.admits(token(999), token(999), NET, 1, 200)


def test_of_one_address_and_agent_not_more_than_500() -> None:
    """hostile-inputs row 22: a network's places are not used up by visit ids that one browser makes up."""
    cap = VisitorCap()
    browser = token(1 << 40 | 7)
    admitted = 0
    for n in range(1, 1001):
        if cap.has_room(browser, 1, 2000):
            admitted += cap.admits(token(n), browser, NET, 1, 2000)
    assert admitted == VISITORS_OF_A_BROWSER
    assert cap.has_room(token(1 << 40 | 9), 1, 2000), "another browser"
    assert cap.has_room(browser, 2, 2000), "the next half hour"


def test_the_next_half_hour_has_room_for_others() -> None:
    cap = VisitorCap()
    assert [cap.admits(token(n), token(n), NET, 1, 2) for n in (1, 2, 3)] == [True, True, False]
    assert [cap.admits(token(n), token(n), NET, 2, 2) for n in (1, 2, 3, 4, 5)] == [True, True, True, True, False]


def test_another_network_is_not_affected() -> None:
    cap = VisitorCap()
    assert [cap.admits(token(n), token(n), b"one.....", 1, 1) for n in (1, 2)] == [True, False]
    assert cap.admits(token(3), token(3), b"another.", 1, 1)


def test_asking_admits_no_visitor() -> None:
    cap = VisitorCap()
    assert cap.admits(token(1), token(1), NET, 1, 1, take=False)
    assert not cap.knows(token(1))
    assert cap.admits(token(2), token(2), NET, 1, 1)
    assert not cap.admits(token(1), token(1), NET, 1, 1, take=False)


def test_the_tables_of_visitors_never_grow() -> None:
    cap = VisitorCap()
    tables = cap._met, cap._known, cap._browsers, cap._networks
    sizes = [len(table) for table in tables]
    for n in range(200_000):
        cap.admits(token(n), token(n % 5000), token(n % 1000), 1, 50)
    assert [len(table) for table in tables] == sizes
    assert 8 * sum(sizes) <= 3 << 20


def test_the_workers_of_a_machine_share_the_limits_of_networks(tmp_path: Path) -> None:
    """A network has one bucket and one number of visitors, over however many workers its connections are spread; a
    worker that starts anew does not give it others."""
    one = NetworkLimits(tmp_path, 1, 10)
    other = NetworkLimits(tmp_path, 1, 10)
    assert one.secret == other.secret != NetworkLimits(None, 1, 10).secret
    assert [each.rate.allows(7, NOW) for each in [one, other] * 10].count(True) == 10
    assert [each.visitors.admits(token(n), token(n), NET, 1, 5) for n, each in enumerate([one, other] * 5, 1)] == (
        [True] * 5 + [False] * 5
    )
    assert other.visitors.knows(token(1))
    assert NetworkLimits(tmp_path, 1, 10).visitors.knows(token(5))
    assert (tmp_path / "limits").stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_of_limits_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "limits").write_bytes(b"something else")
    limits = NetworkLimits(tmp_path, 1, 10)
    assert sent(limits.rate, 7, NOW, 20) == 10


def test_a_link_in_the_place_of_the_limits_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "limits").symlink_to(tmp_path / "elsewhere")
    assert sent(NetworkLimits(tmp_path, 1, 10).rate, 7, NOW, 20) == 10
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
