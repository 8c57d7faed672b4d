"""What is counted in plain memory for the metrics is what the plain way would count."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from visitstats.ingest import backlog
from visitstats.ingest.backlog import Backlog
from visitstats.metrics import SECONDS, Metrics


@given(st.lists(st.lists(st.sampled_from([*SECONDS, 0.0, 0.0007, 4.9, 5.1, 60.0])), max_size=4))
def test_a_histogram_that_is_told_once_a_second_has_what_one_has_that_is_told_each_time(
    told: list[list[float]],
) -> None:
    metrics = Metrics(Path("/nowhere"), None)
    registry = CollectorRegistry()
    plain = Histogram("visitstats_commit_seconds", "", buckets=SECONDS, registry=registry)
    for values in told:
        for value in values:
            metrics.commit_took(value)
            plain.observe(value)
        metrics.flush()
    expected = {name(each): each.value for metric in registry.collect() for each in metric.samples}
    [found] = [metric for metric in metrics.merged() if metric.name == "visitstats_commit_seconds"]
    shown = {name(each): each.value for each in found.samples}
    total = "visitstats_commit_seconds_sum()"
    assert abs(shown.pop(total) - expected.pop(total)) < 1e-9 * (1 + sum(map(len, told)))
    assert {each: n for each, n in shown.items() if "created" not in each} == {
        each: n for each, n in expected.items() if "created" not in each
    }


def name(sample: object) -> str:
    return f"{sample.name}({','.join(sample.labels.values())})"  # type: ignore[attr-defined]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), max_size=200), st.integers(4, 16))
def test_a_backlog_is_exact_and_bounded(steps: list[tuple[int, int]], most: int) -> None:
    """Each step writes some records and applies some of what is left. As long as no more writes wait than are told
    apart, it is exact; beyond that it is never too small, and never forgets since when."""
    before, backlog.MOST = backlog.MOST, most
    try:
        found, waiting, sequence, applied = Backlog(0, 0, 0), list[tuple[int, int]](), 0, 0
        folded = False
        for now, (records, apply) in enumerate(steps, 1):
            sequence += records
            found.add(sequence, [b"x" * 10] * records, now)
            waiting.append((sequence, now))
            folded = folded or len(waiting) > most
            applied = min(sequence, applied + apply)
            found.applied(applied)
            waiting = [each for each in waiting if each[0] > applied]
            least = sequence - waiting[0][0] if waiting else 0
            assert found.records >= least
            assert found.bytes == found.records * 26
            assert len(found._writes) <= most
            if waiting:
                assert 0 < found.oldest_ms <= waiting[0][1]
            else:
                assert (found.records, found.bytes, found.oldest_ms) == (0, 0, 0)
            if not folded and waiting:
                assert found.oldest_ms == waiting[0][1]
    finally:
        backlog.MOST = before


def test_what_a_journal_held_when_it_was_opened_counts_until_all_of_it_is_applied() -> None:
    found = Backlog(7, 4096, 5)
    found.add(9, [b"a", b"b"], 6)
    found.applied(6)
    assert (found.records, found.bytes, found.oldest_ms) == (3, 4096 + 34, 5)
    found.applied(7)
    assert (found.records, found.bytes, found.oldest_ms) == (2, 34, 6)
    found.applied(9)
    assert found.oldest_ms == 0
