"""A site's articles with arithmetic of their own: what is written into the store, and what every list must say of it.

Nothing in here is the service's: a list is found by looking at every article.
"""

from __future__ import annotations

import random
import unicodedata
from datetime import date, timedelta
from typing import Any

import msgspec
from redis.asyncio import Redis

from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.core.query import Query
from visitstats.core.sites import Site
from visitstats.core.tiles import BLOCK, Packed, cell, days_in, encode, encode_packed
from visitstats.store import keys

SITE = Site(id="t", hosts=("portal.vn",))
TODAY = "2026-11-25"
WORDS = "Hội nghị sơ kết Đền Thượng kế hoạch lễ hội xuân Ất Tỵ công tác phòng chống thiên tai UBND huyện Bắc Hà".split()
AUTHORS = ["Lê Hiếu", "Lê Hiệu", "Đặng Văn Ất", "Phòng VH-TT", ""]
CATEGORIES = ["Tin tức", "Văn hóa", "Kinh tế", ""]
TYPES = ["Tin", "Bài", ""]


class Article:
    """What is known of one, and its views by date."""

    def __init__(self, number: int, entry: Entry) -> None:
        self.number = number
        self.entry = entry
        self.baseline = 0
        self.days: dict[str, int] = {}
        self.into: Article | None = None

    @property
    def end(self) -> Article:
        return self if self.into is None else self.into.end


class Shelf:
    """The articles of SITE. What changes them writes the store as the ledger's scripts do."""

    def __init__(self, raw: Redis, seed: int) -> None:
        self.raw: Any = raw
        self.random = random.Random(seed)
        self.articles: list[Article] = []
        self.touches = 0
        self.changes = 0

    def path(self, n: int) -> str:
        return self.articles[n].entry.key

    def entry(self, key: str) -> Entry:
        return next(each.entry for each in self.articles if each.entry.key == key)

    async def add(self, **fields: Any) -> Article:
        """Have the site know one more article."""
        async with self.raw.pipeline() as pipe:
            article = self._add(pipe, fields)
            await pipe.execute()
        return article

    async def add_many(self, many: int) -> None:
        """Have it know many more."""
        async with self.raw.pipeline() as pipe:
            for _ in range(many):
                self._add(pipe, {})
            await pipe.execute()

    def _add(self, pipe: Any, fields: dict[str, Any]) -> Article:
        number, draw = len(self.articles), self.random
        made = date(2026, 1, 1) + timedelta(days=draw.randrange(330))
        entry = Entry(
            fields.pop("key", f"/{draw.choice(['tin-tuc', 'van-hoa', 'Tin_100%'])}/bai-{number}.html"),
            " ".join(draw.choices(WORDS, k=draw.randint(1, 6))),
            "",
            draw.choice(AUTHORS),
            draw.choice(CATEGORIES),
            draw.choice([made.isoformat(), f"{made}T23:30:00+07:00", f"{made}T20:00:00Z", "", "hôm qua"]),
            type=draw.choice(TYPES),
        )
        entry = msgspec.structs.replace(entry, **fields)
        article = Article(number, entry)
        self.articles.append(article)
        id = article_id(entry.key)
        pipe.append(keys.ids(SITE.id), id)
        pipe.hset(keys.names(SITE.id), id, encode_entry(entry))
        pipe.hset(keys.articles(SITE.id), id, 0)
        return article

    async def read(self, article: Article, day: str, n: int) -> None:
        """Count views of an article on a date."""
        await self.read_many([(article, day, n)])

    async def read_many(self, several: list[tuple[Article, str, int]]) -> None:
        """Count many."""
        async with self.raw.pipeline() as pipe:
            for article, day, n in several:
                article = article.end
                article.days[day] = article.days.get(day, 0) + n
                id = article_id(article.entry.key)
                for name, field in (
                    (keys.articles(SITE.id), id),
                    (keys.articles_of_day(SITE.id, day), id),
                    (keys.counts(SITE.id), f"views:{day[:4]}"),
                    (keys.counts(SITE.id), "views:all"),
                    (keys.days(SITE.id, day[:7]), f"views:{day[8:]}"),
                    (keys.days(SITE.id, day[:7]), "views"),
                ):
                    pipe.hincrby(name, field, n)
            await pipe.execute()

    async def pack(self, month: str) -> None:
        """Pack the views of a month into tiles, as often as one likes: what came since is in them then."""
        blocks: dict[int, dict[int, int]] = {}
        days = [0] * days_in(month)
        for article in self.articles:
            for day, n in article.days.items():
                if day.startswith(month):
                    place = cell(article.number % BLOCK, int(day[8:]))
                    blocks.setdefault(article.number // BLOCK, {})[place] = n
                    days[int(day[8:]) - 1] += n
        tiles = {str(block): encode(cells) for block, cells in blocks.items()}
        if not tiles:
            return
        nonce = f"{self.random.random()}"
        record = Packed(0, nonce, len(tiles), 0, sum(map(len, blocks.values())), sum(days), tuple(days), 0)
        async with self.raw.pipeline() as pipe:
            pipe.delete(keys.tiles(SITE.id, month))
            pipe.hset(keys.tiles(SITE.id, month), mapping=tiles)
            pipe.hset(keys.packed(SITE.id), month, encode_packed(record))
            for number in range(1, len(days) + 1):
                pipe.delete(keys.articles_of_day(SITE.id, f"{month}-{number:02}"))
            await pipe.execute()

    async def unpack(self, month: str) -> None:
        """Have the store as it was before a month was packed."""
        async with self.raw.pipeline() as pipe:
            pipe.delete(keys.tiles(SITE.id, month))
            pipe.hdel(keys.packed(SITE.id), month)
            for article in self.articles:
                for day, n in article.days.items():
                    if day.startswith(month):
                        pipe.hset(keys.articles_of_day(SITE.id, day), article_id(article.entry.key), n)
            await pipe.execute()

    async def edit(self, article: Article, **fields: Any) -> None:
        """Change what is known of an article."""
        article.entry = msgspec.structs.replace(article.entry, **fields)
        await self.raw.hset(keys.names(SITE.id), article_id(article.entry.key), encode_entry(article.entry))
        await self.touch(article)

    async def set_baseline(self, article: Article, n: int) -> None:
        """Give an article views from before."""
        article = article.end
        await self.raw.hincrby(keys.articles(SITE.id), article_id(article.entry.key), n - article.baseline)
        article.baseline = n
        await self.touch(article)

    async def merge(self, source: Article, target: Article) -> bool:
        """Merge an article into another; False when that cannot be."""
        if source.into or target.into or source is target:
            return False
        one, other = article_id(source.entry.key), article_id(target.entry.key)
        views = int(await self.raw.hget(keys.articles(SITE.id), one))
        await self.raw.hincrby(keys.articles(SITE.id), other, views)
        await self.raw.hdel(keys.articles(SITE.id), one)
        await self.raw.hset(keys.aliases(SITE.id), one, other + target.entry.key.encode())
        await self._changed()
        source.into = target
        await self.touch(source)
        await self.touch(target)
        return True

    async def undo(self, source: Article) -> None:
        """Give a merged article back what it had."""
        target, source.into = source.into, None
        assert target is not None
        back = sum(source.days.values()) + source.baseline
        back += sum(
            sum(each.days.values()) + each.baseline for each in self.articles if each.into and each.end is source
        )
        one, other = article_id(source.entry.key), article_id(target.entry.key)
        await self.raw.hincrby(keys.articles(SITE.id), other, -back)
        await self.raw.hset(keys.articles(SITE.id), one, back)
        await self.raw.hdel(keys.aliases(SITE.id), one)
        await self._changed()
        await self.touch(source)
        await self.touch(target)

    async def touch(self, article: Article) -> None:
        """Note that something about an article has changed."""
        place = 8 * (self.touches % keys.MOST_TOUCHED)
        await self.raw.setrange(keys.touched(SITE.id), place, article_id(article.entry.key))
        self.touches += 1
        await self.raw.hset(keys.counts(SITE.id), "touched", self.touches)

    async def _changed(self) -> None:
        self.changes += 1
        await self.raw.hset(keys.changes(SITE.id), f"{self.changes:08x}", "")

    # What lists must say ----------------------------------------------------------------------------------------------

    def views(self, article: Article, first: str = "", last: str = "9999") -> int:
        """Count the views of an article, and of what was merged into it, on the days from one to another."""
        return sum(
            n for each in self.articles if each.end is article for day, n in each.days.items() if first <= day <= last
        )

    def total(self, article: Article) -> int:
        """Count its views of all time."""
        return self.views(article) + sum(each.baseline for each in self.articles if each.end is article)

    def expected(self, query: Query, first: str, last: str) -> list[tuple[str, int, int]]:
        """Return key, views in the range, and views of all time of what a query selects, in its order."""
        found = []
        for article in self.articles:
            if article.into or not self._fits(article, query):
                continue
            total = self.total(article)
            views = self.views(article, first, last) if first else total
            least = query.min_views if query.min_views is not None else 0 if query.keys else 1
            if views >= least:
                found.append((article, views, total))
        by: Any = {
            "views": lambda row: row[1],
            "total": lambda row: row[2],
            "title": lambda row: plain(row[0].entry.title).encode(),
            "published": lambda row: _published(row[0].entry) or "",
        }.get(query.sort, lambda row: row[1])
        ascends = query.sort in ("title", "author", "category")
        descends = query.direction == "desc" or (query.direction == "" and not ascends)
        found.sort(key=lambda row: (by(row), row[0].number), reverse=descends)
        if query.sort in ("author", "category"):
            found = self._in_groups(found, query)
        return [(article.entry.key, views, total) for article, views, total in found]

    def _in_groups(self, rows: list[tuple[Article, int, int]], query: Query) -> list[tuple[Article, int, int]]:
        """Put articles group by group: names as they are searched, in each the most read first."""

        def name(article: Article) -> str:
            return str(getattr(article.entry, query.sort))

        names = sorted({name(article) for article, _, _ in rows} - {""}, key=lambda text: (plain(text).encode(), text))
        if query.direction == "desc":
            names.reverse()
        rows = sorted(rows, key=lambda row: (-row[1], -row[0].number))
        return [row for each in [*names, ""] for row in rows if name(row[0]) == each]

    def _fits(self, article: Article, query: Query) -> bool:
        entry = article.entry
        authors = {each.entry.author for each in self.articles}
        wanted = {query.author} if query.author in authors else {a for a in authors if plain(a) == plain(query.author)}
        published = _published(entry)
        return all(
            (
                not entry.hidden or query.hidden,
                not query.author or entry.author in wanted,
                not query.category or entry.category == query.category,
                not query.type or entry.type == query.type,
                plain(query.title) in plain(entry.title),
                query.key_contains.lower() in entry.key.lower(),
                plain(query.text) in plain(entry.title) or query.text.lower() in entry.key.lower(),
                entry.key.startswith(query.prefix),
                not query.published_first or (published is not None and published >= query.published_first),
                not query.published_last or (published is not None and published[:10] <= query.published_last),
                not query.keys or any(self._named(key) is article for key in query.keys),
            )
        )

    def _named(self, key: str) -> Article | None:
        return next((each.end for each in self.articles if each.entry.key == key), None)

    def some_query(self) -> dict[str, Any]:
        """Draw conditions that some articles fulfil."""
        draw = self.random
        choices: dict[str, Any] = {
            "author": lambda: draw.choice([*AUTHORS, "le hieu", "nobody"]),
            "category": lambda: draw.choice(CATEGORIES),
            "type": lambda: draw.choice(TYPES),
            "title": lambda: draw.choice([*WORDS, "hoi", "HỘI NGHỊ", "den thuong", "%"]),
            "key_contains": lambda: draw.choice(["bai-1", "TIN", "_1", "%", "van-hoa", "\\"]),
            "text": lambda: draw.choice(["hoi", "bai-2", "Ất"]),
            "prefix": lambda: draw.choice(["/tin-tuc/", "/Tin_", "/tin_", "/"]),
            "min_views": lambda: draw.choice([0, 1, 3, 10]),
            "hidden": lambda: True,
            "published_first": lambda: f"2026-0{draw.randint(1, 6)}-10",
            "published_last": lambda: f"2026-{draw.randint(7, 12):02}-20",
            "keys": lambda: (*(self.path(draw.randrange(len(self.articles))) for _ in range(5)), "/nowhere"),
        }
        found = {name: choices[name]() for name in draw.sample(list(choices), k=draw.choice([0, 0, 1, 1, 2, 3]))}
        found["sort"] = draw.choice(["views", "views", "total", "title", "published", "author", "category"])
        found["direction"] = draw.choice(["", "", "asc", "desc"])
        kind = draw.randrange(5)
        if kind == 0:
            found["period"] = draw.choice(["day", "week", "last-week", "month", "last-month", "2026-10", "2026", "all"])
        elif kind < 4:
            days = sorted(draw.randrange(694) for _ in range(2))
            found["first"], found["last"] = ((date(2025, 1, 1) + timedelta(days=n)).isoformat() for n in days)
        return found


def plain(text: str) -> str:
    """Return a text without case and marks."""
    apart = unicodedata.normalize("NFD", text.lower())
    return "".join("d" if letter == "đ" else letter for letter in apart if unicodedata.category(letter) != "Mn")


def published_day(entry: Entry) -> str:
    """Return the date of publication on the site's clocks; empty without one."""
    return (_published(entry) or "")[:10]


def _published(entry: Entry) -> str | None:
    """Return the moment of publication on the site's clocks (UTC+7), as a text that sorts."""
    text = entry.published
    if text in ("", "hôm qua"):
        return None
    if text.endswith("Z"):  # 20:00 in Greenwich is three in the morning of the next day
        return (date.fromisoformat(text[:10]) + timedelta(days=1)).isoformat() + "T03:00:00"
    return text[:19] if "T" in text else text + "T00:00:00"
