"""`python -m benchmarks.micro`: µs of CPU per hit of each step on a hit's way, on batches of 60 hits.

For finding out where a hit's time goes; `python -m benchmarks` says what a hit costs. The steps are the project's own
functions, fed with the beacons of load.lua's kind; the store's column is the CPU of a real embedded store.
"""

import gc
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import on_core
from benchmarks.machine import ProcessTree, process_tree
from visitstats.core import batch, counting, entries, keys
from visitstats.core.periods import Calendar, Day
from visitstats.core.sites import Site
from visitstats.embedded.process import EmbeddedStore
from visitstats.journal import Journal
from visitstats.store.commit import Committed, Committer, Numbering, Work
from visitstats.system.patterns import linear_pattern

BATCH = 60
BATCHES = 1000
ROUNDS = 5
VISITORS = 20_000
ARTICLES = 2_000
SITE = Site(id="bench", hosts=("bench.example",), timezone="UTC")
KEY_RULES = keys.KeyRules(SITE, linear_pattern)
SALT = bytes(range(32))
AGENT = (
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
URLS = [f"https://bench.example/vi/news/tin-tuc-su-kien/tin-so-{n}.html" for n in range(ARTICLES)]


class Hits:
    """A stream of hits, the same in every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._weights = [1 / (n + 1) for n in range(ARTICLES)]
        self._count = 0

    def take(self, count: int) -> list[tuple[int, int, str]]:
        """(visitor, article, hit id)."""
        articles = self._random.choices(range(ARTICLES), self._weights, k=count)
        found = []
        for article in articles:
            self._count += 1
            found.append((self._random.randrange(VISITORS), article, f"{self._count:032x}"))
        return found


def gathered(hits: list[tuple[int, int, str]], day: Day, now_ms: int) -> batch.Gathering:
    """What the ingest has when a batch is closed, without the steps that are timed apart."""
    gathering = batch.Gathering(SITE, day)
    for visitor, article, hit_id in hits:
        name = visitor.to_bytes(8, "big")
        token = blake2b(name, digest_size=8).digest()
        unique = blake2b(name, digest_size=8, person=b"unique").digest()
        key = keys.article_id(f"/{article}")
        entry = entries.encode(entries.Entry(f"/{article}", "Sở Thông tin và Truyền thông sơ kết công tác"))
        gathering.add(now_ms, token, unique, b"", batch.hit_id_digest(hit_id), key, entry)
    return gathering


def timed(step: Callable[[int], object]) -> float:
    """Median µs of one call, over rounds of a thousand; the argument counts up."""
    times = []
    gc.collect()
    for _ in range(ROUNDS):
        begin = time.process_time()
        for n in range(1000):
            step(n)
        times.append((time.process_time() - begin) * 1000)
    return statistics.median(times)


def steps(day: Day, now_ms: int) -> dict[str, float]:
    """The pure steps; those on a whole batch are divided by its hits."""
    gathering = batch.Gathering(SITE, day)
    ids = [keys.article_id(url) for url in URLS]
    tokens = [n.to_bytes(8, "big") for n in range(1000)]
    hits = Hits(1).take(BATCH)
    closing = gathered(hits, day, now_ms)
    closed = closing.close(1, now_ms)
    return {
        "core.keys.KeyRules.key": timed(lambda n: KEY_RULES.key(URLS[n])),
        "core.keys.article_id": timed(lambda n: keys.article_id(URLS[n])),
        "core.keys.origin_allowed": timed(lambda n: keys.origin_allowed(SITE, "https://bench.example")),
        "core.counting.visitor_token, twice (visitor, unique)": 2
        * timed(lambda n: counting.visitor_token(SALT, "bench", "198.18.0.1", AGENT, "0123456789abcdef")),
        "core.batch.hit_id_digest": timed(lambda n: batch.hit_id_digest("0123456789abcdef0123456789abcdef")),
        "core.entries.encode": timed(lambda n: entries.encode(entries.Entry(URLS[n], "Sở Thông tin và Truyền thông"))),
        "core.batch.Gathering.add": timed(
            lambda n: gathering.add(now_ms, tokens[n], tokens[n], b"", tokens[n], ids[n], b"")
        ),
        "core.batch.Gathering.close ÷ hits": timed(lambda n: closing.close(1, now_ms)) / BATCH,
        "core.batch.encode ÷ hits": timed(lambda n: batch.encode(closed)) / BATCH,
    }


async def committed(folder: Path, day: Day, now_ms: int) -> dict[str, tuple[float, float]]:
    """Journal and commit: (app µs, store µs) per hit."""
    hits = Hits(2)
    closed = [gathered(hits.take(BATCH), day, now_ms).close(number, now_ms) for number in range(BATCHES)]
    payloads = [batch.encode(one) for one in closed]
    found: dict[str, tuple[float, float]] = {}
    with EmbeddedStore.start(folder) as store:
        journal = Journal.open(folder / "journal", max_bytes=1 << 30, keep_seconds=3600)
        begin = process_tree(os.getpid())
        for payload in payloads:
            journal.append([payload])
        found["journal.append with fdatasync ÷ hits"] = _per_hit(begin, process_tree(os.getpid()))
        journal.close()
        committer = Committer(store.url, "0" * 32)
        begin = process_tree(os.getpid())
        for number, one in enumerate(closed, start=1):
            (result,) = await committer.commit([Work(number, number - 1, one, Numbering(day, now_ms))])
            assert isinstance(result, Committed), result
        found["store.commit.Committer.commit ÷ hits"] = _per_hit(begin, process_tree(os.getpid()))
        await committer.close()
    return found


def _per_hit(before: ProcessTree, after: ProcessTree) -> tuple[float, float]:
    hits = BATCHES * BATCH
    app, store = after.app_seconds - before.app_seconds, after.store_seconds - before.store_seconds
    return app / hits * 1e6, store / hits * 1e6


def main() -> int:
    on_core(min(os.sched_getaffinity(0)))()
    now_ms = time.time_ns() // 1_000_000
    day = Calendar("UTC").day_at(now_ms)
    table = Table(title=f"CPU µs per hit, batches of {BATCH}", title_justify="left")
    table.add_column("step")
    table.add_column("app", justify="right")
    table.add_column("store", justify="right")
    for name, cost in steps(day, now_ms).items():
        table.add_row(name, f"{cost:.2f}", "")
    with tempfile.TemporaryDirectory(prefix="visitstats-bench-") as folder:
        for name, (app, store) in uvloop.run(committed(Path(folder), day, now_ms)).items():
            table.add_row(name, f"{app:.2f}", f"{store:.2f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
