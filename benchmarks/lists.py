"""Lists of a site with a million articles and ten years of history: `python -m benchmarks.lists [--articles N]`.

The store is filled as the ledger and the packing would have filled it (pessimistic: 1.1 million article-days a month,
over the whole archive), then the index is made, and lists are asked for: each once cold, by somebody who remembers
nothing but the index, and then its next page.
"""

import argparse
import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.core.query import Query
from visitstats.core.sites import Site
from visitstats.core.tiles import BLOCK, Packed, Tile, cell, days_in, encode, encode_packed
from visitstats.embedded.process import EmbeddedStore
from visitstats.reading.desk_process import made_of
from visitstats.reading.index import Index
from visitstats.store import keys
from visitstats.store.client import open_client

SITE = Site(id="large", hosts=("portal.vn",))
YEARS = 10
DAY_CELLS = 33_660
LAST = date(2026, 11, 24)
WORDS = (
    "hội nghị sơ kết công tác phòng chống thiên tai tìm kiếm cứu nạn kế hoạch tổ chức lễ hội xuân đền thượng ủy ban "
    "nhân dân huyện xã triển khai nghị quyết chương trình mục tiêu quốc gia xây dựng nông thôn mới giảm nghèo bền vững "
    "chuyển đổi số cải cách hành chính tuyên truyền phổ biến giáo dục pháp luật"
).split()
AUTHORS = 400
POOL = 12
"""Tiles of each density; months are put together of these."""


def entry_of(n: int, draw: random.Random) -> Entry:
    """Make up what is known of an article."""
    published = LAST - timedelta(days=(1_000_000 - n) * 365 * YEARS // 1_000_000)
    title = " ".join(draw.choices(WORDS, k=draw.randint(7, 16))).capitalize()
    author = f"Tác giả {int(AUTHORS * draw.random() ** 2)}"
    return Entry(
        f"/tin-tuc/{draw.choice(WORDS)}-{draw.choice(WORDS)}-{draw.choice(WORDS)}-{n}.html", title, "", author,
        f"Chuyên mục {draw.randrange(40)}", published.isoformat(), type="Tin",
    )  # fmt: skip


def tiles_of(draw: random.Random, cells: int) -> list[bytes]:
    """Make tiles of a density: most cells are 1, as in an archive."""
    found = []
    for _ in range(POOL):
        places = [cell(draw.randrange(BLOCK), draw.randint(1, 28)) for _ in range(cells)]
        found.append(encode({place: 1 if draw.random() < 0.82 else draw.randint(2, 40) for place in places}))
    return found


async def fill(client: Any, articles: int) -> None:
    """Fill the store."""
    draw = random.Random(1)
    ids = [article_id("(other)")]
    for first in range(1, articles, 2000):
        entries = [entry_of(n, draw) for n in range(first, min(first + 2000, articles))]
        new = [article_id(entry.key) for entry in entries]
        ids += new
        async with client.pipeline(transaction=False) as pipe:
            pipe.hset(keys.names(SITE.id), mapping=dict(zip(new, map(encode_entry, entries), strict=True)))
            totals = {each: int(1 / (draw.random() + 1e-5)) for each in new}
            pipe.hset(keys.articles(SITE.id), mapping=totals)
            await pipe.execute()
    await client.hset(keys.articles(SITE.id), ids[0], 1)
    await client.set(keys.ids(SITE.id), b"".join(ids))
    counts: dict[str, int] = {}
    months = [f"{LAST.year - YEARS + (n + 11) // 12}-{(n + 11) % 12 + 1:02}" for n in range(12 * YEARS - 1)]
    blocks = -(-articles // BLOCK)
    pools: dict[int, list[bytes]] = {}
    for number, month in enumerate(months, 1):
        there = max(1, blocks * number // len(months))
        density = min(30_000, 2 ** round((DAY_CELLS * 30 * articles // 1_000_000 // there).bit_length()) // 2)
        pool = pools.setdefault(density, tiles_of(draw, density))
        tiles = {str(block): draw.choice(pool) for block in range(there)}
        views = sum(Tile(data).head.views for data in tiles.values())
        by_day = [views // days_in(month)] * days_in(month)
        by_day[0] += views - sum(by_day)
        record = Packed(0, f"{number:08x}", len(tiles), 0, 0, views, tuple(by_day), 0)
        async with client.pipeline(transaction=False) as pipe:
            for first in range(0, there, 32):
                piece = list(tiles.items())[first : first + 32]
                pipe.hset(keys.tiles(SITE.id, month), mapping=dict(piece))
            pipe.hset(keys.packed(SITE.id), month, encode_packed(record))
            pipe.hset(keys.days(SITE.id, month), mapping={f"views:{d:02}": n for d, n in enumerate(by_day, 1)})
            await pipe.execute()
        counts[month[:4]] = counts.get(month[:4], 0) + views
    for n in range(LAST.day):
        day = LAST - timedelta(days=n)
        chosen = {draw.choice(ids): 1 for _ in range(DAY_CELLS * articles // 1_000_000)}
        await client.hset(keys.articles_of_day(SITE.id, day.isoformat()), mapping=chosen)
        await client.hset(keys.days(SITE.id, f"{day:%Y-%m}"), f"views:{day:%d}", len(chosen))
        counts[f"{day:%Y}"] = counts.get(f"{day:%Y}", 0) + len(chosen)
    await client.hset(keys.counts(SITE.id), mapping={f"views:{year}": n for year, n in counts.items()})


async def measure(url: str, folder: Path, articles: int, table: Table) -> None:
    """Make the index, and ask."""
    client = open_client(url, 60)
    if not await client.exists(keys.counts(SITE.id)):
        await fill(client, articles)
    await client.execute_command("CONFIG", "SET", "slowlog-log-slower-than", "1000")
    await client.execute_command("SLOWLOG", "RESET")
    now = int(time.time() * 1000)

    async def timed(what: str, work: Callable[[], Awaitable[object]]) -> object:
        wall, cpu = time.perf_counter(), time.process_time()
        found = await work()
        table.add_row(what, f"{(time.perf_counter() - wall) * 1000:,.0f}", f"{(time.process_time() - cpu) * 1000:,.0f}")
        return found

    used = int((await client.info("memory"))["used_memory"])
    table.add_row("store, MiB", f"{used / 2**20:,.0f}", "")
    index = Index(folder)
    desk = made_of(client, index, lambda: now)
    await timed("index made, ms", lambda: desk.refresh(SITE))
    size = os.stat(folder / "index.sqlite").st_size
    table.add_row("index, MiB", f"{size / 2**20:,.0f}", "")
    await timed("brought up to date, nothing new", lambda: desk.refresh(SITE))
    await client.hincrby(keys.articles_of_day(SITE.id, LAST.isoformat()), article_id("(other)"), 1)
    await client.hincrby(keys.days(SITE.id, f"{LAST:%Y-%m}"), f"views:{LAST:%d}", 1)
    await client.hincrby(keys.counts(SITE.id), f"views:{LAST:%Y}", 1)
    await timed("brought up to date, one view more", lambda: desk.refresh(SITE))
    author = {"author": "Tác giả 7"}
    asked: dict[str, dict[str, Any]] = {
        "all time": {},
        "31 days (two months)": {"first": "2026-09-15", "last": "2026-10-15"},
        "31 days (open ones, too)": {"first": "2026-10-25", "last": "2026-11-24"},
        "a year": {"first": "2025-11-25", "last": "2026-11-24"},
        "seven years": {"first": "2018-02-11", "last": "2025-05-20"},
        "an author, all time": author,
        "an author, 31 days": {**author, "first": "2026-09-15", "last": "2026-10-15"},
        "an author, seven years": {**author, "first": "2018-02-11", "last": "2025-05-20"},
        "title contains": {"title": "le hoi xuan"},
        "title or key contains, a year": {"text": "nghi quyet", "first": "2025-11-25", "last": "2026-11-24"},
        "by title": {"sort": "title", "min_views": 0},
        "by publication": {"sort": "published", "min_views": 0},
    }
    for what, fields in asked.items():
        fresh = made_of(client, index, lambda: now)
        page: Any = await timed(f"top 50: {what}", lambda fresh=fresh, f=fields: fresh.page(SITE, Query(limit=50, **f)))
        if page.cursor:
            await timed("    next page", lambda fresh=fresh, f=fields, c=page.cursor: fresh.page(
                SITE, Query(limit=50, cursor=c, **f)))  # fmt: skip
    fresh = made_of(client, index, lambda: now)
    await timed("top 50 for everybody, all time", lambda: fresh.top(SITE, "all", 50))
    await timed("top 50 for everybody, a month", lambda: fresh.top(SITE, "month", 50))
    fresh = made_of(client, index, lambda: now)

    async def export() -> None:
        rows = 0
        async for piece in fresh.pieces(SITE, Query(limit=100_000, first="2026-01-01", last="2026-11-24")):
            rows += len(piece.rows)
        assert rows == min(100_000, rows)

    await timed("export of 100,000 rows of a year", export)
    table.add_row("memory, MiB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f}", "")
    for each in sorted(await client.slowlog_get(100), key=lambda each: each["duration"])[-3:]:
        table.add_row(f"longest commands of the store: {each['command'][:40]!r}", f"{each['duration'] / 1000:.1f}", "")
    index.close()
    await client.aclose()


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lists", description=__doc__)
    parser.add_argument("--articles", type=int, default=1_000_000)
    parser.add_argument("--dir", type=Path, help="where the data live during the run (default: the temp folder)")
    parser.add_argument("--keep", type=Path, help="a folder whose store is filled once and used again")
    options = parser.parse_args()
    table = Table("", "ms", "CPU ms")
    with tempfile.TemporaryDirectory(prefix="visitstats-bench-", dir=options.dir) as name:
        store, folder = options.keep or Path(name) / "store", Path(name) / "data"
        store.mkdir(exist_ok=True)
        folder.mkdir()
        with EmbeddedStore.start(store) as running:
            asyncio.run(measure(running.url, folder, options.articles, table))
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    Console(width=None if sys.stdout.isatty() else 100).print(f"{os.cpu_count()} cores, load {load}", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
