"""The demo's past: a hundred days of made-up readers, so that its pages for editors open with something to see.

Their hits are committed as a worker commits hits, day by day, with a writer id that no worker has: the scripts count
days, hours, articles and records, and nothing is set by hand. They do not read the seed's article, which goes on from
the views that it had on its own portal.
"""

import random
import secrets
from collections.abc import Callable, Iterator
from datetime import date, timedelta

from visitstats.core.batch import Gathering, Said
from visitstats.core.counting import HOUR_MS, QUARTER_MS
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar, Day
from visitstats.core.sites import Site
from visitstats.demo.articles import Article, load_articles
from visitstats.demo.crowd import Visitor, draw_visitor
from visitstats.store.commit import Committed, Committer, Numbering, Work

DAYS = 100
VISITORS = 70
"""How many visitors come on an ordinary working day."""
MOST = 255
"""The most hits of a batch."""
BY_HOUR = (2, 1, 1, 1, 1, 3, 6, 12, 22, 26, 27, 22, 12, 14, 18, 18, 16, 11, 7, 7, 7, 6, 5, 3)
"""The share of a day's visitors in each hour: offices read in the morning and in the afternoon."""
SPIDERS = 0.7
"""Which of the programs are search engines."""


async def live_through(
    url: str, site: Site, now_ms: int, key_of: Callable[[str], str], rng: random.Random
) -> list[int]:
    """Commit the past of a site up to a moment, and return a moment of each of its quarter hours. `key_of` returns the
    key of an address of the site. Raises StoreUnavailable."""
    calendar = Calendar(site.timezone, site.week_start)
    articles = tuple(each for each in load_articles() if each.path)
    entries = {each.path: _entry(each, key_of(f"http://{site.hosts[0]}/demo/{each.path}")) for each in articles}
    committer, writer = Committer(url), secrets.token_hex(16)
    today = date.fromisoformat(calendar.day_at(now_ms).date)
    numbering = Numbering(calendar.day_at(now_ms), now_ms)
    sequence = total = 0
    moments: list[int] = []
    try:
        for back in range(DAYS, -1, -1):
            day = calendar.day_named((today - timedelta(days=back)).isoformat())
            moments += range(day.start_ms, min(day.end_ms, now_ms + 1), QUARTER_MS)
            works = []
            for waiting in _batches(rng, site, day, now_ms, back, articles, entries):
                batch = waiting.close(sequence, total, day.start_ms)
                sequence, total = sequence + 1, batch.total
                works.append(Work(writer, sequence, batch.previous, batch, numbering))
            for result in await committer.commit(works):
                if not isinstance(result, Committed):
                    raise StoreUnavailable(f"the demo's past was not taken: {result}")
    finally:
        await committer.close()
    return moments


def _batches(
    rng: random.Random, site: Site, day: Day, now_ms: int, back: int, articles: tuple[Article, ...],
    entries: dict[str, tuple[bytes, bytes]],
) -> Iterator[Gathering]:  # fmt: skip
    """The hits of a day in the order of their moments."""
    weekday = date.fromisoformat(day.date).weekday()
    many = round(VISITORS * (0.45 if weekday >= 5 else 1) * rng.uniform(0.8, 1.25) * (1 + (DAYS - back) / 300))
    hits: list[tuple[int, bytes, str]] = []
    ignored: dict[str, int] = {}
    for _ in range(many):
        visitor = draw_visitor(rng, articles)
        hour = rng.choices(range(24), BY_HOUR)[0]
        moment = day.start_ms + hour * HOUR_MS + rng.randrange(HOUR_MS)
        if visitor.is_bot and moment <= now_ms:
            ignored["bot"] = ignored.get("bot", 0) + len(visitor.readings)
            if rng.random() < SPIDERS:
                ignored["search-engine"] = ignored.get("search-engine", 0) + len(visitor.readings)
        elif not visitor.is_bot:
            hits += _read(rng, visitor, moment)
    waiting = Gathering(site, day)
    waiting.ignored = ignored
    hour = 0
    for moment, token, path in sorted(hits):
        if moment >= min(day.end_ms, now_ms):
            break
        # The script counts a batch for one hour: that of its first hit.
        if len(waiting) >= MOST or (len(waiting) and (moment - day.start_ms) // HOUR_MS != hour):
            yield waiting
            waiting = Gathering(site, day)
        hour = (moment - day.start_ms) // HOUR_MS
        article, entry = entries[path]
        waiting.add(moment, token, token, b"", b"", article, entry, said=Said.TRUSTED)
    if len(waiting) or waiting.ignored:
        yield waiting


def _read(rng: random.Random, visitor: Visitor, moment: int) -> Iterator[tuple[int, bytes, str]]:
    token = rng.randbytes(8)
    for reading in visitor.readings:
        yield moment, token, reading.article.path
        moment += round(reading.seconds * 1000)


def _entry(article: Article, key: str) -> tuple[bytes, bytes]:
    published = article.published.isoformat()
    said = Entry(key, article.title, "", article.author, article.topic.name, published)
    return article_id(key), encode_entry(said)
