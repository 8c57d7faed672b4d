"""`visitstats verify` finds what was broken on purpose, and finds nothing in what was counted; it writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.town import DAY_MS, SITE, Town
from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, WRITER, gather, numbering
from visitstats.core.batch import Gathering, encode
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import NotFound
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.sites import Site
from visitstats.framing import frame
from visitstats.merges import Merges
from visitstats.patterns import linear_pattern
from visitstats.store import keys
from visitstats.store.commit import Work
from visitstats.store.fitness import opened
from visitstats.store.records import Records
from visitstats.verify.findings import EXAMPLES

A, B = article_id("/a"), article_id("/b")


@pytest_asyncio.fixture
async def town(tmp_path: Path, redis_url: str, raw: Redis) -> AsyncIterator[Town]:
    async with opened(redis_url, lambda: NOON) as parts:
        found = Town(tmp_path, raw, parts)
        await found.live()
        yield found
        await found.committer.close()
        found.journal.close()


async def test_what_was_counted_is_right(town: Town) -> None:
    report = await town.verify()
    assert report.problems == []
    assert report.notes == []
    assert [(each.site, each.articles) for each in report.sites] == [("other", 2), ("portal", 3)]
    portal = report.sites[1]
    assert (portal.visits, portal.views - 705) == (1000 + 13, 20)
    assert report.records == 10
    assert report.keys == await town.raw.dbsize()


async def test_merges_and_what_is_left_of_them_are_right(town: Town) -> None:
    merges = Merges(town.parts.records.changes, SITE.id, KeyRules(SITE, linear_pattern), lambda: NOON)
    merged = await merges.merge("/a", "/b", "an")
    await merges.merge("/never-read", "/b", "an", kind="alias")
    assert (await town.verify()).problems == []
    await merges.undo(merged.id, "an")
    report = await town.verify()
    assert report.problems == []
    assert report.keys == await town.raw.dbsize()


async def test_one_site_alone_can_be_verified(town: Town) -> None:
    await town.raw.hincrby(keys.visits("other"), DAY.date, 1)
    report = await town.verify("portal")
    assert (report.right, [each.site for each in report.sites]) == (True, ["portal"])
    assert not (await town.verify("other")).right
    with pytest.raises(NotFound, match="no site 'nowhere'"):
        await town.verify("nowhere")


async def test_a_site_that_was_taken_off_the_list_is_still_verified(town: Town) -> None:
    await town.parts.records.remove_site("portal")
    assert (await town.verify()).right
    await town.raw.hincrby(keys.visits("portal"), DAY.date, 1)
    assert not (await town.verify("portal")).right


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
    town.newest["portal"] = town.journal.last_sequence - 3
    await town.commit(town.journalled(SITE, DAY, (1, "An", "/a")))


async def half_committed(town: Town) -> None:
    """Only the audience ledger took the last batch."""
    work = town.journalled(SITE, DAY, (1, "An", "/a"))
    await town.committer._line.run([town.committer._audience(work)])


async def not_committed(town: Town) -> None:
    town.journalled(SITE, DAY, (1, "An", "/a"))
    town.journalled(SITE, DAY, (2, "An", "/a"))


async def flipped(town: Town) -> None:
    flip(town)


VISITS, VIEWS, TOP = keys.visits("portal"), keys.views("portal"), keys.top_all("portal")
SEEN = keys.seen("portal", DAY.date, DAY.end_ms).name
TOP_DAY, TOP_WEEK = keys.top_day("portal", DAY.date, 0).name, keys.top_week("portal", DAY.week[0], 0).name

BREAKS: dict[str, tuple[Break, str, str]] = {
    "a day has one visit more": (
        lambda town: town.raw.hincrby(VISITS, DAY.date, 1), "days", "2036 has 13, its days together 14"),
    "a month has gone from the visits": (
        lambda town: town.raw.hdel(VISITS, DAY.month), "days", f"{DAY.month} has 0, its days together 10"),
    "a year is too high": (
        lambda town: town.raw.hincrby(VIEWS, DAY.year, 5), "days", "2036 has 25, its days together 20"),
    "a day has gone from the views": (
        lambda town: town.raw.hdel(VIEWS, DAY.date), "days", "all of time has 20, its days together 19"),
    "all of time is too high": (
        lambda town: town.raw.hincrby(VIEWS, "all", 1), "articles", "20 views, all has 21"),
    "a count is no number": (
        lambda town: town.raw.hset(VISITS, DAY.date, "many"), "value", f"{DAY.date} is many, which is no count"),
    "a count is negative": (
        lambda town: town.raw.hset(VISITS, DAY.date, "-3"), "value", f"{DAY.date} is -3, which is no count"),
    "a field is no date": (
        lambda town: town.raw.hset(VISITS, "2036-02-30", "0"), "value", "its field 2036-02-30 is no period"),
    "a month's list has gone": (
        lambda town: town.raw.delete(keys.top_month("portal", DAY.month)), "list", f"have 0 views, {DAY.month} has"),
    "a day's list has gone": (lambda town: town.raw.delete(TOP_DAY), "list", f"have 0 views, {DAY.date} has 1"),
    "a week's list has gone": (lambda town: town.raw.delete(TOP_WEEK), "list", f"have 0 views, {DAY.week[0]} to"),
    "a week's list is too long": (
        lambda town: town.raw.zincrby(TOP_WEEK, 2, A), "list", f"{DAY.week[0]} to {DAY.week[6]} has 1"),
    "an article's total was forged": (
        lambda town: town.raw.zincrby(TOP, 100, A), "article", "with a baseline of 700; its months have 11"),
    "two articles were forged so that the sum is right": (
        lambda town: asyncio.gather(town.raw.zincrby(TOP, 4, A), town.raw.zincrby(TOP, -4, B)), "article", B.hex()),
    "a score is no whole number": (
        lambda town: town.raw.zadd(TOP, {A: 1.5}), "value", "has the score 1.5: no count of an article"),
    "a score is negative": (lambda town: town.raw.zadd(TOP_DAY, {A: -1}), "value", "has the score -1"),
    "a score is beyond what is exact": (lambda town: town.raw.zadd(TOP, {A: 2.0**53}), "value", "9007199254740992"),
    "a baseline was changed": (
        lambda town: town.raw.hset(keys.base("portal"), A, 701), "baseline", "are 706 views, base has 705"),
    "a baseline has no article": (
        lambda town: town.raw.hset(keys.base("portal"), "12345678", 1), "register", "there is no article 3132"),
    "an article has no name": (lambda town: town.raw.hdel(keys.names("portal"), A), "dictionary", "has no name"),
    "a name has no article": (
        lambda town: town.raw.hset(keys.names("portal"), article_id("/c"), encode_entry(Entry("/c"))), "register",
        f"there is no article {article_id('/c').hex()}"),
    "a name is that of another article": (
        lambda town: town.raw.hset(keys.names("portal"), A, encode_entry(Entry("/c"))), "dictionary",
        "is that of another: /c"),
    "an alias is damaged": (
        lambda town: town.raw.hset(keys.aliases("portal"), A, B + b"/c"), "value", f"alias of {A.hex()} leads to no"),
    "a name is damaged": (lambda town: town.raw.hset(keys.names("portal"), A, b"\xc1"), "dictionary", "is damaged"),
    "an article of a day is not registered": (
        lambda town: town.raw.zrem(TOP, B), "register", f"article {B.hex()} is in no list of all time"),
    "a list has another type": (
        lambda town: town.raw.rename(VISITS, TOP_DAY), "type", "it is a hash, not a zset"),
    "the counts have another type": (lambda town: town.raw.rename(TOP, VISITS), "type", "it is a zset, not a hash"),
    "presences have another type": (lambda town: town.raw.set(SEEN, "x"), "type", "it is a string, not a zset"),
    "the sites have another type": (lambda town: town.raw.set(keys.SITES, "x"), "type", "it is a string, not a hash"),
    "a presence has no such half hour": (
        lambda town: town.raw.zadd(SEEN, {b"visitor1": NOON * 64 + 55}), "value", "no presence"),
    "a presence is of another time": (
        lambda town: town.raw.zadd(SEEN, {b"visitor1": 64 * 1000}), "value", "was last seen 1970-01-01T00:00"),
    "a visitor has a name": (
        lambda town: town.raw.zadd(SEEN, {b"Nguyen Van An": NOON * 64}), "value", "is no token"),
    "a permanent key has an end": (lambda town: town.raw.expire(VISITS, 900), "life", "it is to be kept for ever"),
    "a passing key has no end": (lambda town: town.raw.persist(SEEN), "life", "the store will never forget it"),
    "a salt lives too long": (
        lambda town: town.raw.expireat(keys.salt("portal", DAY.date, 0).name, DAY.end_ms // 1000 + 9 * 86_400), "life",
        "it is kept until 2036-12-03"),
    "a salt is too short": (
        lambda town: town.raw.set(keys.salt("portal", DAY.date, 0).name, "x", keepttl=True), "value", "it has 1 bytes"),
    "a sketch is none": (
        lambda town: town.raw.set(keys.unique("portal", DAY.date, 0, 0).name, "x", keepttl=True),
        "value",
        "HyperLogLog",
    ),
    "a hit id is none": (
        lambda town: town.raw.sadd(keys.hit_ids("portal", NOON // (30 * MINUTE)).name, "x"), "value", "not 8 bytes"),
    "a key that nobody knows": (
        lambda town: town.raw.set("vs:{portal:who}:secrets", "x"), "unknown-key", "visitstats writes no such key"),
    "a key of a day that is none": (
        lambda town: town.raw.set("vs:{portal:who}:salt:2036-02-30", bytes(32), ex=900), "name", "is no date"),
    "a site record is damaged": (
        lambda town: town.raw.hset(keys.SITES, "portal", "{"), "value", "the record of portal is damaged"),
    "a token is damaged": (lambda town: town.raw.hset(keys.TOKENS, "f00", "{}"), "value", "the access token f00"),
    "a peak is of no day": (
        lambda town: town.raw.zadd(keys.peaks("portal"), {"noon": 3}), "value", "a date and a count are expected"),
    "a watermark was removed": (
        lambda town: town.raw.delete(keys.audience_watermark("portal", town.journal.writer)), "unapplied",
        "the journal goes up to 9, the audience ledger to 0, the articles ledger to 9"),
    "a watermark was set back": (
        lambda town: town.raw.hset(keys.articles_watermark("portal", town.journal.writer), "s", 5), "unapplied",
        "2 records are not in the store (7, 9)"),
    "a watermark is ahead of the journal": (
        lambda town: town.raw.hset(keys.articles_watermark("portal", town.journal.writer), "s", 500), "ahead",
        "the store has batches up to 500, the journal up to 9"),
    "ledgers of another machine's writer disagree": (
        lambda town: town.raw.hset(keys.audience_watermark("portal", WRITER), "s", 7), "ledgers",
        "the audience ledger goes up to 7, the articles ledger to 0"),
    "a watermark is no number": (
        lambda town: town.raw.hset(keys.audience_watermark("portal", town.journal.writer), "s", "-"), "value",
        "its sequence is -"),
    "batches wait in the journal": (not_committed, "unapplied", "2 records are not in the store (11, 12)"),
    "a batch is in one ledger only": (
        half_committed, "unapplied", "the audience ledger to 11, the articles ledger to 9"),
    "a byte of the journal was flipped": (flipped, "journal", "between its records are no record"),
    "the journal has lost its end": (cut, "ahead", "it has lost its end, or is an old copy"),
    "a batch is missing in the chain": (vanish, "chain", "record 11 follows record 7, but 9 is before it"),
}  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS)
async def test_what_was_broken_is_found(town: Town, broken: str) -> None:
    spoil, check, text = BREAKS[broken]
    await spoil(town)
    report = await town.verify()
    assert not report.right
    told = [(problem.check, problem.detail) for problem in report.problems]
    assert any(check == found and text in detail for found, detail in told), told


async def test_a_journal_of_another_writer_is_damage(town: Town) -> None:
    (town.slot / "writer").write_text("nonsense", "ascii")
    report = await town.verify()
    assert [problem.check for problem in report.problems] == ["journal"]
    assert "does not hold a writer id" in report.problems[0].detail


async def test_a_torn_end_is_worth_a_note_and_no_more(town: Town) -> None:
    """A crash leaves it; what was being written was not acknowledged."""
    town.journal.close()
    [segment] = town.slot.glob("*.log")
    with segment.open("ab") as file:
        file.write(b"half a rec")
    report = await town.verify()
    assert report.right
    [note] = report.notes
    assert "10 bytes that are no record" in note


async def test_the_slot_of_a_running_worker_is_not_locked_and_its_unfinished_write_is_nothing(town: Town) -> None:
    [segment] = town.slot.glob("*.log")
    with segment.open("ab") as file:
        file.write(b"half a rec")
    report = await town.verify()
    assert (report.right, report.notes) == (True, [])


async def test_what_moves_between_two_looks_is_work_and_nothing_wrong(town: Town) -> None:
    """A hit was journalled, and is being committed while we look."""
    work = town.journalled(SITE, DAY, (1, "An", "/a"))

    async def later() -> None:
        await asyncio.sleep(0.05)
        await town.commit(work)

    task = asyncio.create_task(later())
    report = await town.verify(again_seconds=0.2)
    await task
    assert report.right, report.problems


async def test_a_site_that_is_being_counted_looks_right_all_the_time(town: Town) -> None:
    over = False

    async def count() -> int:
        number = 0
        while not over:
            number += 1
            people = [(n, f"person {number} {n}", f"/{n}") for n in range(20)]
            await town.commit(town.journalled(SITE, DAY, *people))
        return number

    task = asyncio.create_task(count())
    for _ in range(5):
        report = await town.verify(again_seconds=0.05)
        assert report.right, report.problems
    over = True
    assert await task > 5


async def test_a_long_list_is_read_in_pieces_and_nothing_is_written(town: Town) -> None:
    """Verify may run beside a working service: no command of it takes the server for long, none changes anything."""
    for number in range(3):
        await town.commit(town.journalled(SITE, DAY, *((0, f"p{n}", f"/{number}/{n}") for n in range(900))))
    before = await writes(town.raw)
    await town.raw.config_resetstat()
    report = await town.verify()
    assert report.right, report.problems
    stats: dict[str, dict[str, int]] = await town.raw.info("commandstats")
    used = {name.removeprefix("cmdstat_").split("|")[0] for name in stats}
    assert used <= {
        "scan", "type", "expiretime", "hscan", "zscan", "sscan", "hlen", "hgetall", "zcard", "zrange", "zmscore",
        "zscore", "hmget", "hget", "strlen", "getrange", "zcount", "multi", "exec", "config", "info", "client",
    }  # fmt: skip
    assert await writes(town.raw) == before
    # The only commands without a limit are asked for after the size is known.
    assert stats["cmdstat_zcard"]["calls"] > stats["cmdstat_zrange"]["calls"]


async def writes(raw: Redis) -> int:
    """How much was changed in the store so far, as it counts itself."""
    info: dict[str, int] = await raw.info("persistence")
    return info["rdb_changes_since_last_save"]


async def test_a_long_list_with_a_forged_score_is_found(town: Town) -> None:
    await town.commit(town.journalled(SITE, DAY, *((0, f"p{n}", f"/{n}") for n in range(1500))))
    assert (await town.verify()).right
    await town.raw.zincrby(keys.top_month("portal", DAY.month), 1, article_id("/77"))
    checks = {problem.check for problem in (await town.verify()).problems}
    assert checks == {"list", "article"}


async def test_a_thousand_problems_of_one_kind_do_not_fill_the_screen(town: Town) -> None:
    await town.commit(town.journalled(SITE, DAY, *((0, f"p{n}", f"/{n}") for n in range(1000))))
    await town.raw.delete(keys.names("portal"))
    report = await town.verify()
    told = [problem.detail for problem in report.problems if problem.check == "dictionary"]
    assert len(told) == EXAMPLES + 1
    assert told[-1] == "and 983 more like these"


async def test_weeks_that_begin_on_another_day_from_now_on_are_no_error(town: Town) -> None:
    """Wednesday's change from Monday to Sunday: two lists overlap, and each has a part of the days."""
    changed = Site(id="portal", hosts=("portal.vn",), week_start=7)
    await Records(town.raw).put_site(changed)
    wednesday = CALENDAR.day_at(NOON + 2 * DAY_MS)
    waiting = Gathering(changed, type(CALENDAR)("Asia/Ho_Chi_Minh", 7).day_named(wednesday.date))
    gather(waiting, wednesday.start_ms, "An", "/a")
    sequence = town.journal.last_sequence + 1
    batch = waiting.close(town.newest["portal"], NOON)
    town.journal.append([encode(batch)])
    await town.commit(Work(sequence, batch.previous, batch, numbering()))
    report = await town.verify()
    assert report.right, report.problems


async def test_another_machines_writer_is_worth_a_note(town: Town) -> None:
    for name in (keys.audience_watermark("portal", WRITER), keys.articles_watermark("portal", WRITER)):
        await town.raw.hset(name, "s", 7)
        await town.raw.expire(name, 900)
    report = await town.verify()
    assert report.right
    assert report.notes == [
        "site portal: writer 01234567 (up to 7) has no journal in this data folder: another machine's, or removed"
    ]


# What was decided -----------------------------------------------------------------------------------------------------


def decide(town: Town) -> Path:
    """Have outcomes of the last three records of the journal."""
    last = town.journal.last_sequence
    town.journal.note_outcomes([(n, b"outcome %d" % n) for n in range(last - 2, last + 1)])
    [path] = town.slot.glob("*.out")
    return path


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_its_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def take_anothers(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:8] + bytes(16) + data[24:])


def take_other_records(path: Path) -> None:
    path.write_bytes(path.read_bytes() + frame(10**6, b"outcome"))


async def test_what_was_decided_is_looked_at_too(town: Town) -> None:
    path = decide(town)
    path.with_name("000000000000ffff.out").write_bytes(b"left by a crash, and removed by whoever opens the slot")
    report = await town.verify()
    assert (report.problems, report.warnings) == ([], [])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip_a_bit, "bytes are no record"),
        (cut_its_end, "bytes are no record"),
        (take_anothers, "do not begin as those of writer"),
        (take_other_records, "1 are of records that it does not have, the first of 1000000"),
    ],
)
async def test_damage_to_what_was_decided_is_a_warning(town: Town, damage: Callable[[Path], None], said: str) -> None:
    """No number is wrong by it, and it is named: an older copy of the store would be healed by deciding again."""
    path = decide(town)
    damage(path)
    report = await town.verify(again_seconds=0.05)
    assert report.right, report.problems
    [warning] = report.warnings
    assert (warning.check, warning.subject) == ("outcomes", "journal slot 00")
    assert said in warning.detail
    assert str(path.with_suffix(".log")) in warning.detail
