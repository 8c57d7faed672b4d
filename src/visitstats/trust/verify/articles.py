"""Do the counts of a site's articles agree with each other, and with the site's?

the articles of a day together, packed and not, = the site's views of that day, without what was corrected of it alone
all articles = the site's views of all time + its baseline, in the same way; all baselines = the site's
each article, with what was merged into it = its days + its baseline + its corrections of no day
each article has its baseline at least, with its corrections
every article has a name; every name and every baseline has an article

A site may have a million articles, and each of them many days. So they are not loaded: the articles are divided into
CHECKSUMS parts, and for each part one number is kept. Every count that is read adds the article's id times the count to
it, with the sign that it has in the equation. Ids are hashes, so that a part whose number is zero in the end is right;
only articles of the other parts are looked at one by one.
"""

from collections import Counter
from collections.abc import Iterator

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.periods import ALL_TIME
from visitstats.store import keys
from visitstats.store.inspect import Inspector, Share, number
from visitstats.store.keys import Named
from visitstats.trust.verify.contents import ID_BYTES, entry_trouble, shown, valid_date, valid_number, valid_sum
from visitstats.trust.verify.findings import Look
from visitstats.trust.verify.merged import Merged
from visitstats.trust.verify.packed import PackedHistory

CHECKSUMS = 1 << 16
MOST_SUSPECTS = 20_000
"""How many articles are looked at one by one at most: more examples of the same problem would not help."""


class Articles:
    """The check of one site. `found` are its keys that passed their own check, `broken` the names of the others.
    `merged` has been read before, `packed` has been checked before."""

    def __init__(
        self,
        store: Inspector,
        site: str,
        found: dict[str, Named],
        broken: set[str],
        merged: Merged,
        packed: PackedHistory,
        look: Look,
    ) -> None:
        self._store = store
        self._site = site
        self._days = sorted(name for name, named in found.items() if named.kind.word == "articles of a day")
        self._months = sorted(named.words[0] for named in found.values() if named.kind.word == "days")
        self._broken = broken
        self._views_broken = keys.counts(site) in broken or any(":days:" in name for name in broken)
        self._ends = merged.ends
        self._merged = merged
        self._alone: Counter[str] = Counter()
        self._packed = packed
        self._look = look
        self._sums: list[int] = []
        self.known = 0
        """How many articles the site has."""
        self.of_aliases: Counter[bytes] | None = None
        """The views that aliases had on their own days; None when that is not known."""

    async def check(self) -> None:
        """Check everything. Raises StoreUnavailable."""
        if self._broken & {keys.articles(self._site), keys.base(self._site), keys.names(self._site)}:
            return
        self._sums = [0] * CHECKSUMS
        of_aliases: Counter[bytes] = Counter()
        if not any(":layer:" in name for name in self._broken):
            layer = await self._store.beside(self._site, self._months)
            for kind, sign in (("views", 1), ("articles", -1)):
                for when, n in layer[kind].items():
                    self._alone[when] += sign * n
        for article, n in self._merged.undated.items():
            self._add(article, -n)
        low = await self._site_views()
        views, bases = await self._all_time()
        for name in self._days:
            await self._day(name, of_aliases)
        for article, n in self._packed.articles():
            self._add(article, -n)
            if article in self._ends:
                of_aliases[article] += n
        high = await self._site_views()
        if low is not None and high is not None:
            dates = {field for field in low if valid_date(field)} & high.keys()
            for date in sorted(dates | self._packed.days.keys()):
                name, packed = keys.articles_of_day(self._site, date), self._packed.days.get(date, 0)
                least, most = low.get(date, 0), high.get(date, 0)
                if name not in {*self._days, *self._broken} and not least <= packed <= most:
                    self._unequal(name, date, packed, most)
            counted = [each.get(ALL_TIME, 0) + each.get(NUMBERS_BASELINE, 0) for each in (low, high)]
            if not counted[0] <= views <= counted[1]:
                self._wrong(
                    "articles", keys.articles(self._site),
                    f"all articles together have {views} views, the site has {counted[1]} with its baseline", "all",
                )  # fmt: skip
            before, after = (each.get(NUMBERS_BASELINE, 0) for each in (low, high))
            if not min(before, after) <= bases <= max(before, after):
                self._wrong(
                    "baseline", keys.base(self._site),
                    f"the baselines of all articles are {bases} views, the site's is {after}", "all",
                )  # fmt: skip
        # If one of the days is missing, the views of an article cannot be summed up.
        if self._packed.legible and self._merged.whole and not any(":articles:" in name for name in self._broken):
            self.of_aliases = of_aliases
            await self._one_by_one()

    def _wrong(self, check: str, subject: str, detail: str, unmoved: object = "") -> None:
        self._look.wrong(self._site, check, subject, detail, unmoved)

    async def _site_views(self) -> dict[str, int] | None:
        if self._views_broken:
            return None
        found = await self._store.dated(self._site, self._months)
        return {when: number(value) - self._alone[when] for when, value in found["views"].items()}

    # All of them -----------------------------------------------------------------------------------------------------

    async def _all_time(self) -> tuple[int, int]:
        """Read all articles with their baselines and names. Return the sums of both."""
        name, base, names = keys.articles(self._site), keys.base(self._site), keys.names(self._site)
        views = bases = with_base = with_name = 0
        async for page in self._store.fields(name):
            ids = list(page)
            found_bases, entries, amounts = await self._store.values([base, names, keys.amounts(self._site)], ids)
            for article, n in self._counts(name, page):
                views += n
                self._add(article, n)
            for article, of_base, entry, by_hand in zip(ids, found_bases, entries, amounts, strict=True):
                if of_base is not None:
                    with_base += 1
                    n = number(of_base)
                    bases += n
                    self._add(article, -n)
                    if n > number(page[article]) - number(by_hand):
                        self._wrong(
                            "baseline", name,
                            f"article {article.hex()} has {shown(page[article])} views, with a baseline of {n}",
                            article.hex(),
                        )  # fmt: skip
                    if not valid_number(of_base):
                        self._no_count(base, article, of_base)
                trouble = f"article {article.hex()} has no name" if entry is None else entry_trouble(article, entry)
                if trouble:
                    self._wrong("dictionary", names, trouble, article.hex())
                with_name += entry is not None
            self.known += len(page)
        if await self._store.size(base) != with_base:
            bases += await self._unregistered(base)
        if await self._store.size(names) != with_name:
            await self._unregistered(names)
        return views, bases

    async def _unregistered(self, name: str) -> int:
        """Report the articles of a hash that are not in the register, and return the sum of their numbers. An alias
        keeps its name, so it is not reported."""
        total = 0
        is_base = name == keys.base(self._site)
        async for page in self._store.fields(name):
            ids = list(page)
            [views] = await self._store.values([keys.articles(self._site)], ids)
            for article, there in zip(ids, views, strict=True):
                if there is None and (is_base or article not in self._ends):
                    self._wrong("register", name, f"there is no article {article.hex()}", article.hex())
                    total += number(page[article]) if is_base else 0
        return total

    async def _day(self, name: str, of_aliases: Counter[bytes]) -> None:
        date = name.rpartition(":")[2]
        low = await self._store.count(self._site, "views", date) - self._alone[date]
        total = self._packed.days.get(date, 0)
        async for page in self._store.fields(name):
            for article, n in self._counts(name, page):
                total += n
                self._add(article, -n)
                if article in self._ends:
                    of_aliases[article] += n
        high = await self._store.count(self._site, "views", date) - self._alone[date]
        if not self._views_broken and not low <= total <= high:
            self._unequal(name, date, total, high)

    def _unequal(self, name: str, date: str, articles: int, site: int) -> None:
        self._wrong("day", name, f"its articles together have {articles} views, {date} has {site}")

    def _counts(self, name: str, page: dict[bytes, bytes]) -> Iterator[tuple[bytes, int]]:
        """Yield articles (ids) with their counts, and report values that are no counts. A day's hash beside a packed
        month may have counts below zero."""
        is_count = valid_sum if name.rpartition(":")[2] in self._packed.days else valid_number
        for article, value in page.items():
            if len(article) == ID_BYTES and is_count(value):
                yield article, int(value)
            else:
                self._no_count(name, article, value)

    def _no_count(self, name: str, article: bytes, value: bytes) -> None:
        self._wrong(
            "value", name, f"article {article[:40].hex()} is {shown(value)}: no count of an article", article.hex()
        )

    # Each of them ----------------------------------------------------------------------------------------------------

    def _add(self, article: bytes, n: int) -> None:
        end = self._ends.get(article, article)
        self._sums[_part(end)] += n * int.from_bytes(end, "big")

    async def _one_by_one(self) -> None:
        """Look at the articles of parts that do not add up, each at one moment."""
        parts = {part for part, off in enumerate(self._sums) if off}
        if not parts:
            return
        shares: dict[bytes, Share] = {}
        for name in (keys.articles(self._site), keys.base(self._site), *self._days):
            async for page in self._store.fields(name):
                for article, value in page.items():
                    end = self._ends.get(article, article)
                    if _part(end) in parts:
                        _add_to(shares.setdefault(end, Share()), name, number(value))
        packed: Counter[bytes] = Counter()
        for article, n in [*self._packed.articles(), *self._merged.undated.items()]:
            end = self._ends.get(article, article)
            if _part(end) in parts:
                shares.setdefault(end, Share()).days += n
                packed[end] += n
        suspects = [article for article, share in shares.items() if not share.right][:MOST_SUSPECTS]
        groups = {article: [article] for article in suspects}
        for alias, end in self._ends.items():
            if end in groups:
                groups[end].append(alias)
        # Hits may have come in between, so each article is read again, all of it at one moment.
        for article, share in (await self._store.shares(self._site, groups, self._days)).items():
            share.days += packed[article]
            if not share.right:
                self._wrong(
                    "article", keys.articles(self._site),
                    f"article {article.hex()} has {share.views} views with a baseline of {share.base}; "
                    f"its days have {share.days}",
                    article.hex(),
                )  # fmt: skip


def _part(article: bytes) -> int:
    return int.from_bytes(article[:2], "big")


def _add_to(share: Share, name: str, n: int) -> None:
    if name.endswith(":articles"):
        share.views += n
    elif name.endswith(":base"):
        share.base += n
    else:
        share.days += n
