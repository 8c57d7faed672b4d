"""The benchmark's own arithmetic: a figure that is wrong by design is worse than none."""

import itertools
import statistics
from collections import Counter

from benchmarks import beacons, contents, judge, pace, rates

PLAN = beacons.Plan(site="bench", order="portal", visitors=(0, 10_000), articles=(1, 2001), seed=1)


def sent(plan: beacons.Plan, count: int) -> list[tuple[beacons.Hit, bytes]]:
    return list(itertools.islice(beacons.requests(plan), count))


def test_arrivals_have_the_rate_that_was_asked_for_and_no_rhythm() -> None:
    """The moments are drawn before the first answer: nothing that a service does can delay them."""
    moments = list(pace.arrivals(200.0, 100.0, seed=1))
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert 19_500 < len(moments) < 20_500
    assert all(gap >= 0 for gap in gaps)
    # Of an exponential distribution the deviation is the mean; of a fixed rhythm it is 0.
    assert 0.95 < statistics.stdev(gaps) / statistics.mean(gaps) < 1.05


def test_a_portals_readers_read_about_three_pages_and_some_articles_more_than_others() -> None:
    hits = [hit for hit, _ in sent(PLAN, 10_000)]
    readers = {visitor for visitor, _ in hits}
    assert 2.5 < len(hits) / len(readers) < 3.5
    (_, most), *_ = Counter(article for _, article in hits).most_common(1)
    assert most > 20 * statistics.median(Counter(article for _, article in hits).values())


def test_a_hit_that_is_delivered_twice_is_the_same_to_the_byte_and_no_other_is() -> None:
    """Hit ids tell hits apart, within a plan and between plans; only a repeated delivery has one again."""
    first = sent(PLAN, 1010)
    assert sorted(Counter(request for _, request in first).values())[-10:] == [2] * 10
    other = sent(beacons.Plan(site="bench", order="portal", visitors=(0, 10_000), articles=(1, 2001), seed=2), 1010)
    assert not {request for _, request in first} & {request for _, request in other}


def test_each_member_of_a_range_comes_once_and_in_turn() -> None:
    plan = beacons.Plan(site="bench", order="new-both", visitors=(5, 105), articles=(7, 107), seed=1)
    assert [hit for hit, _ in beacons.requests(plan)] == [(5 + n, 7 + n) for n in range(100)]


def test_the_judge_finds_one_hit_that_is_lost_and_one_that_is_doubled() -> None:
    ledger = judge.Ledger()
    ledger.add([(1, 1), (2, 1), (2, 1), (2, 2)], not_acknowledged=0)
    numbers = {**dict.fromkeys((*judge.PERIODS, "online"), 2), "yesterday": 0}
    right = {beacons.key_of(1): 2, beacons.key_of(2): 1}
    assert judge.differences(ledger, numbers, right) == []
    assert judge.differences(ledger, {**numbers, "today": 1}, right)
    assert judge.differences(ledger, numbers, {**right, beacons.key_of(1): 3})
    assert judge.differences(ledger, numbers, {**right, beacons.key_of(2): 0})


def test_a_ratio_is_taken_within_its_round() -> None:
    """A machine that is twice as slow in one round must not show in any ratio."""
    answers = pace.Answers(1, 1, 0, 0, "", 1.0, 1.0, 1.0, 1.0, 0.0, 0)
    found = [
        rates.Cost(name, 200.0, number, app_ns=cost * slow, store_ns=cost * slow, waited_ns=0.0, answers=answers)
        for number, slow in ((1, 1.0), (2, 2.0))
        for name, cost in (("bare", 100.0), ("visitstats", 250.0))
    ]
    assert rates.ratios(found, 200.0, "visitstats", "bare") == [2.5, 2.5]


def test_bytes_of_what_came_are_at_the_mean_weight_of_its_key() -> None:
    """A table that doubles its size is paid by all of its elements, not by the last."""
    before, after, now = {b"a": 100, b"b": 5}, {b"a": 150, b"b": 5, b"c": 10}, {b"a": 200, b"b": 5, b"c": 20}
    assert contents.grown(before, after, now, {b"a": 8000, b"b": 999, b"c": 400}) == 50 * 40 + 10 * 20
