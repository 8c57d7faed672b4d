"""The counting rules, one by one, as a reader of docs/counting.md understands them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visitstats.core import counting
from visitstats.core.counting import CARRIED, RING, Presence
from visitstats.core.periods import Calendar

MINUTE = 60 * 1000
GAP = 30 * MINUTE
CALENDAR = Calendar("Asia/Ho_Chi_Minh")
DAY = CALENDAR.day_named("2026-11-24")
NOON = DAY.start_ms + 12 * 60 * MINUTE
SALT = bytes(range(32))


def visitor(**other: object) -> bytes:
    parts: dict[str, object] = {"salt": SALT, "site": "s", "address": "192.0.2.1", "agent": b"Firefox", "visit_id": "v"}
    parts |= other
    parts["salt"] = counting.salted(parts["salt"])  # type: ignore[arg-type]
    return counting.visitor_token(**parts)  # type: ignore[arg-type]


# Rules 1 and 2 --------------------------------------------------------------------------------------------------------


def test_rule_1_a_token_is_frozen() -> None:
    """Workers of two versions must see one visitor as one: the recipe never changes."""
    assert visitor().hex() == "747314ba58759577"
    assert visitor(visit_id="").hex() == "74c4f2750336bcac"


@pytest.mark.parametrize(
    "other",
    [
        {"salt": SALT[::-1]},
        {"site": "t"},
        {"address": "192.0.2.2"},
        {"agent": b"Firefox/2"},
        {"visit_id": "w"},
        {"visit_id": ""},
    ],
)
def test_rule_1_another_part_is_another_visitor(other: dict[str, object]) -> None:
    assert visitor(**other) != visitor()
    assert len(visitor(**other)) == 8


def test_rule_1_a_letter_that_moves_to_the_next_part_makes_another_visitor() -> None:
    assert visitor(address="192.0.2.1", agent=b"1 Firefox") != visitor(address="192.0.2.11", agent=b" Firefox")


@given(st.binary(max_size=300))
def test_rule_1_any_bytes_may_be_a_user_agent(agent: bytes) -> None:
    assert visitor(agent=agent) == visitor(agent=agent)


def test_rule_5_a_reading_is_frozen_and_gives_away_neither_visitor_nor_article() -> None:
    name = counting.reading(b"visitor!", b"article!")
    assert name.hex() == "c951e00787115b"
    assert name != counting.reading(b"article!", b"visitor!")
    assert name not in (b"visitor!", b"article!")


# Rules 3 and 5: visits ------------------------------------------------------------------------------------------------


def test_rule_3_a_visit_goes_on_for_exactly_30_minutes_after_the_last_sign() -> None:
    present = Presence(NOON, counting.half_hour_of(DAY, NOON))
    assert present.hit(DAY, NOON + GAP) == (Presence(NOON + GAP, present.half_hour), False)
    assert present.hit(DAY, NOON + GAP + 1) == (Presence(NOON + GAP + 1, present.half_hour + 1), True)


def test_rule_3_every_hit_moves_the_30_minutes_on() -> None:
    present = Presence(NOON, 24)
    for n in range(1, 12):
        present, started = present.hit(DAY, NOON + n * 29 * MINUTE)
        assert not started
    assert present.half_hour == 24  # it is still the visit that began at noon


def test_rule_3_a_late_hit_starts_no_visit_and_moves_no_visitor_back_in_time() -> None:
    present = Presence(NOON, 24)
    assert present.hit(DAY, NOON - 5) == (present, False)


def test_rule_3_who_is_here_by_heartbeats_over_midnight_starts_a_visit_with_the_first_hit_of_the_day() -> None:
    present = Presence(DAY.start_ms + 1000, CARRIED)
    assert present.hit(DAY, DAY.start_ms + 2000) == (Presence(DAY.start_ms + 2000, 0), True)


def test_rule_5_what_was_read_is_known_through_a_visit_and_unread_in_the_next() -> None:
    present = Presence(NOON, 24, ((24, b"reading"),))
    later, _ = present.hit(DAY, NOON + GAP)
    assert later.has_read(b"reading")
    assert not later.has_read(b"another")
    next_visit, started = later.hit(DAY, later.last_ms + GAP + 1)
    assert started
    assert not next_visit.has_read(b"reading")
    assert next_visit.read == present.read  # a hit of the visit before may still come late


@given(st.lists(st.integers(0, 2 * GAP), min_size=1, max_size=40))
def test_two_visits_of_a_day_never_have_one_name(pauses: list[int]) -> None:
    """A visit is named by the half hour in which it began: views per visit would be lost if two shared one."""
    now = DAY.start_ms
    present, seen = Presence(now, counting.half_hour_of(DAY, now)), [0]
    for pause in pauses:
        now += pause
        if now >= DAY.end_ms:
            break
        present, started = present.hit(DAY, now)
        if started:
            assert present.half_hour not in seen
            seen.append(present.half_hour)
        assert present.half_hour == seen[-1]


readings = st.lists(st.tuples(st.integers(0, 255), st.binary(min_size=7, max_size=7)), max_size=5)


@given(st.integers(0, 2**48 - 1), st.integers(0, 255), readings)
def test_a_stored_presence_is_read_back(last_ms: int, half_hour: int, read: list[tuple[int, bytes]]) -> None:
    stored = last_ms.to_bytes(6, "big") + bytes((half_hour,)) + b"".join(bytes((n,)) + name for n, name in read)
    assert counting.decode_presence(stored) == Presence(last_ms, half_hour, tuple(read))


def test_the_layout_of_a_stored_presence_is_frozen() -> None:
    """Workers of two versions, and the script, read each other's."""
    stored = bytes.fromhex("01a20becd480" "18" "17bb1e67c9fe9977" "18aabbccddeeff00")  # fmt: skip
    assert counting.decode_presence(stored) == Presence(
        NOON, 24, ((23, bytes.fromhex("bb1e67c9fe9977")), (24, bytes.fromhex("aabbccddeeff00")))
    )


@given(st.binary(max_size=40).filter(lambda stored: len(stored) < 7 or (len(stored) - 7) % 8))
@example(b"")
@example(bytes(6))
@example(bytes(14))
def test_anything_else_is_no_presence(stored: bytes) -> None:
    with pytest.raises(ValueError, match="are no presence"):
        counting.decode_presence(stored)


@pytest.mark.parametrize(("name", "half_hours"), [("2026-11-24", 48), ("2026-11-01", 50), ("2026-03-08", 46)])
def test_the_longest_day_has_fewer_half_hours_than_there_are_names(name: str, half_hours: int) -> None:
    day = Calendar("America/New_York").day_named(name)
    assert counting.half_hour_of(day, day.start_ms) == 0
    assert counting.half_hour_of(day, day.end_ms - 1) == half_hours - 1 < CARRIED < 256


# Rule 4: who is online ------------------------------------------------------------------------------------------------

SECOND = NOON // 1000
LEAST_SECOND = 3 * RING
"""The ring was empty when it was made: seconds of the first rounds after 1970 are not in it."""


def ring_of(cells: dict[int, int], base: bytes = bytes(8 * RING)) -> bytes:
    """A ring in which visitors were last seen in these seconds (the last one to write a cell wins)."""
    ring = bytearray(base)
    for second, count in cells.items():
        written_in, place = divmod(second, RING)
        ring[4 * place : 4 * place + 4] = written_in.to_bytes(4, "little")
        ring[4 * (RING + place) : 4 * (RING + place) + 4] = count.to_bytes(4, "little")
    return bytes(ring)


def visible(ring: bytes, now_s: int) -> int:
    """Rule 4 by the letter: cell after cell, those who were seen in the last 300 seconds (or, of a clock that was set
    back, are ahead)."""
    ring += bytes(8 * RING - len(ring))
    total = 0
    for place in range(RING):
        written_in = int.from_bytes(ring[4 * place : 4 * place + 4], "little")
        if written_in * RING + place > now_s - 300:
            total += int.from_bytes(ring[4 * (RING + place) : 4 * (RING + place) + 4], "little")
    return total


def steady(now_s: int, counts: list[int]) -> bytes:
    """The ring of a site on which there was a sign of somebody in each of the last RING seconds."""
    return ring_of({now_s - n: counts[n % len(counts)] for n in range(RING)})


def test_rule_4_nobody_is_online_on_a_site_that_nobody_has_read() -> None:
    assert counting.online_in(b"", NOON) == 0
    assert counting.online_in(bytes(8 * RING), NOON) == 0


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize(("age", "online"), [(0, 7), (1, 7), (299, 7), (300, 0), (301, 0), (511, 0), (512, 0)])
def test_rule_4_online_for_less_than_300_seconds(age: int, online: int, filled: bool) -> None:
    """Exact to the second, on a site with a sign in each second as on a quiet one."""
    base = steady(SECOND, [0]) if filled else bytes(8 * RING)
    assert counting.online_in(ring_of({SECOND - age: 7}, base), NOON) == online
    assert counting.online_in(ring_of({SECOND - age: 7}, base), NOON + 999) == online


def test_rule_4_a_sign_from_ahead_counts_as_now() -> None:
    """A clock that was set back by an hour does not take everybody off the site."""
    assert counting.online_in(ring_of({SECOND + 3600: 5}), NOON) == 5


@given(
    st.integers(LEAST_SECOND, 2**33),
    st.dictionaries(st.integers(-3 * RING, 3 * RING) | st.integers(-302, 2), st.integers(0, 2**32 - 1), max_size=40),
    st.lists(st.integers(0, 9), min_size=1, max_size=40) | st.none(),
    st.integers(0, 4 * RING) | st.just(0),
    st.integers(0, 999),
)
def test_rule_4_online_are_those_that_a_count_by_hand_finds(
    now_s: int, signs: dict[int, int], every_second: list[int] | None, cut: int, fraction: int
) -> None:
    """Whatever is in the ring: seconds without a sign, cells of other rounds (also from ahead, of a clock that was set
    back), a ring that was never written to its end, and the usual one without any of that."""
    base = steady(now_s, every_second) if every_second else bytes(8 * RING)
    signs = {now_s + offset: count for offset, count in signs.items() if now_s + offset >= 0}
    ring = ring_of(signs, base)
    ring = ring[: len(ring) - cut]
    assert counting.online_in(ring, now_s * 1000 + fraction) == visible(ring, now_s)


@given(st.integers(LEAST_SECOND, 2**33), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=RING))
def test_rule_4_a_busy_site_is_counted_in_one_piece_just_the_same(now_s: int, counts: list[int]) -> None:
    """At each place of the ring, at its seam above all."""
    ring = steady(now_s, counts)
    assert counting.online_in(ring, now_s * 1000) == sum(counts[n % len(counts)] for n in range(300))


# Rule 8 ---------------------------------------------------------------------------------------------------------------


def test_rule_8_the_reasons_are_words_that_fit_a_header_and_a_label() -> None:
    assert all(reason.replace("-", "").isalpha() and reason.islower() for reason in counting.IGNORED_REASONS)
