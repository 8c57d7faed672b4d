"""Ways to break a store or a journal, each with what `visitstats verify` must say about it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

from tests.store.town import SITE, Town
from tests.store.writing import DAY, MINUTE, NOON, token
from visitstats.core.counting import RING
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.keys import article_id
from visitstats.store import keys

A, B = article_id("/a"), article_id("/b")

Break = Callable[[Town], Awaitable[object]]


def flip(town: Town) -> None:
    """Flip a bit in the middle of the journal."""
    [segment] = town.slot.glob("*.log")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)


async def cut(town: Town) -> None:
    """Lose the end of the journal, as an old copy has."""
    [segment] = town.slot.glob("*.log")
    segment.write_bytes(segment.read_bytes()[: segment.stat().st_size // 2])


async def vanish(town: Town) -> None:
    """Write a batch that follows one that is nowhere."""
    town.newest["portal"] = (town.journal.last_sequence - 3, 20)
    await town.commit(town.journalled(SITE, DAY, (1, "An", "/a")))


async def not_committed(town: Town) -> None:
    town.journalled(SITE, DAY, (1, "An", "/a"))
    town.journalled(SITE, DAY, (2, "An", "/a"))


async def flipped(town: Town) -> None:
    flip(town)


async def refuse_nothing(town: Town) -> None:
    await town.raw.hset(keys.refusals(DAY.date), "[]", "1 2")
    await town.raw.expire(keys.refusals(DAY.date), 900)


async def hold(town: Town) -> None:
    """Records wait, and no process is there that would apply them."""
    await not_committed(town)
    town.journal.close()


async def forge(town: Town, article: bytes, n: int) -> None:
    await town.raw.hincrby(ARTICLES, article, n)


async def last_seen(town: Town, person: str, moment: int) -> None:
    """Forge a visitor's presence."""
    mine = token(SITE, DAY.date, person)
    stored = await town.raw.hget(SEEN, mine)
    assert stored is not None
    await town.raw.hset(SEEN, mine, moment.to_bytes(6, "big") + bytes(stored)[6:])  # type: ignore[arg-type]


async def another_total(town: Town) -> None:
    """The store says of the newest record that more hits were journalled with it."""
    await mark(town, f"{town.newest['portal'][0]}:{town.newest['portal'][1] + 1}")


async def mark(town: Town, text: str) -> None:
    await town.raw.hset(MARKS, town.journal.writer, text)


async def less_in_all(town: Town) -> None:
    """Write a record that says of fewer hits than the one before."""
    town.newest["portal"] = (town.newest["portal"][0], 3)
    await town.commit(town.journalled(SITE, DAY, (1, "An", "/a")))


MARKS, ONLINE, COUNTS, DAYS = (
    keys.marks("portal"),
    keys.online("portal"),
    keys.counts("portal"),
    keys.days("portal", DAY.month),
)
ARTICLES, TODAY, NAMES = keys.articles("portal"), keys.articles_of_day("portal", DAY.date), keys.names("portal")
BEFORE = keys.articles_of_day("portal", DAY.yesterday)
BASE, SEEN, SALT = keys.base("portal"), keys.seen("portal", DAY.date), keys.salt("portal", DAY.date, 0).name
VISITOR = b"visitor1"


def presence(moment: int, half_hour: int = 24, readings: bytes = b"") -> bytes:
    return moment.to_bytes(6, "big") + bytes([half_hour]) + readings


BREAKS: dict[str, tuple[Break, str, str]] = {
    "a day has one visit more": (
        lambda town: town.raw.hincrby(DAYS, "visits:24", 1), "days", "2036 has 13 visits, its days together 14"),
    "a month has gone from the visits": (
        lambda town: town.raw.hdel(DAYS, "visits"), "days", f"{DAY.month} has 0 visits, its days together 10"),
    "a year is too high": (
        lambda town: town.raw.hincrby(COUNTS, "views:2036", 5), "days", "2036 has 25 views, its days together 20"),
    "a day has gone from the views": (
        lambda town: town.raw.hdel(DAYS, "views:24"), "days", "has 14 views, its days together 13"),
    "all of time is too high": (
        lambda town: town.raw.hincrby(COUNTS, "views:all", 1), "articles", "725 views, the site has 726 with its"),
    "a count is no number": (
        lambda town: town.raw.hset(DAYS, "visits:24", "many"), "value", "visits:24 is many: a day of"),
    "a count is negative": (
        lambda town: town.raw.hset(DAYS, "visits:24", "-3"), "value", "visits:24 is -3: a day of"),
    "a field is no date": (
        lambda town: town.raw.hset(DAYS, "visits:32", "0"), "value", "visits:32 is 0: a day of"),
    "a day's articles have gone": (
        lambda town: town.raw.delete(TODAY), "day", f"its articles together have 0 views, {DAY.date} has 1"),
    "a day's articles are too many": (
        lambda town: town.raw.hincrby(TODAY, A, 1), "day", f"its articles together have 2 views, {DAY.date} has 1"),
    "a view of a day went from one article to another": (
        lambda town: asyncio.gather(town.raw.hincrby(BEFORE, A, 1), town.raw.hincrby(BEFORE, B, -1)),
        "article", B.hex()),
    "an article's total was forged": (
        lambda town: forge(town, A, 100), "article", "has 811 views with a baseline of 700; its days have 11"),
    "two articles were forged so that the sum is right": (
        lambda town: asyncio.gather(forge(town, A, 4), forge(town, B, -4)), "article", B.hex()),
    "a total is no whole number": (
        lambda town: town.raw.hset(ARTICLES, A, "1.5"), "value", "is 1.5: no count of an article"),
    "a count of a day is negative": (
        lambda town: town.raw.hset(TODAY, A, -1), "value", "is -1: no count of an article"),
    "a count is beyond what is exact": (
        lambda town: town.raw.hset(ARTICLES, A, 2**53), "value", "9007199254740992"),
    "a baseline was changed": (
        lambda town: town.raw.hset(BASE, A, 701), "baseline", "are 706 views, the site's is 705"),
    "a baseline is more than its article has": (
        lambda town: town.raw.hset(ARTICLES, A, 699), "baseline", "has 699 views, with a baseline of 700"),
    "a baseline is no number": (lambda town: town.raw.hset(BASE, A, "x"), "value", "is x: no count of an article"),
    "a baseline has no article": (
        lambda town: town.raw.hset(BASE, "12345678", 1), "register", "there is no article 3132"),
    "an article has no name": (lambda town: town.raw.hdel(NAMES, A), "dictionary", "has no name"),
    "a name has no article": (
        lambda town: town.raw.hset(NAMES, article_id("/c"), encode_entry(Entry("/c"))), "register",
        f"there is no article {article_id('/c').hex()}"),
    "a name is that of another article": (
        lambda town: town.raw.hset(NAMES, A, encode_entry(Entry("/c"))), "dictionary", "is that of another: /c"),
    "an alias is damaged": (
        lambda town: town.raw.hset(keys.aliases("portal"), A, B + b"/c"), "value", f"alias of {A.hex()} leads to no"),
    "a name is damaged": (lambda town: town.raw.hset(NAMES, A, b"\xc1"), "dictionary", "is damaged"),
    "an article has gone from the list": (
        lambda town: town.raw.hdel(ARTICLES, B), "article", f"article {B.hex()} has 0 views"),
    "a day has another type": (lambda town: town.raw.set(TODAY, "x"), "type", "it is a string, not a hash"),
    "the articles have another type": (lambda town: town.raw.set(ARTICLES, "x"), "type", "it is a string, not a hash"),
    "the counts have another type": (lambda town: town.raw.set(COUNTS, "x"), "type", "it is a string, not a hash"),
    "the days have another type": (lambda town: town.raw.set(DAYS, "x"), "type", "it is a string, not a hash"),
    "presences have another type": (lambda town: town.raw.set(SEEN, "x"), "type", "it is a string, not a hash"),
    "the watermarks have another type": (lambda town: town.raw.set(MARKS, "x"), "type", "it is a string, not a hash"),
    "the aliases have another type": (
        lambda town: town.raw.set(keys.aliases("portal"), "x"), "type", "it is a string, not a hash"),
    "the sites have another type": (lambda town: town.raw.set(keys.SITES, "x"), "type", "it is a string, not a hash"),
    "the ring has another type": (
        lambda town: asyncio.gather(town.raw.delete(ONLINE), town.raw.hset(ONLINE, "x", 1)), "type", "it is a hash"),
    "a presence has no such half hour": (
        lambda town: town.raw.hset(SEEN, VISITOR, presence(NOON, 55)), "value", "half hour 55: no presence"),
    "a reading has no such half hour": (
        lambda town: town.raw.hset(SEEN, VISITOR, presence(NOON, 24, bytes([50]) + bytes(7))), "value", "half hour 50"),
    "a presence is cut off": (
        lambda town: town.raw.hset(SEEN, VISITOR, presence(NOON)[:6]), "value", "has 6 bytes: no presence"),
    "a reading is cut off": (
        lambda town: town.raw.hset(SEEN, VISITOR, presence(NOON, 24, bytes(9))), "value", "has 16 bytes: no presence"),
    "a presence is of another time": (
        lambda town: town.raw.hset(SEEN, VISITOR, presence(1000)), "value", "was last seen 1970-01-01T00:00"),
    "a presence is of the day after": (
        lambda town: town.raw.hset(SEEN, VISITOR, presence(DAY.end_ms + 86_400_000)), "value", "was last seen 2036-11"),
    "a visitor has a name": (
        lambda town: town.raw.hset(SEEN, "Nguyen Van An", presence(NOON)), "value", "is no token"),
    "a visitor more than the ring knows": (
        lambda town: town.raw.hset(SEEN, VISITOR, presence(NOON)), "online",
        f"1 visitors were last seen at 2036-11-24T05:00+00:00 (second {NOON // 1000}) by the ring of seconds, 2 by"),
    "a visitor who was seen in another second": (
        lambda town: last_seen(town, "reader 0", NOON - 7000), "online", "by the ring of seconds, 0 by their pres"),
    "a visitor has gone": (
        lambda town: town.raw.hdel(SEEN, token(SITE, DAY.date, "reader 0")), "online", "0 by their presences"),
    "the presences of a day have gone": (lambda town: town.raw.delete(SEEN), "online", "0 by their presences"),
    "the ring has gone": (lambda town: town.raw.delete(ONLINE), "online", "0 visitors were last seen"),
    "a second of the ring was changed": (
        lambda town: town.raw.setrange(ONLINE, 4 * (RING + NOON // 1000 % RING), struct.pack("<I", 9)), "online",
        "9 visitors were last seen"),
    "the ring is too long": (lambda town: town.raw.append(ONLINE, bytes(4096)), "value", "no ring of 512 seconds"),
    "the ring is cut off": (lambda town: town.raw.set(ONLINE, bytes(1023)), "value", "1023 bytes: no ring"),
    "a permanent key has an end": (lambda town: town.raw.expire(COUNTS, 900), "life", "it is to be kept for ever"),
    "a passing key has no end": (lambda town: town.raw.persist(SEEN), "life", "the store will never forget it"),
    "a salt lives too long": (
        lambda town: town.raw.expireat(SALT, DAY.end_ms // 1000 + 9 * 86_400), "life", "it is kept until 2036-12-03"),
    "a salt is too short": (
        lambda town: town.raw.set(SALT, "x", keepttl=True), "value", "it has 1 bytes"),
    "a sketch is none": (
        lambda town: town.raw.set(keys.sketches("portal", DAY.date)[0], "x", ex=900), "value", "HyperLogLog"),
    "a hit id is none": (
        lambda town: town.raw.sadd(keys.hit_ids("portal", NOON // (30 * MINUTE)), "x"), "value", "not 8 bytes"),
    "what is put down is no list of commands": (
        lambda town: town.raw.set(keys.redo("portal"), "x", ex=900), "value", "it is no list of commands"),
    "a key that nobody knows": (
        lambda town: town.raw.set("vs:{portal}:secrets", "x"), "unknown-key", "visitstats writes no such key"),
    "a key of another schema": (
        lambda town: town.raw.hset("vs:{portal:who}:visits", "all", 1), "unknown-key", "writes no such key"),
    "a key of a day that is none": (
        lambda town: town.raw.set("vs:{portal}:salt:2036-02-30", bytes(32), ex=900), "name", "is no date"),
    "a day of articles that is none": (
        lambda town: town.raw.hset("vs:{portal}:articles:2036-02-30", A, 1), "name", "is no date"),
    "the schema is another": (lambda town: town.raw.set(keys.SCHEMA, 1), "value", "the store has schema 1"),
    "a site record is damaged": (
        lambda town: town.raw.hset(keys.SITES, "portal", "{"), "value", "the record of portal is damaged"),
    "a token is damaged": (lambda town: town.raw.hset(keys.TOKENS, "f00", "{}"), "value", "the access token f00"),
    "the last use of a token is no moment": (
        lambda town: town.raw.hset(keys.TOKENS_USED, "f" * 64, "today"), "value", "the last use of the access token"),
    "a refusal is none": (
        lambda town: refuse_nothing(town), "value", "is no refusal and how often it came"),
    "a host is that of nobody": (
        lambda town: town.raw.hset(keys.HOSTS, "f00", "there"), "value", "a writer and its host are"),
    "a peak is of no day": (
        lambda town: town.raw.hset(keys.peaks("portal", DAY.year), "noon", "3"), "value", "a date and a count are"),
    "a watermark is ahead of the journal": (
        lambda town: mark(town, "500:20"), "ahead", "the store has records up to 500, the journal up to 12"),
    "a watermark has another number of hits": (
        another_total, "hits", "at record 12 the store has 25 hits of this writer, the journal 24"),
    "a watermark is no number": (lambda town: mark(town, "12"), "value", "is 12, not sequence:hits"),
    "a watermark is that of nobody": (
        lambda town: town.raw.hset(MARKS, "somebody", "1:1"), "value", "its field somebody is no writer"),
    "records wait in the journal, and nobody applies them": (
        hold, "unapplied", "2 records are not in the store (13, 14): the journal goes up to 14, the store to 12"),
    "a byte of the journal was flipped": (flipped, "journal", "between its records are no record"),
    "the journal has lost its end": (cut, "ahead", "it has lost its end, or is an old copy"),
    "a record is missing in the chain": (vanish, "chain", "record 13 follows record 9, but 12 is before it"),
    "a record has fewer hits in all than the one before": (
        less_in_all, "chain", "record 13 4 hits in all, 25 are the fewest"),
}  # fmt: skip
