"""Looking at the store's keys as they are, for `visitstats verify`. Reads only, in pieces of PAGE items, so that
no command holds the server for long, however large a site is."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.periods import ALL_TIME
from visitstats.store import keys
from visitstats.store.client import translated

PAGE = 250
"""Items of one command."""
AT_ONCE = 1000
"""A list of so many members at most is summed together with what it must agree with, in one transaction."""


class Found(NamedTuple):
    """A key as it is."""

    name: str
    type: str
    expires_at: int
    """Unix seconds; -1 for never."""


class Sum(NamedTuple):
    """A list's sum, and the count it must be equal to: before and after the list was read. While hits come in they
    differ, and the sum lies between them."""

    low: int
    total: float
    high: int

    @property
    def right(self) -> bool:
        """Whether they agree."""
        return self.low <= self.total <= self.high


class Article(NamedTuple):
    """What the articles ledger holds of one article."""

    id: bytes
    views: float
    """Its score in the list of all time."""
    base: bytes | None
    months: float
    """The sum of its scores in the lists of the months."""
    name: bytes | None


class Inspector:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def keys(self, site: str = "") -> AsyncIterator[list[Found]]:
        """Yield the keys of a site, or all of them, with types and ends of life. One may come twice."""
        cursor = 0
        while True:
            with translated():
                reply: Any = await self._client.scan(cursor, match=keys.of_site(site), count=PAGE)
                cursor, names = reply
                async with self._client.pipeline(transaction=False) as pipe:
                    for name in names:
                        pipe.type(name)
                        pipe.expiretime(name)
                    replies = await pipe.execute()
            found = [
                Found(name.decode("utf-8", "backslashreplace"), kind.decode(), expires)
                for name, kind, expires in zip(names, replies[::2], replies[1::2], strict=True)
            ]
            yield [each for each in found if each.type != "none"]
            if not cursor:
                return

    async def fields(self, name: str) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """Yield the fields of a hash. One may come twice."""
        cursor = 0
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.hscan(name, cursor, count=PAGE)
            yield list(page.items())
            if not cursor:
                return

    async def scores(self, name: str) -> AsyncIterator[list[tuple[bytes, float]]]:
        """Yield the members of a sorted set with their scores. One may come twice."""
        cursor = 0
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.zscan(name, cursor, count=PAGE)
            yield page
            if not cursor:
                return

    async def members(self, name: str) -> AsyncIterator[list[bytes]]:
        """Yield the members of a set. One may come twice."""
        cursor = 0
        while True:
            page: Any
            with translated():
                cursor, page = await self._client.sscan(name, cursor, count=PAGE)
            yield page
            if not cursor:
                return

    async def text(self, name: str, most: int) -> tuple[int, bytes]:
        """Return the length of a string, and its first `most` bytes."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.strlen(name)
                pipe.getrange(name, 0, most - 1)
                length, start = await pipe.execute()
        return length, start

    async def counts(self, name: str) -> dict[str, bytes]:
        """Return a hash of dated counts. All at once, so that its numbers belong together, unless it is far longer than
        such a hash gets in ten years."""
        with translated():
            if await self._client.hlen(name) <= 20 * PAGE:
                found: dict[Any, Any] = await self._client.hgetall(name)
            else:
                found = {field: value async for page in self.fields(name) for field, value in page}
        return {field.decode("utf-8", "backslashreplace"): value for field, value in found.items()}

    async def size(self, name: str, kind: str) -> int:
        """Return how many items a hash or sorted set has."""
        with translated():
            return int(await (self._client.hlen(name) if kind == "hash" else self._client.zcard(name)))

    async def sum_of(self, name: str, counter: str, fields: list[str]) -> Sum:
        """Sum a list's scores beside fields of a hash of counts in the same ledger."""
        with translated():
            if await self._client.zcard(name) <= AT_ONCE:
                async with self._client.pipeline(transaction=True) as pipe:
                    pipe.hmget(counter, fields)
                    pipe.zrange(name, 0, -1, withscores=True)
                    counted, members = await pipe.execute()
                return Sum(_total(counted), sum(score for _, score in members), _total(counted))
            before = await self._client.hmget(counter, fields)
            # What is seen twice while the server rearranges its table counts once. A hundred bytes a member.
            seen: dict[bytes, float] = {}
            async for page in self.scores(name):
                seen.update(page)
            after = await self._client.hmget(counter, fields)
        return Sum(_total(before), sum(seen.values()), _total(after))

    async def articles(self, site: str, months: list[str]) -> AsyncIterator[list[Article]]:
        """Yield every article of a site with what all its keys say of it. While hits come in the parts need not belong
        together; `article` reads one article at one moment."""
        async for page in self.scores(keys.top_all(site)):
            members: Any = [member for member, _ in page]
            if not members:
                continue
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    pipe.hmget(keys.base(site), members)
                    pipe.hmget(keys.names(site), members)
                    for month in months:
                        pipe.zmscore(keys.top_month(site, month), members)
                    bases, names, *scores = await pipe.execute()
            yield [
                Article(member, views, bases[n], sum(month[n] or 0 for month in scores), names[n])
                for n, (member, views) in enumerate(page)
            ]

    async def article(self, site: str, article: bytes, months: list[str]) -> Article:
        """Read one article at one moment."""
        member: Any = article
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.zscore(keys.top_all(site), member)
                pipe.hget(keys.base(site), member)
                pipe.hget(keys.names(site), member)
                for month in months:
                    pipe.zscore(keys.top_month(site, month), member)
                views, base, name, *scores = await pipe.execute()
        return Article(article, views or 0, base, sum(score or 0 for score in scores), name)

    async def unregistered(self, site: str, members: list[bytes]) -> list[bytes]:
        """Return those of these article ids that the list of all time does not have."""
        return [member for member, score in (await self.views_of(site, members)).items() if score is None]

    async def views_of(self, site: str, members: list[bytes]) -> dict[bytes, float | None]:
        """Return what these article ids have in the list of all time; None for one that is not in it."""
        found: dict[bytes, float | None] = {}
        for start in range(0, len(members), PAGE):
            piece: Any = members[start : start + PAGE]
            with translated():
                scores = await self._client.zmscore(keys.top_all(site), piece)
            found |= dict(zip(piece, scores, strict=True))
        return found

    async def watermarks(self, site: str, writer: str) -> tuple[int, int]:
        """Return a writer's watermarks in the two ledgers, audience first. In this order: the audience ledger is
        committed first, so that it is never seen behind the other."""
        with translated():
            articles = await self._hmget(keys.articles_watermark(site, writer), ["s"])
            audience = await self._hmget(keys.audience_watermark(site, writer), ["s"])
        return _total(audience), _total(articles)

    async def totals(self, site: str) -> tuple[int, int]:
        """Return the visits and the views of all time, each with its baseline."""
        names = [ALL_TIME, NUMBERS_BASELINE]
        with translated():
            replies = [await self._hmget(name, names) for name in (keys.visits(site), keys.views(site))]
        return _total(replies[0]), _total(replies[1])

    async def _hmget(self, name: str, fields: list[str]) -> list[Any]:
        try:
            return list(await self._client.hmget(name, fields))
        except ResponseError:
            return []  # of another type, which is reported


def _total(values: list[Any]) -> int:
    return sum(map(_number, values))


def _number(value: Any) -> int:
    """A stored count; 0 for none and for what is no number, which is reported elsewhere."""
    return int(value) if value and value.isdigit() else 0
