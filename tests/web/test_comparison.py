"""Some twenty thousand made-up hits of three days, and an independent count: `make compare` does it with a million."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests.comparison.compare import compare
from tests.comparison.count import Count
from tests.comparison.traffic import PORTALS, Beacon, dates_of, traffic

HITS, SEED = 20_000, 7
COMPARISON = Path(__file__).parents[1] / "comparison"


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_every_number_is_the_independent_count(tmp_path: Path, redis_url: str) -> None:
    """Visits, views, articles and reasons are equal, whichever site, day, week or month; estimates are near."""
    found = await compare(tmp_path / "data", redis_url, HITS, SEED)
    assert found.troubles() == []
    assert 0.9 * HITS < found.sent["pages"] < 1.1 * HITS
    assert found.sent["heartbeats"] > HITS / 3
    assert 0.8 < found.sent["counted"] / found.sent["pages"] < 0.95
    least = {
        "online": 100,
        "numbers of visits": 130,
        "numbers of views": 130,
        "views of articles": 3000,
        "reasons": 100,
    }
    assert {what: found.checked[what] >= n for what, n in least.items()} == dict.fromkeys(least, True)


def test_the_traffic_has_what_it_says() -> None:
    """A comparison of easy hits would prove little."""
    beacons = list(traffic(HITS, SEED))
    assert beacons == sorted(beacons, key=lambda beacon: beacon.ms)
    pages = [beacon for beacon in beacons if beacon.kind != "alive"]
    ids = Counter(beacon.hit_id for beacon in pages if beacon.hit_id)
    assert sum(n - 1 for n in ids.values()) > HITS / 100, "beacons that arrive twice"
    by_key = Counter(beacon.article for beacon in pages)
    assert by_key.most_common(1)[0][1] > 20 * sorted(by_key.values())[len(by_key) // 2], "zipf"
    offices = Counter((beacon.address, beacon.agent) for beacon in pages if beacon.address.startswith("203.0.113."))
    assert max(offices.values()) > 100, "many readers with one address and browser"
    assert {beacon.no_reader for beacon in pages} == {
        "", "bot", "empty-agent", "prefetch", "host", "origin", "archived", "bad-json", "bad-url", "bad-field",
        "no-url", "too-large",
    }  # fmt: skip
    for what in (
        any(beacon.kind == "pixel" for beacon in beacons),
        any(beacon.asks_not_to_be_followed and beacon.visit_id for beacon in beacons),
        any(":" in beacon.address for beacon in beacons),
        any(beacon.flood for beacon in beacons),
        len({beacon.url for beacon in pages if beacon.article == "/?p=1"}) > 20,
    ):
        assert what


def test_another_seed_is_other_traffic_and_the_same_seed_the_same() -> None:
    one, two, other = (list(traffic(500, seed)) for seed in (1, 1, 2))
    assert one == two != other


def test_the_count_is_independent() -> None:
    """It and the traffic import nothing of ours but each other."""
    for name in ("count", "traffic"):
        tree = ast.parse((COMPARISON / f"{name}.py").read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        ours = {
            module for module in modules if module and module.split(".")[0] in ("visitstats", "tests", "benchmarks")
        }
        assert ours <= {"tests.comparison.traffic"}, name


def _page(minute: float, article: str = "/a", **more: str) -> Beacon:
    first = Beacon(2_235_600_000_000, PORTALS[0], "hit", "192.0.2.1", "Firefox", "visit", article=article)
    return replace(first, ms=first.ms + round(minute * 60_000), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("beacons", "visits", "views"),
    [
        ([_page(0), _page(29), _page(59)], 1, 1),
        ([_page(0), _page(31)], 2, 2),
        ([_page(0), *(_page(n, kind="alive") for n in range(1, 51)), _page(51)], 1, 1),
        ([_page(0), _page(45, kind="alive"), _page(46)], 2, 2),
        ([_page(0), _page(1), _page(20)], 1, 1),
        ([_page(0), _page(1, visit_id="another")], 2, 2),
        ([_page(0, hit_id="x"), _page(1, hit_id="x"), _page(2, article="/b")], 1, 2),
        ([_page(0), _page(0, no_reader="bot")], 1, 1),
    ],
)
def test_the_count_knows_the_examples_of_the_counting_rules(beacons: list[Beacon], visits: int, views: int) -> None:
    """The tables of docs/counting.md."""
    count = Count(PORTALS[0], 1)
    for beacon in beacons:
        count.add(beacon)
    assert (sum(count.visits.values()), sum(count.views.values())) == (visits, views)


def test_the_days_of_the_traffic_are_worth_a_comparison() -> None:
    """A week ends, and in New York a day has 25 hours; a long run has the end of a month, too."""
    short, long = dates_of(HITS, "Asia/Ho_Chi_Minh"), dates_of(1_000_000, "America/New_York")
    assert {date(2040, 11, 4), date(2040, 11, 5)} <= set(short)
    assert {date(2040, 10, 31), date(2040, 11, 1)} <= set(long)
