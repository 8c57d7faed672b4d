"""A whole site goes into a file and out of it again at another installation, exactly: what its box, lists and history
show there is what they showed here, whatever it came from."""

from __future__ import annotations

import json
import random
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.conftest import StartStore
from tests.store.dated import dated
from tests.store.merging import BEFORE, CALENDAR, DAY, SITE, Merging
from tests.store.test_imports import DAYS, bring, numbers, troubles
from tests.store.town import Town
from tests.store.writing import NOON
from visitstats.changes.corrections import Adjustment
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.cli.moving import Move
from visitstats.core.entries import Entry
from visitstats.core.errors import InvalidSite, VisitstatsError
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.sites import Site
from visitstats.imports import outcome
from visitstats.imports.export import Export
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused
from visitstats.imports.plan import plan_of
from visitstats.imports.reading import draft_of
from visitstats.ingest.positions import Positions
from visitstats.ingest.replay import Replay, numbering
from visitstats.journal.log import Limits
from visitstats.reading.article_history import ArticleHistory
from visitstats.settings import Settings
from visitstats.store import keys
from visitstats.store.changes import Changes
from visitstats.store.commit import Committer
from visitstats.store.fitness import opened
from visitstats.store.import_records import Imports
from visitstats.store.packing import Packer
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.store.removals import KEPT_MS
from visitstats.store.tiles import Tiles
from visitstats.system.patterns import linear_pattern

LAN = Order("lan", "Chuyển máy chủ")
AUGUST = CALENDAR.day_named("2036-08-20")
PACKED_BY = CALENDAR.day_named("2036-11-20").start_ms


@pytest_asyncio.fixture
async def here(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    await Records(raw).put_site(SITE)
    yield found
    await found.close()


async def lived(here: Merging, url: str, folder: Path) -> dict[str, int]:
    """A site with everything that a site can have; returns what its articles must have of all time, by plain sums."""
    must = Counter[str]()
    for day, articles in (
        (AUGUST, ("/old", "/old", "/new", "/hidden")),
        (BEFORE, ("/old", "/new", "/new", "/third")),
        (DAY, ("/old", "/third", "/hidden", "/hidden")),
    ):
        await here.read(*articles, day=day)
        must.update(articles)
    await here.baselines.set(1000, {Entry("/old", "Cũ"): 500})
    must["/old"] += 500
    await bring(here, folder, DAYS)
    await bring(here, folder, "Tháng;Lượt truy cập\n03/2021;40\n")
    await bring(here, folder, "url;title;views\n/brought;Mang sang;70\n/old;Cũ;30\n")
    must.update({"/brought": 70, "/old": 30})
    desk = here.desk
    for asked, key in (
        (Adjustment("views", "/third", 5, None, DAY.date), "/third"),
        (Adjustment("views", "/old", -1, None, AUGUST.date), "/old"),
        (Adjustment("views", "/hidden", -2, None, "none"), "/hidden"),
    ):
        await desk.corrections.adjust(asked, LAN)
        must[key] += asked.by or 0
    await desk.corrections.adjust(Adjustment("visits", "", 9, None, BEFORE.date), LAN)
    await desk.naming.hide("/hidden", LAN)
    packed = await Packer(url, here.raw, lambda: PACKED_BY).pack_due(SITE.id, CALENDAR)
    assert {each.month for each in packed if each.word == "packed"} >= {"2036-08", "2036-10"}
    await here.read("/new", day=BEFORE)  # late: beside the tiles
    must["/new"] += 1
    await here.merge("/new", "/old")
    must["/old"] += must.pop("/new")
    await desk.corrections.reset("visits", 17, LAN)
    return dict(must)


async def file_of(url: str, folder: Path, site: Site = SITE, name: str = "a.jsonl") -> Path:
    path = folder / name
    async with opened(url, lambda: DAY.start_ms) as parts:
        with path.open("wb") as file:
            await Export(parts, site, folder / "room.sqlite", file.write).write(DAY.start_ms)
    return path


async def made(url: str, folder: Path, path: Path, site: Site = SITE) -> str:
    """Make a site of a file in a store; returns the id of the change."""
    settings = Settings.load({"data_dir": folder / "data", "redis_url": url}, {}, None)
    async with opened(url, lambda: DAY.start_ms) as parts:
        return (await Move(parts, settings, site, folder).make_new(path, LAN)).id


async def shown(raw: Redis, site: str = SITE.id) -> dict[str, Any]:
    """What people see of a site, whatever it came from: zeros are as good as nothing."""
    found: dict[str, Any] = {}
    for kind in ("visits", "views"):
        counts = await dated(raw, site, kind)
        counts["all"] = counts.get("all", 0) + counts.pop("base", 0)
        found |= {f"{kind} {when}": n for when, n in counts.items() if n}
    reads, history = Reads(raw), ArticleHistory(Tiles(raw))
    ends = {alias: article_id(key) for alias, key in (await Changes(raw).aliases(site)).items()}
    async for page in reads.scan_views(site):
        for (article, views), entry in zip(page, await reads.entries(site, [each for each, _ in page]), strict=True):
            own = [article, *(alias for alias, end in ends.items() if end == article)]
            days = await history.by_day(
                site, await history.numbers(site, own), date.fromisoformat(AUGUST.date), date.fromisoformat(DAY.date)
            )
            found[entry.key] = (views, days, entry.title, entry.hidden)
    return found


async def test_a_site_is_the_same_at_another_installation(
    here: Merging, redis_url: str, start_store: StartStore, tmp_path: Path
) -> None:
    """Hits, baselines, imports, corrections, merged and hidden articles, packed months, a reset: all numbers agree, and
    those of articles are what a plain sum says."""
    must = await lived(here, redis_url, tmp_path)
    path = await file_of(redis_url, tmp_path)
    there = start_store()
    await made(there.url, tmp_path, path)
    async with Redis.from_url(there.url) as raw:
        before, after = await shown(here.raw), await shown(raw)
        assert after == before
        assert {key: value[0] for key, value in after.items() if key.startswith("/")} == must
        assert after["visits all"] == 17
        assert after["/hidden"][3]
        copy = Merging(there.url, raw)
        try:
            assert await troubles(copy, tmp_path) == []
        finally:
            await copy.close()
    head, *lines, end = map(json.loads, path.read_text("utf-8").splitlines())
    assert (head["visitstats"], head["site"]) == (1, SITE.id)
    assert end["sums"] == {
        "visits": 17,
        "views": before["views all"],
        "articles": sum(must.values()),
        "article_days": sum(sum(line["views"].values()) for line in lines if "days" in line),
    }
    assert {line["kind"] for line in lines if "change" in line} >= {"import", "adjust", "merge", "reset", "hide"}


async def test_twice_is_once_and_undo_is_exact(
    here: Merging, redis_url: str, start_store: StartStore, tmp_path: Path
) -> None:
    """A second export of the same numbers is the same import; its undo leaves what the other site had."""
    await lived(here, redis_url, tmp_path)
    path, again = await file_of(redis_url, tmp_path), await file_of(redis_url, tmp_path, name="b.jsonl")
    store = start_store()
    async with Redis.from_url(store.url) as raw:
        other = Merging(store.url, raw)
        try:
            await other.read("/old", "/own", day=DAY)
            before = await numbers(other)
            change = await add(other, tmp_path, path)
            added = await shown(raw)
            mine = await shown(here.raw)
            assert added["visits all"] == mine["visits all"] + before["visits all"]
            assert added["views all"] == mine["views all"] + before["views all"]
            assert added["/old"][0] == mine["/old"][0] + 1
            draft = drafted(other, tmp_path, again)
            assert await other.desk.imports.made_with(draft.hash) is not None
            draft.close()
            await other.read("/old", day=DAY)
            await other.undo(change)
            after = {name: n for name, n in (await numbers(other)).items() if n}
            grown = {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}
            assert set(grown.values()) == {1}, grown
            assert await troubles(other, tmp_path) == []
        finally:
            await other.close()


def drafted(other: Merging, folder: Path, path: Path) -> Any:
    rules = KeyRules(other.site, linear_pattern)
    return draft_of([path], folder / "draft.sqlite", other.site, rules, Options(strategy="add"))


async def add(other: Merging, folder: Path, path: Path) -> str:
    draft = drafted(other, folder, path)
    plan = await plan_of(draft, other.changes, other.desk.imports, Imports(other.raw))
    try:
        return (await other.desk.imports.make(plan.imported(), plan.parts(), LAN)).id
    finally:
        draft.close()


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


SPOILT: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "cut off between lines": (lambda lines: lines[:-1], "its last line is missing"),
    "cut off within a line": (lambda lines: [*lines[:-1], lines[-1][:20]], "its last line is missing"),
    "something changed": (lambda lines: [line.replace(b',"views":', b', "views":') for line in lines],
                          "it is not as it was written"),
    "a line taken out": (lambda lines: [*lines[:2], *lines[3:]], "it is not as it was written"),
    "more behind the end": (lambda lines: [*lines, lines[1]], "more behind its last line"),
    "another version": (lambda lines: [lines[0].replace(b'"visitstats":1', b'"visitstats":2'), *lines[1:]],
                        "an export of version 2, this program reads version 1"),
    "no line of ours": (lambda lines: [lines[0], b'{"hello":1}\n', *lines[1:]], "no line of an export"),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
async def test_a_file_that_is_not_as_it_was_written_is_refused(
    here: Merging, redis_url: str, start_store: StartStore, tmp_path: Path, how: str
) -> None:
    """In one clear error, and nothing of it stays."""
    await here.read("/a", "/b", day=DAY)
    path = await file_of(redis_url, tmp_path)
    spoil, why = SPOILT[how]
    path.write_bytes(b"".join(spoil(lines_of(path))))
    store = start_store()
    with pytest.raises(ImportRefused, match=why) as refused:
        await made(store.url, tmp_path, path)
    assert "\n" not in str(refused.value)
    async with Redis.from_url(store.url) as raw:
        assert await Records(raw).sites() == {}
        assert await raw.dbsize() == 0


async def test_a_site_whose_import_fails_is_not_made(
    here: Merging, redis_url: str, start_store: StartStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does anything stay of it but the watermark, by which a replay knows that there is nothing to do."""
    await here.read("/a", "/b", day=DAY)
    path = await file_of(redis_url, tmp_path)
    store = start_store()

    async def fails(*arguments: object, **more: object) -> None:
        raise ChangeRefused("no")

    monkeypatch.setattr("visitstats.changes.imports.Importing._begin", fails)
    with pytest.raises(ChangeRefused):
        await made(store.url, tmp_path, path)
    async with Redis.from_url(store.url) as raw:
        assert await Records(raw).sites() == {}
        found: Any = await raw.keys()
        names = {name.decode() for name in found}
        assert {name for name in names if name.startswith("vs:{")} == {keys.marks(SITE.id)}
    monkeypatch.undo()
    first = await made(store.url, tmp_path, path)
    async with Redis.from_url(store.url) as raw:
        before = await Reads(raw).views(SITE.id, ["/a", "/b"])
        assert await made(store.url, tmp_path, path) == first, "done twice it is done once"
        assert await Reads(raw).views(SITE.id, ["/a", "/b"]) == before == {"/a": 1, "/b": 1}
    await here.read("/a", day=DAY)
    with pytest.raises(InvalidSite, match="there is a site 'portal' already"):
        await made(store.url, tmp_path, await file_of(redis_url, tmp_path))


async def test_other_rules_make_the_keys_anew(here: Merging, redis_url: str, tmp_path: Path) -> None:
    """An export that comes into a site with other rules for keys is counted under the keys of that site's hits."""
    await here.read("/Tin/A", day=DAY)
    path = await file_of(redis_url, tmp_path)
    site = Site(id="second", hosts=("portal.vn",), ignore_case=True)
    await made(redis_url, tmp_path, path, site)
    assert await Reads(here.raw).views("second", ["/tin/a", "/Tin/A"]) == {"/tin/a": 1, "/Tin/A": 0}


def test_a_hundred_thousand_article_days_are_read_in_little_memory(tmp_path: Path) -> None:
    """Every number comes out, and the memory that it takes does not grow with the file."""
    path, whole = tmp_path / "large.jsonl", sha256()
    many, days = 5_000, 20

    def rows() -> Any:
        yield {"visitstats": 1, "site": "a", "settings": {"hosts": ["portal.vn"]}, "exported": "", "schema": 1}
        for n in range(many):
            yield {"days": f"/{n}", "month": "2025-01", "views": {str(day): day for day in range(1, days + 1)}}
        for n in range(many):
            yield {"article": f"/{n}", "views": 1000, "title": "Tin " * 20}
        yield {"period": "", "visits": 5, "views": 1000 * many}

    with path.open("wb") as file:
        for row in rows():
            data = msgspec.json.encode(row) + b"\n"
            whole.update(data)
            file.write(data)
        sums = {"visits": 5, "views": 1000 * many, "articles": 1000 * many, "article_days": 210 * many}
        end = {"days": many, "articles": many, "periods": 1, "changes": 0}
        file.write(msgspec.json.encode({"end": end, "sums": sums, "sha256": whole.hexdigest()}) + b"\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    draft = draft_of([path], tmp_path / "draft.sqlite", SITE, KeyRules(SITE, linear_pattern), Options())
    try:
        assert draft.db.execute("SELECT count(*), sum(views) FROM days").fetchone() == (many * days, 210 * many)
        assert draft.reader == "visitstats"
    finally:
        draft.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def test_no_replay_brings_back_what_was_deleted(redis_url: str, tmp_path: Path) -> None:
    """The journals still have every record of the removed site: its watermarks say that they were applied. Another
    site's records are replayed as ever."""
    async with opened(redis_url, lambda: NOON) as parts:
        town = Town(tmp_path, parts.client, parts)
        await town.live()
        await parts.records.remove_site(SITE.id, NOON)
        assert await parts.records.forget_removed(NOON + KEPT_MS) == [SITE.id]
        await parts.client.unlink(*await names_of(parts.client, "other"))
        committer = Committer(redis_url)
        replay = Replay(town.root, committer, parts.reads, lambda site: numbering(None, NOON), Limits(1 << 30, 86_400))
        try:
            assert await replay.bring_up(Positions("f" * 32), lambda work, result: None) == set()
        finally:
            await replay.close()
            await town.close()
        assert await names_of(parts.client, SITE.id) == [keys.marks(SITE.id)]
        assert keys.counts("other") in await names_of(parts.client, "other")


async def names_of(raw: Redis, site: str) -> list[str]:
    found: Any = await raw.keys(keys.of_site(site))
    return sorted(name.decode() for name in found)


async def test_days_that_were_counted_here_stay(here: Merging, redis_url: str, tmp_path: Path) -> None:
    """Into a site that counts itself, an export comes up to the day before its first: total, year and articles are less
    by just the days that are left out."""
    await here.read("/a", "/a", "/b", day=BEFORE)
    await here.read("/a", day=DAY)
    path = await file_of(redis_url, tmp_path)
    rules = KeyRules(SITE, linear_pattern)
    draft = draft_of([path], tmp_path / "draft.sqlite", SITE, rules, Options(), first_counted=DAY.date)
    try:
        found = json.loads(b"".join(outcome.text(draft)))
    finally:
        draft.close()
    assert found["site"] == {"visits_total": 3, "views_total": 3}
    assert {key: article["views"] for key, article in found["articles"].items()} == {"/a": 2, "/b": 1}
    assert found["months"] == {"2036-10": {"visits": 3, "views": 3}, "2036-11": {"visits": 0, "views": 0}}
    assert found["years"] == {"2036": {"visits": 3, "views": 3}}


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_has_happened_to_a_site_comes_along(
    here: Merging, redis_url: str, start_store: StartStore, tmp_path: Path, seed: int
) -> None:
    """Hits, merges, corrections, resets, imports, baselines, undos and packing in any order."""
    chance = random.Random(seed)
    made_up: list[str] = []
    for _ in range(40):
        try:
            await something(here, redis_url, tmp_path, chance, made_up)
        except (VisitstatsError, ImportRefused):
            continue  # it cannot be done now, and has changed nothing
    path = await file_of(redis_url, tmp_path)
    there = start_store()
    change = await made(there.url, tmp_path, path)
    again = tmp_path / "again"
    again.mkdir()
    first, second = lines_of(path), lines_of(await file_of(there.url, again))
    assert end_of(first)["sums"] == end_of(second)["sums"], "an export of the copy is as good"
    async with Redis.from_url(there.url) as raw:
        assert await shown(raw) == await shown(here.raw)
        copy = Merging(there.url, raw)
        try:
            assert await troubles(copy, tmp_path) == []
            await copy.read("/0", "/0", "/own", day=DAY)
            await copy.undo(change)
            left = {name: each for name, each in (await shown(raw)).items() if not name.startswith("/") or each[0]}
            assert {name: each[0] for name, each in left.items() if name.startswith("/")} == {"/0": 2, "/own": 1}
            assert {name: n for name, n in left.items() if not name.startswith("/")} == {
                f"{kind} {when}": 3 for kind in ("visits", "views") for when in ("all", "2036", "2036-11", DAY.date)
            }
            assert await troubles(copy, tmp_path) == []
        finally:
            await copy.close()


def end_of(lines: list[bytes]) -> Any:
    return json.loads(lines[-1])


async def something(here: Merging, url: str, folder: Path, chance: random.Random, made_up: list[str]) -> None:
    """One thing that people or readers do to a site."""
    articles = [f"/{n}" for n in range(6)]
    day, desk = chance.choice((AUGUST, BEFORE, DAY)), here.desk
    n = chance.randint(-4, 6) or 1
    match chance.choice(("read", "read", "merge", "adjust", "site", "reset", "bring", "base", "undo", "pack", "hide")):
        case "read":
            await here.read(*chance.choices(articles, k=4), day=day)
        case "merge":
            made_up.append(await here.merge(*chance.sample(articles, 2)))
        case "adjust":
            when = chance.choice((day.date, "none"))
            asked = Adjustment("views", chance.choice(articles), n, None, when)
            made_up.append((await desk.corrections.adjust(asked, LAN)).id)
        case "site":
            kind: Any = chance.choice(("visits", "views"))
            asked = Adjustment(kind, "", n, None, chance.choice((day.date, "none")))
            made_up.append((await desk.corrections.adjust(asked, LAN)).id)
        case "reset":
            kind = chance.choice(("visits", "views"))
            made_up.append((await desk.corrections.reset(kind, chance.randint(0, 5), LAN)).id)
        case "bring":
            files = (
                f"url;title;views\n{chance.choice(articles)};Bài;{n + 10}\n/x{n};;3\n",
                f"Ngày;Lượt truy cập;Lượt xem\n0{abs(n) + 1}/02/2021;{n + 10};8\n",
                f"Tháng;Lượt truy cập\n0{abs(n) + 1}/2021;{n + 40}\n",
                f"Năm;Lượt truy cập\n2021;{n + 90}\n",
            )
            strategy = chance.choice(("add", "replace"))
            made_up.append((await bring(here, folder, chance.choice(files), strategy=strategy)).id)
        case "base":
            await here.baselines.set(n + 20, {Entry(chance.choice(articles), "Cũ"): n + 20})
        case "undo" if made_up:
            await here.undo(made_up.pop(chance.randrange(len(made_up))))
        case "pack":
            await Packer(url, here.raw, lambda: PACKED_BY).pack_due(SITE.id, CALENDAR)
        case "hide":
            await desk.naming.hide(chance.choice(articles), LAN)
