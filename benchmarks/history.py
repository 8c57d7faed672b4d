"""Ten years of history of a site: `python -m benchmarks --only history`.

A made-up and pessimistic site: `--members` articles (a million), published evenly over ten years; for a million 90,000
views a day, 55 % of them on articles of the last days, the others all over the archive. Its months are packed here and
written to a store directly; the last one is written as the hashes of its days, and packed by the service's own code.
Then it is asked as the service asks.

For some articles every view is noted while it is made, and every answer is compared with that.
"""

import argparse
import asyncio
import random
import statistics
import time
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from math import log
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.core.periods import ALL_TIME, Calendar
from visitstats.core.sites import Site
from visitstats.core.tiles import BLOCK, Packed, Tile, cell, encode, encode_packed, spans
from visitstats.embedded.process import EmbeddedStore
from visitstats.reading.article_history import Article, ArticleHistory, most
from visitstats.store import keys
from visitstats.store.fitness import opened
from visitstats.store.packing import Packer
from visitstats.store.schema import claim_store
from visitstats.store.tiles import Tiles
from visitstats.trust.verify.verifier import Verifier

T = TypeVar("T")
SITE = Site(id="archive", hosts=("archive.vn",))
CALENDAR = Calendar(SITE.timezone)
FIRST, YEARS = date(2016, 1, 1), 10
VIEWS_A_DAY = 90_000
"""Of a million articles."""
RECENT = 0.55
RECENT_DAYS = 2.0
"""The mean age of an article when it is read as a new one."""
ARCHIVE_SKEW = 4
"""Of the others most are read of the oldest: what stays asked for."""
NOTED = 300
TIMES = 7
PIECE = 1000
SLOW_US = 300
"""Commands that take longer on the server are looked at."""
GOALS_MS = {"one article, ten years": 25.0, "top 50 of 31 days": 300.0, "top 50 of 365 days": 1000.0}
MIB = 1 << 20


class Asked(msgspec.Struct):
    """How long a question took, in ms: the median and the longest; and the median of our own CPU time."""

    name: str
    median: float
    longest: float
    cpu: float


class Found(msgspec.Struct):
    """What was measured."""

    articles: int
    views: int
    cells: int
    generated_s: float
    tiles: int = 0
    tile_bytes: int = 0
    largest_tile: int = 0
    store_bytes: int = 0
    """Memory of the keys of the tiles and their records, as the store tells it."""
    asked: list[Asked] = []
    pack_cells: int = 0
    pack_cpu_s: float = 0
    pack_store_cpu_s: float = 0
    pack_s: float = 0
    verify_s: float = 0
    slowest: dict[str, tuple[float, str]] = {}
    """The longest command of each part, in ms, with its name."""


class Readers:
    """Makes the views of a day, by article number."""

    def __init__(self, articles: int) -> None:
        self._chance = random.Random(2026)
        self._a_day = articles / (YEARS * 365.25)
        views = max(100, VIEWS_A_DAY * articles // 1_000_000)
        self._recent = round(views * RECENT)
        self._old = views - self._recent
        # Quantiles: how many articles ago, and where in the archive.
        self._ages = [int(-log((x + 0.5) / 65_536) * RECENT_DAYS * self._a_day) for x in range(65_536)]
        self._places = [(x / 65_536) ** ARCHIVE_SKEW for x in range(65_537)]

    def day(self, known: int) -> Counter[int]:
        """Return who was read how often on a day on which so many articles are known."""
        last = known - 1
        starts = [int(place * known) for place in self._places]
        found = Counter(max(0, last - self._ages[x]) for x in self._draw(self._recent))
        found.update(
            starts[x] + (y * (starts[x + 1] - starts[x]) >> 16)
            for x, y in zip(self._draw(self._old), self._draw(self._old), strict=True)
        )
        return found

    def _draw(self, many: int) -> "array[int]":
        return array("H", self._chance.randbytes(2 * many))


class Archive:
    """The site in its store."""

    def __init__(self, client: Redis, articles: int, console: Console) -> None:
        self._client = client
        self._console = console
        self.articles = articles
        self.totals = [0] * articles
        self.noted: dict[int, dict[str, int]] = {
            number: {} for number in random.Random(1).sample(range(articles), NOTED)
        }
        self.last = FIRST + timedelta(days=round(YEARS * 365.25) - 1)
        self.views = self.cells = self.tiles = self.tile_bytes = self.largest_tile = 0

    async def fill(self) -> None:
        """Make all of it."""
        readers = Readers(self.articles)
        months = spans(FIRST, self.last)
        many_days = (self.last - FIRST).days + 1
        site_views: Counter[str] = Counter()
        passed = 0
        for span in months:
            blocks: defaultdict[int, dict[int, int]] = defaultdict(dict)
            days = []
            for day in span.dates:
                passed += 1
                counts = readers.day(max(1, self.articles * passed // many_days))
                views = counts.total()
                days.append(views)
                site_views.update({day: views, day[:7]: views, day[:4]: views, ALL_TIME: views})
                self._note(day, counts)
                if span is months[-1]:
                    await self._write_day(day, counts)
                else:
                    of_month = int(day[8:])
                    for number, n in counts.items():
                        blocks[number // BLOCK][cell(number % BLOCK, of_month)] = n
            if span is not months[-1]:
                await self._write_month(span.month, dict(sorted(blocks.items())), days)
            if span.month.endswith("-12"):
                self._console.print(f"{span.month[:4]}: {self.cells:,} cells", highlight=False)
        self.views = site_views[ALL_TIME]
        await self._write_register(site_views)

    def _note(self, day: str, counts: Counter[int]) -> None:
        for number, noted in self.noted.items():
            if n := counts.get(number):
                noted[day] = n

    async def _write_day(self, day: str, counts: Counter[int]) -> None:
        items = [(id_of(number), n) for number, n in counts.items()]
        self.cells += len(items)
        for number, n in counts.items():
            self.totals[number] += n
        await self._write_hash(keys.articles_of_day(SITE.id, day), items)

    async def _write_month(self, month: str, blocks: dict[int, dict[int, int]], days: list[int]) -> None:
        crc = articles = cells = 0
        for block, of_block in blocks.items():
            data = encode(of_block)
            tile = Tile(data)
            crc, articles, cells = zlib.crc32(data, crc), articles + tile.head.articles, cells + tile.head.cells
            self.tile_bytes, self.largest_tile = self.tile_bytes + len(data), max(self.largest_tile, len(data))
            for place, n in zip(tile.places, tile.sums, strict=True):
                self.totals[block * BLOCK + place] += n
            await self._client.hset(keys.tiles(SITE.id, month), str(block), data)  # type: ignore[arg-type]
        record = Packed(0, "0" * 16, len(blocks), articles, cells, sum(days), tuple(days), crc)
        await self._client.hset(keys.packed(SITE.id), month, encode_packed(record))  # type: ignore[arg-type]
        self.cells += cells
        self.tiles += len(blocks)

    async def _write_register(self, site_views: Counter[str]) -> None:
        """The articles with their numbers, names and views of all time, and the site's views."""
        for start in range(0, self.articles, PIECE):
            numbers = range(start, min(start + PIECE, self.articles))
            ids = [id_of(number) for number in numbers]
            await self._client.setrange(keys.ids(SITE.id), 8 * start, b"".join(ids))  # type: ignore[arg-type]
            totals = [(article, self.totals[number]) for article, number in zip(ids, numbers, strict=True)]
            await self._write_hash(keys.articles(SITE.id), totals)
            names = [(article, encode_entry(entry_of(number))) for article, number in zip(ids, numbers, strict=True)]
            await self._write_hash(keys.names(SITE.id), names)
        for when, n in site_views.items():
            await self._client.hset(*keys.count_at(SITE.id, "views", when), n)  # type: ignore[misc]

    async def _write_hash(self, name: str, items: list[Any]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for start in range(0, len(items), PIECE):
                pipe.hset(name, mapping=dict(items[start : start + PIECE]))
            await pipe.execute()


def id_of(number: int) -> bytes:
    """Return the id of an article."""
    return article_id(f"/bai-viet/{number}")


def entry_of(number: int) -> Entry:
    """Return the entry of an article."""
    return Entry(f"/bai-viet/{number}", f"Quy định mới về cải cách thủ tục hành chính trên địa bàn tỉnh, bài {number}")


def measure(console: Console, folder: Path, options: argparse.Namespace) -> tuple[Found, list[str]]:
    """Measure; return what was found, and what was wrong."""
    with EmbeddedStore.start(folder) as store:
        return asyncio.run(_measure(console, store.url, folder, options.members))


async def _measure(console: Console, url: str, folder: Path, articles: int) -> tuple[Found, list[str]]:
    now = CALENDAR.day_named("2026-11-29").start_ms
    async with opened(url, lambda: now, answer_seconds=60) as parts:
        client = parts.client
        await claim_store(client)
        await parts.records.put_site(SITE)
        began = time.perf_counter()
        archive = Archive(client, articles, console)
        await archive.fill()
        found = Found(articles, archive.views, archive.cells, time.perf_counter() - began)
        await client.config_set("slowlog-log-slower-than", SLOW_US)
        wrong: list[str] = []
        await _pack(client, url, now, archive, found, wrong)
        found.tiles, found.tile_bytes = archive.tiles, archive.tile_bytes
        found.largest_tile, found.store_bytes = archive.largest_tile, await _memory(client)
        await _ask(client, archive, found, wrong)
        await client.slowlog_reset()
        began = time.perf_counter()
        verifier = Verifier(parts.inspector, parts.records, parts.reads, folder / "journal", lambda: now)
        report = await verifier.run(again_seconds=0)
        found.verify_s = time.perf_counter() - began
        wrong += [f"verify: {problem.check}: {problem.detail}" for problem in report.problems]
        found.slowest["verify"] = await _slowest(client)
    return found, wrong


async def _pack(client: Redis, url: str, now: int, archive: Archive, found: Found, wrong: list[str]) -> None:
    """Pack the last month as the service does."""
    await client.slowlog_reset()
    before, cpu, began = await _store_cpu(client), time.process_time(), time.perf_counter()
    outcomes = await Packer(url, client, lambda: now).pack_due(SITE.id, CALENDAR)
    found.pack_s, found.pack_cpu_s = time.perf_counter() - began, time.process_time() - cpu
    found.pack_store_cpu_s = await _store_cpu(client) - before
    found.slowest["packing a month"] = await _slowest(client)
    wrong += [f"packing {each.month}: {each.word}: {each.detail}" for each in outcomes if each.word != "packed"]
    record = (await Tiles(client).packed(SITE.id)).get(archive.last.isoformat()[:7])
    if record is None:
        wrong.append("the last month is not packed")
        return
    found.pack_cells = record.cells
    sizes = [
        len(data)
        async for _, tiles in Tiles(client).tiles(SITE.id, [archive.last.isoformat()[:7]], range(1000))
        for data in tiles.values()
    ]
    archive.tiles += record.tiles
    archive.tile_bytes += sum(sizes)
    archive.largest_tile = max(archive.largest_tile, *sizes)


async def _ask(client: Redis, archive: Archive, found: Found, wrong: list[str]) -> None:
    history = ArticleHistory(Tiles(client))
    chance = random.Random(3)
    last = archive.last
    noted = [Article(id_of(number), number) for number in archive.noted]

    def days_back(many: int) -> tuple[date, date]:
        end = last - timedelta(days=chance.randrange((last - FIRST).days // 2))
        return end - timedelta(days=many - 1), end

    async def top(many: int) -> None:
        first, end = days_back(many)
        everything = await history.all_of(SITE.id, first, end, {})
        ranked = most(everything.by_number, 50)
        expected = {each.number: _sum(archive.noted[each.number], first, end) for each in noted}
        if {number: everything.by_number[number] for number in expected} != expected or len(ranked) != 50:
            wrong.append(f"all articles from {first} to {end} are not what was noted")

    async def one(days: bool) -> None:
        article = chance.choice(noted)
        history_of = history.by_day if days else history.by_month
        counts = await history_of(SITE.id, [article], FIRST, last)
        if sum(counts.values()) != sum(archive.noted[article.number].values()):
            wrong.append(f"article {article.number} is not what was noted")
        if days and counts != archive.noted[article.number]:
            wrong.append(f"the days of article {article.number} are not those that were noted")

    async def many(days: int) -> None:
        first, end = days_back(days)
        counts = await history.many(SITE.id, noted, first, end)
        if any(counts[each.id] != _sum(archive.noted[each.number], first, end) for each in noted):
            wrong.append(f"some articles from {first} to {end} are not what was noted")

    questions: dict[str, Callable[[], Awaitable[None]]] = {
        "one article, ten years": lambda: one(days=True),
        "top 50 of 31 days": lambda: top(31),
        "top 50 of 365 days": lambda: top(365),
        f"{NOTED} articles, 31 days": lambda: many(31),
        f"{NOTED} articles, 365 days": lambda: many(365),
    }
    for name, question in questions.items():
        await client.slowlog_reset()
        took, cpu = [], []
        for _ in range(TIMES * (5 if name.startswith("one") else 1)):
            began, used = time.perf_counter(), time.process_time()
            await question()
            took.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - used) * 1000)
        found.asked.append(Asked(name, statistics.median(took), max(took), statistics.median(cpu)))
        found.slowest[name] = await _slowest(client)


def _sum(noted: dict[str, int], first: date, last: date) -> int:
    return sum(n for day, n in noted.items() if first.isoformat() <= day <= last.isoformat())


async def _slowest(client: Redis) -> tuple[float, str]:
    """The longest command since the log was emptied, in ms."""
    entries: list[Any] = await client.slowlog_get(128)
    longest = max(entries, key=lambda entry: entry["duration"], default=None)
    if longest is None:
        return SLOW_US / 1000, "none took as long"
    return longest["duration"] / 1000, longest["command"][:40].decode("utf-8", "replace").replace("\n", " ")


async def _store_cpu(client: Redis) -> float:
    info: Any = await client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def _memory(client: Redis) -> int:
    months = list(await Tiles(client).packed(SITE.id))
    names = [keys.packed(SITE.id), *(keys.tiles(SITE.id, month) for month in months)]
    return sum([int(await client.memory_usage(name, samples=0) or 0) for name in names])


def show(console: Console, found: Found) -> None:
    """Print the tables; docs/performance.md explains them."""
    table = Table(title=f"{found.articles:,} articles, {YEARS} years", title_justify="left")
    for number, heading in enumerate(("", "", "goal")):
        table.add_column(heading, justify="right" if number else "left")
    per_cell = found.tile_bytes / max(1, found.cells)
    table.add_row("views; cells (an article's day)", f"{found.views:,}; {found.cells:,}", "")
    table.add_row("bytes of a cell", f"{per_cell:.2f}", "")
    table.add_row(
        "all tiles, MB; as the store keeps them, MB",
        f"{found.tile_bytes / 1e6:.0f}; {found.store_bytes / 1e6:.0f}",
        "250",
    )
    table.add_row("tiles; the largest, KiB", f"{found.tiles:,}; {found.largest_tile / 1024:.0f}", "")
    for asked in found.asked:
        goal = GOALS_MS.get(asked.name)
        table.add_row(
            f"{asked.name}: median, longest, our CPU, ms",
            f"{asked.median:.0f}; {asked.longest:.0f}; {asked.cpu:.0f}",
            f"{goal:.0f}" if goal else "",
        )
    table.add_row(f"packing a month of {found.pack_cells:,} cells: CPU, s", f"{found.pack_cpu_s:.1f}", "2")
    table.add_row("… of the store; in all, s", f"{found.pack_store_cpu_s:.1f}; {found.pack_s:.1f}", "")
    table.add_row("visitstats verify, s", f"{found.verify_s:.1f}", "20")
    for name, (took, command) in found.slowest.items():
        table.add_row(f"longest command, {name}, ms", f"{took:.1f} ({command})", "5")
    table.add_row("made in, s", f"{found.generated_s:.0f}", "")
    console.print(table)
