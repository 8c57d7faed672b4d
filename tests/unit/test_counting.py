"""The counting rules, one by one, as a reader of docs/counting.md understands them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core import counting
from visitstats.core.counting import CARRIED_SLOT, UNKNOWN, Numbers, Presence
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
    assert name.hex() == "bb1e67c9fe99777e"
    assert name != counting.reading(b"article!", b"visitor!")
    assert name not in (b"visitor!", b"article!")


# Rules 3 and 4 --------------------------------------------------------------------------------------------------------


def test_rule_3_a_visit_goes_on_for_exactly_30_minutes_after_the_last_sign() -> None:
    present = Presence(NOON, counting.slot_of(DAY, NOON))
    assert present.hit(DAY, NOON + GAP) == (Presence(NOON + GAP, present.slot), False)
    assert present.hit(DAY, NOON + GAP + 1) == (Presence(NOON + GAP + 1, present.slot + 1), True)


def test_rule_3_every_hit_moves_the_30_minutes_on() -> None:
    present = Presence(NOON, 24)
    for n in range(1, 12):
        present, started = present.hit(DAY, NOON + n * 29 * MINUTE)
        assert not started
    assert present.slot == 24  # it is still the visit that began at noon


def test_rule_3_a_hit_that_comes_late_starts_no_visit_and_takes_nobody_back_in_time() -> None:
    present = Presence(NOON, 24)
    assert present.hit(DAY, NOON - 5) == (present, False)
    assert present.heartbeat(NOON - 5) == present


def test_rule_3_who_is_here_by_heartbeats_over_midnight_starts_a_visit_with_the_first_hit_of_the_day() -> None:
    present = Presence(DAY.start_ms + 1000, CARRIED_SLOT)
    assert present.hit(DAY, DAY.start_ms + 2000) == (Presence(DAY.start_ms + 2000, 0), True)


def test_rule_4_a_heartbeat_prolongs_a_visit_and_never_starts_one() -> None:
    present = Presence(NOON, 24)
    assert present.heartbeat(NOON + GAP) == Presence(NOON + GAP, 24)
    assert present.heartbeat(NOON + GAP + 1) == present


def test_rule_4_online_for_less_than_300_seconds() -> None:
    present = Presence(NOON, 24)
    assert present.online(NOON)
    assert present.online(NOON + 299_999)
    assert not present.online(NOON + 300_000)


@given(st.lists(st.tuples(st.integers(0, 2 * GAP), st.booleans()), min_size=1, max_size=40))
def test_two_visits_of_a_day_never_have_one_name(steps: list[tuple[int, bool]]) -> None:
    """A visit is named by the half hour in which it began: views per visit would be lost if two shared one."""
    now = DAY.start_ms
    present, seen = Presence(now, counting.slot_of(DAY, now)), [0]
    for pause, is_hit in steps:
        now += pause
        if now >= DAY.end_ms:
            break
        if is_hit:
            present, started = present.hit(DAY, now)
            if started:
                assert present.slot not in seen
                seen.append(present.slot)
        else:
            present = present.heartbeat(now)
        assert present.slot == seen[-1]


@given(st.integers(0, 4_000_000_000_000), st.integers(0, CARRIED_SLOT))
def test_a_presence_is_one_number_that_a_sorted_set_keeps_exactly(last_ms: int, slot: int) -> None:
    score = Presence(last_ms, slot).score
    assert int(float(score)) == score
    assert divmod(score, counting.SLOTS) == (last_ms, slot)


@pytest.mark.parametrize(("name", "slots"), [("2026-11-24", 48), ("2026-11-01", 50), ("2026-03-08", 46)])
def test_the_longest_day_has_fewer_half_hours_than_there_are_names(name: str, slots: int) -> None:
    day = Calendar("America/New_York").day_named(name)
    assert counting.slot_of(day, day.start_ms) == 0
    assert counting.slot_of(day, day.end_ms - 1) == slots - 1 < CARRIED_SLOT < counting.SLOTS < counting.DUPLICATE


# Rules 6, 7, 8 and 10 -------------------------------------------------------------------------------------------------


def test_rules_6_and_7_the_box_is_summed_from_dated_counts() -> None:
    names = counting.counters_of(DAY)
    dated = {"2026-11-23": 10, "2026-11-24": 5, "2026-11": 400, "2026": 9000, "all": 20_000, "base": 1_000_000}
    assert counting.numbers(3, [dated.get(name, 0) for name in names]) == Numbers(
        online=3, today=5, yesterday=10, week=15, month=400, year=9000, total=1_020_000
    )


def test_rule_6_the_week_does_not_count_a_sunday_yesterday_on_a_monday() -> None:
    monday = CALENDAR.day_named("2026-11-23")
    dated = {"2026-11-22": 7, "2026-11-23": 1}
    numbers = counting.numbers(0, [dated.get(name, 0) for name in counting.counters_of(monday)])
    assert (numbers.today, numbers.yesterday, numbers.week) == (1, 7, 1)


def test_rule_6_the_days_of_a_week_are_its_own_across_months_and_years() -> None:
    friday = CALENDAR.day_named("2027-01-01")
    dated = {"2026-12-31": 7, "2027-01-01": 1, "2027-01": 1, "2027": 1, "2026": 50, "all": 60}
    numbers = counting.numbers(0, [dated.get(name, 0) for name in counting.counters_of(friday)])
    assert (numbers.week, numbers.month, numbers.year, numbers.total) == (8, 1, 1, 60)


def test_rule_8_the_reasons_are_words_that_fit_a_header_and_a_label() -> None:
    assert all(reason.replace("-", "").isalpha() and reason.islower() for reason in counting.IGNORED_REASONS)


def test_rule_10_what_is_not_known_is_none() -> None:
    assert set(UNKNOWN.__struct_fields__) == {"online", "today", "yesterday", "week", "month", "year", "total"}
    assert all(getattr(UNKNOWN, field) is None for field in UNKNOWN.__struct_fields__)
