"""Imports are one change of many records: exact beside live hits, merges and corrections, made once, as a whole or not
at all, and taken back exactly, whatever came in between."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.dated import dated
from tests.store.merging import BEFORE, DAY, SITE, Merging
from visitstats.changes.corrections import Adjustment
from visitstats.changes.imports import Importing
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.core.batch import ChangeRecord
from visitstats.core.history import summary
from visitstats.core.keys import KeyRules
from visitstats.core.periods import Calendar
from visitstats.imports import amounts
from visitstats.imports.options import Options
from visitstats.imports.plan import Plan, plan_of
from visitstats.imports.reading import draft_of
from visitstats.store import keys
from visitstats.store.change_records import Logged
from visitstats.store.commit import Changed
from visitstats.store.history import SiteHistory
from visitstats.store.import_records import Imports
from visitstats.store.inspect import Inspector
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.system.patterns import linear_pattern
from visitstats.trust.verify.verifier import Verifier

LAN = Order("lan", "Số của bộ đếm cũ")
PLAUSIBLE = "imported_pages_20200101_20200102.csv"
DAYS = "Ngày;Lượt truy cập;Lượt xem\n01/02/2021;5;9\n03/02/2021;6;8\n"
ARTICLES = "url;title;views\n/old;Bài cũ;500\n/new;Bài mới;40\n/quiet;Không ai đọc;7\n"


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    await read_some(found)
    yield found
    await found.close()


async def read_some(merging: Merging) -> None:
    await merging.read("/old", "/old", "/new", day=BEFORE)
    await merging.read("/old", "/new", "/new", "/third")


async def planned(merging: Merging, folder: Path, text: str, name: str = "old.csv", **options: Any) -> Plan:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    rules = KeyRules(merging.site, linear_pattern, await merging.changes.aliases(SITE.id))
    draft = draft_of([path], folder / "draft.sqlite", merging.site, rules, Options(**options))
    return await plan_of(draft, merging.changes, merging.desk.imports, Imports(merging.raw))


async def bring(merging: Merging, folder: Path, text: str, name: str = "old.csv", **options: Any) -> Logged:
    plan = await planned(merging, folder, text, name, **options)
    try:
        return await merging.desk.imports.make(plan.imported(), plan.parts(), LAN)
    finally:
        plan.draft.close()


async def numbers(merging: Merging) -> dict[str, Any]:
    """All dated counts, and what is counted of articles; zeros are as good as nothing."""
    found: dict[str, Any] = {}
    for kind in ("visits", "views", "hits"):
        found |= {f"{kind} {when}": n for when, n in (await dated(merging.raw, SITE.id, kind)).items() if n}
    for name, of in (("articles", keys.articles(SITE.id)), ("amounts", keys.amounts(SITE.id))):
        rows: Any = await merging.raw.hgetall(of)
        found |= {f"{name} {article.hex()}": int(n) for article, n in rows.items() if int(n)}
    async for raw_name in merging.raw.scan_iter(keys.articles_of_day(SITE.id, "*")):
        page: Any = await merging.raw.hgetall(raw_name)
        found |= {f"{raw_name.decode()} {article.hex()}": int(n) for article, n in page.items() if int(n)}
    async for raw_name in merging.raw.scan_iter(f"vs:{{{SITE.id}}}:layer:*"):
        page = await merging.raw.hgetall(raw_name)
        found |= {f"{raw_name.decode()} {field.decode()}": int(n) for field, n in page.items() if int(n)}
    return found


async def troubles(merging: Merging, folder: Path) -> list[str]:
    """What `verify` finds wrong with the site's numbers."""
    raw = merging.raw
    records = Records(raw)
    if SITE.id not in await records.sites():
        await records.put_site(merging.site)
    verifier = Verifier(Inspector(raw), records, Reads(raw), folder / "journal", lambda: merging.now)
    report = await verifier.run(SITE.id, 0)
    return [f"{each.check}: {each.detail}" for each in report.problems]


# Numbers -------------------------------------------------------------------------------------------------------------


async def test_an_import_is_beside_what_was_counted(merging: Merging, tmp_path: Path) -> None:
    """Total, days and articles have both; the history marks what was imported, and no average or record has it."""
    before = await numbers(merging)
    calendar = Calendar(SITE.timezone)
    history = SiteHistory(merging.raw)
    began = await history.first_counted(SITE.id)
    await bring(merging, tmp_path, DAYS)
    await bring(merging, tmp_path, ARTICLES)
    after = await numbers(merging)
    assert after["visits all"] == before["visits all"] + 11
    assert after["visits 2021-02-03"] == 6
    assert after["views 2021"] == 17
    assert after["views all"] == before["views all"] + 17 + 547
    assert (await merging.lists())["all"] == {"/old": 503, "/new": 43, "/quiet": 7, "/third": 1}
    assert await history.first_counted(SITE.id) == began
    days = await history.days(SITE.id, calendar, "2021-02-01", "2021-02-03", merging.now)
    assert [(row.visits, row.imported.visits, row.known) for row in days] == [
        (5, 5, "no"),
        (None, 0, "no"),
        (6, 6, "no"),
    ]
    best = summary(await history.days(SITE.id, calendar, "2021-01-01", DAY.date, merging.now), DAY.tomorrow).best
    assert best is not None
    assert best.date > "2036"
    assert await troubles(merging, tmp_path) == []


async def test_months_and_years_without_days_are_in_the_history(merging: Merging, tmp_path: Path) -> None:
    await bring(merging, tmp_path, "Tháng;Lượt truy cập\n01/2021;12\n02/2021;9\n")
    undated = await SiteHistory(merging.raw).undated(SITE.id)
    assert {name: each.visits for name, each in undated.items()} == {"2021-01": 12, "2021-02": 9}
    await bring(merging, tmp_path, "Năm;Lượt truy cập\n2021;30\n")
    undated = await SiteHistory(merging.raw).undated(SITE.id)
    assert {name: each.visits for name, each in undated.items()} == {"2021-01": 12, "2021-02": 9, "2021": 9}
    assert (await dated(merging.raw, SITE.id, "visits"))["2021"] == 30
    assert await troubles(merging, tmp_path) == []


async def test_imported_titles_are_taken_where_none_is_known(merging: Merging, tmp_path: Path) -> None:
    await bring(merging, tmp_path, ARTICLES)
    entry = await merging.changes.entry(SITE.id, "/quiet")
    assert entry is not None
    assert (entry.title, entry.standing("title").value) == ("Không ai đọc", "i")


async def test_an_alias_leads_to_its_article(merging: Merging, tmp_path: Path) -> None:
    """Old numbers of an address that was merged since are the article's; undone in either order all is as it was."""
    before = await numbers(merging)
    merge = await merging.merge("/old", "/new")
    made = await bring(merging, tmp_path, ARTICLES)
    assert (await merging.lists())["all"] == {"/new": 546, "/quiet": 7, "/third": 1}
    assert await troubles(merging, tmp_path) == []
    await merging.undo(made.id)
    await merging.undo(merge)
    assert await numbers(merging) == before


async def test_a_merge_after_an_import_takes_its_numbers_along_and_back(merging: Merging, tmp_path: Path) -> None:
    before = await numbers(merging)
    made = await bring(merging, tmp_path, "url;views\n/old;500\n/new;40\n")
    merge = await merging.merge("/old", "/new")
    await merging.undo(made.id)
    assert (await merging.lists())["all"] == {"/new": 6, "/third": 1}
    await merging.undo(merge)
    assert await numbers(merging) == before


# Strategies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("replace", {"/old": 303, "/new": 53, "/quiet": 7}), ("add", {"/old": 803, "/new": 93, "/quiet": 7}),
     ("keep-larger", {"/old": 503, "/new": 53, "/quiet": 7})],
)  # fmt: skip
async def test_strategies_are_about_imported_numbers_alone(
    merging: Merging, tmp_path: Path, strategy: str, expected: dict[str, int]
) -> None:
    await bring(merging, tmp_path, ARTICLES)
    middle = await numbers(merging)
    second = await bring(merging, tmp_path, "url;views\n/old;300\n/new;50\n", strategy=strategy)
    assert {key: n for key, n in (await merging.lists())["all"].items() if key in expected} == expected
    assert await troubles(merging, tmp_path) == []
    await merging.undo(second.id)
    assert await numbers(merging) == middle


async def test_a_newer_dump_of_the_same_counter_replaces_the_older_one(merging: Merging, tmp_path: Path) -> None:
    """Days of the first stay, months and the total of the second count: nothing is there twice."""
    before = await numbers(merging)
    await bring(merging, tmp_path, DAYS)
    await bring(merging, tmp_path, "Ngày;Lượt truy cập;Lượt xem\n03/02/2021;7;8\n04/02/2021;1;2\n")
    await bring(merging, tmp_path, "Tháng;Lượt truy cập\n02/2021;20\n")
    found = await numbers(merging)
    assert [found.get(f"visits 2021-02-0{n}") for n in (1, 3, 4)] == [5, 7, 1]
    assert (found["visits 2021-02"], found["visits all"]) == (20, before["visits all"] + 20)
    assert found["views 2021-02"] == 19
    assert await troubles(merging, tmp_path) == []


async def test_dates_that_come_later_are_a_part_of_the_baseline(merging: Merging, tmp_path: Path) -> None:
    """Who has set the total first, and finds the months afterwards, has not twice as many."""
    before = (await numbers(merging))["visits all"]
    await bring(merging, tmp_path, "1000", "SoTruyCap.txt")
    await bring(merging, tmp_path, "Tháng;Lượt truy cập\n01/2021;300\n02/2021;200\n")
    found = await numbers(merging)
    assert (found["visits all"], found["visits 2021"]) == (before + 1000, 500)
    await bring(merging, tmp_path, "Tháng;Lượt truy cập\n01/2020;800\n")
    assert (await numbers(merging))["visits all"] == before + 1300
    assert await troubles(merging, tmp_path) == []


async def test_days_of_articles_are_not_doubled(merging: Merging, tmp_path: Path) -> None:
    head = '"date","hostname","page","visits","visitors","pageviews"\n'
    first = head + '"2020-01-01","","/old",1,1,9\n"2020-01-02","","/old",1,1,4\n'
    await bring(merging, tmp_path, first, PLAUSIBLE)
    await bring(merging, tmp_path, head + '"2020-01-02","","/old",1,1,6\n"2020-01-03","","/old",1,1,1\n', PLAUSIBLE)
    found = await numbers(merging)
    assert (await merging.lists())["all"]["/old"] == 3 + 16
    assert [found.get(f"views 2020-01-0{n}") for n in (1, 2, 3)] == [9, 6, 1]
    assert await troubles(merging, tmp_path) == []


# Once, and as a whole ------------------------------------------------------------------------------------------------


async def test_the_same_content_is_known_again_until_it_is_undone(merging: Merging, tmp_path: Path) -> None:
    plan = await planned(merging, tmp_path, ARTICLES)
    importing, digest = merging.desk.imports, plan.draft.hash
    assert await importing.made_with(digest) is None
    made = await importing.make(plan.imported(), plan.parts(), LAN)
    plan.draft.close()
    found = await importing.made_with(digest)
    assert found is not None
    assert (found.logged.id, found.logged.change.who, found.what.files) == (made.id, "lan", ("old.csv",))
    await merging.undo(made.id)
    assert await importing.made_with(digest) is None


class Killed(Exception):
    """The process that imports has ended here."""


class Cut:
    """A recorder of a process that is killed before its record number `after`."""

    def __init__(self, merging: Merging, after: int) -> None:
        self._merging = merging
        self._left = after

    async def change(self, change: ChangeRecord) -> Changed | None:
        if not self._left:
            raise Killed
        self._left -= 1
        return await self._merging.change(change)


async def test_an_import_that_is_cut_anywhere_is_made_as_a_whole_or_not_at_all(
    merging: Merging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is begun nothing has changed; from then on whoever comes next goes on with it, and with an undo."""
    monkeypatch.setattr(amounts, "PART", 1)
    start = await numbers(merging)
    made = await bring(merging, tmp_path, ARTICLES + "/x;;1\n")
    whole = await numbers(merging)
    parts = len((await Imports(merging.raw).all(SITE.id))[made.id].places)
    assert parts == 4
    await merging.undo(made.id)
    assert await numbers(merging) == start
    for cut in range(2 * parts + 1):
        plan = await planned(merging, tmp_path, ARTICLES + f"/x;;1\n/y{cut};;0\n")
        importing = desk_of(merging, Cut(merging, cut))
        with pytest.raises(Killed):
            await importing.make(plan.imported(), plan.parts(), LAN)
        plan.draft.close()
        again = merging.desk.imports
        pending = await again.unfinished()
        if cut <= parts + 1 and not pending:
            assert await numbers(merging) == start
            continue
        [name] = pending
        assert await troubles(merging, tmp_path) != []
        other = await planned(merging, tmp_path, DAYS)
        with pytest.raises(ChangeRefused, match="is not finished yet"):
            await again.make(other.imported(), other.parts(), LAN)
        other.draft.close()
        assert await again.finish(name)
        assert await numbers(merging) == whole
        assert await troubles(merging, tmp_path) == []
        logged = await merging.changes.one(SITE.id, name)
        assert logged is not None
        with pytest.raises(Killed):
            await desk_of(merging, Cut(merging, 2)).undo(logged, LAN)
        assert await merging.desk.imports.finish(name)
        assert await numbers(merging) == start


def desk_of(merging: Merging, recorder: Any) -> Importing:
    from tests.store.changing import change_desk

    return change_desk(merging.raw, recorder, merging.site, lambda: merging.now, changes=merging.changes).imports


async def test_all_records_again_change_nothing(merging: Merging, tmp_path: Path) -> None:
    """As after a rollback, when the journal is replayed over a store that has them."""
    made = await bring(merging, tmp_path, ARTICLES)
    await merging.undo(made.id)
    await bring(merging, tmp_path, DAYS)
    found = await numbers(merging)
    for sequence in range(1, len(merging.records) + 1):
        await merging.send(sequence)
    assert await numbers(merging) == found


async def test_a_store_that_was_lost_gets_the_same_from_the_journal(
    merging: Merging, tmp_path: Path, raw: Redis
) -> None:
    made = await bring(merging, tmp_path, ARTICLES)
    await bring(merging, tmp_path, DAYS)
    await merging.undo(made.id)
    found = await numbers(merging)
    await raw.flushall()
    for sequence in range(1, len(merging.records) + 1):
        await merging.send(sequence)
    assert await numbers(merging) == found


async def test_an_undo_that_would_take_more_than_there_is_is_refused(merging: Merging, tmp_path: Path) -> None:
    made = await bring(merging, tmp_path, DAYS)
    reset = await merging.desk.corrections.reset("visits", 1, LAN)
    before = await numbers(merging)
    with pytest.raises(ChangeRefused, match="below zero"):
        await merging.undo(made.id)
    assert await numbers(merging) == before
    await merging.undo(reset.id)
    await merging.undo(made.id)


async def test_verify_names_a_part_that_is_lost(merging: Merging, tmp_path: Path) -> None:
    made = await bring(merging, tmp_path, ARTICLES)
    await merging.raw.hdel(keys.import_parts(SITE.id, made.id), "1")
    found = await troubles(merging, tmp_path)
    assert f"import: part 1 of import {made.id} is lost or damaged" in found


# Anything in between -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
async def test_undone_imports_leave_no_trace_whatever_came_in_between(
    merging: Merging, tmp_path: Path, seed: int, redis_url: str, raw: Redis
) -> None:
    """Hits, merges, corrections and other imports among them: the rest is what it is in a world without imports."""
    chance = random.Random(seed)
    files = [ARTICLES, DAYS, "url;views\n/old;90\n/third;1\n", "Tháng;Lượt truy cập\n02/2021;20\n03/2021;1\n"]
    steps: list[tuple[str, Any]] = [("import", each) for each in files]
    steps += [("read", chance.choices(["/old", "/new", "/third", "/quiet"], k=3)) for _ in range(3)]
    steps += [("merge", ("/third", "/new")), ("adjust", chance.randrange(1, 9))]
    chance.shuffle(steps)

    async def play(world: Merging, *, with_imports: bool) -> dict[str, Any]:
        made: list[str] = []
        for what, how in steps:
            if what == "import" and with_imports:
                made.append(
                    (await bring(world, tmp_path, how, strategy=chance.choice(["replace", "add", "keep-larger"]))).id
                )
            elif what == "read":
                await world.read(*how)
            elif what == "merge":
                await world.merge(*how)
            elif what == "adjust":
                await world.desk.corrections.adjust(Adjustment("views", "/new", how), LAN)
        if with_imports:
            assert await troubles(world, tmp_path) == []
            left = chance.sample(made, len(made))
            while left:
                name = left.pop(0)
                try:
                    await world.undo(name)
                except ChangeRefused as refused:
                    # A later one has replaced a larger number by a smaller one: it has to be undone first.
                    if "undo import" not in str(refused):
                        raise
                    left.append(name)
            assert await troubles(world, tmp_path) == []
        return await numbers(world)

    found = await play(merging, with_imports=True)
    await raw.flushall()
    plain = Merging(redis_url, raw)
    await read_some(plain)
    expected = await play(plain, with_imports=False)
    await plain.close()
    assert found == expected
