"""`visitstats verify` finds what was broken on purpose, and finds nothing in what was counted; it writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.breaks import BREAKS, DAYS, MARKS, NAMES, ONLINE, SEEN, TODAY, last_seen, not_committed
from tests.store.town import DAY_MS, OTHER, SITE, Town
from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, WRITER, beats, names_in
from visitstats.changes.recording import Order
from visitstats.core.batch import Gathering
from visitstats.core.counting import ONLINE_MS
from visitstats.core.errors import NotFound
from visitstats.core.keys import article_id
from visitstats.store import inspect, keys
from visitstats.store.fitness import opened
from visitstats.store.reads import Mark
from visitstats.trust.hosts import Noted
from visitstats.trust.verify.findings import EXAMPLES

A, B = article_id("/a"), article_id("/b")


@pytest_asyncio.fixture
async def town(tmp_path: Path, redis_url: str, raw: Redis) -> AsyncIterator[Town]:
    async with opened(redis_url, lambda: NOON) as parts:
        found = Town(tmp_path, raw, parts)
        await found.live()
        yield found
        await found.close()


async def test_what_was_counted_is_right(town: Town) -> None:
    report = await town.verify()
    assert report.problems == []
    assert report.notes == []
    assert [(each.site, each.articles) for each in report.sites] == [("other", 2), ("portal", 3)]
    portal = report.sites[1]
    assert (portal.visits, portal.views - 705) == (1000 + 13, 20)
    assert report.records == 12
    assert report.keys == await town.raw.dbsize()


async def test_merges_and_what_is_left_of_them_are_right(town: Town) -> None:
    merged = await town.merges.merge("/a", "/b", Order("an"))
    await town.merges.merge("/never-read", "/b", Order("an"), kind="alias")
    await town.commit(town.journalled(SITE, DAY, (1, "An", "/a"), (1, "An", "/b"), (1, "An", "/never-read")))
    assert (await town.verify()).problems == []
    await town.desk.undo(merged.id, Order("an"))
    report = await town.verify()
    assert report.problems == []
    assert report.keys == await town.raw.dbsize()


async def test_one_site_alone_can_be_verified(town: Town) -> None:
    await town.raw.hincrby(*keys.count_at("other", "visits", DAY.date), 1)
    report = await town.verify("portal")
    assert (report.right, [each.site for each in report.sites]) == (True, ["portal"])
    assert not (await town.verify("other")).right
    with pytest.raises(NotFound, match="no site 'nowhere'"):
        await town.verify("nowhere")


async def test_a_site_that_was_taken_off_the_list_is_still_verified(town: Town) -> None:
    await town.parts.records.remove_site("portal", 0)
    assert (await town.verify()).right
    await town.raw.hincrby(*keys.count_at("portal", "visits", DAY.date), 1)
    assert not (await town.verify("portal")).right


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


async def test_what_waits_is_worth_a_note_while_a_process_is_there_that_applies_it(town: Town) -> None:
    await not_committed(town)
    report = await town.verify()
    assert report.right
    [note] = report.notes
    assert note.startswith("journal slot 00: site portal: 2 records are not in the store (13, 14): the journal goes up")
    assert "the service runs" in note


async def test_what_moves_between_two_looks_is_work_and_nothing_wrong(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is in the journal and not in the store, and a day is not the sum that it should be: both are done when
    we look again."""
    work = town.journalled(SITE, DAY, (1, "An", "/a"))
    await town.raw.hincrby(DAYS, "visits:24", 1)
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        if seconds == 77:
            await town.raw.hincrby(DAYS, "visits:24", -1)
            await town.commit(work)
        else:
            await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    report = await town.verify(again_seconds=77)
    assert report.right, report.problems
    assert report.notes == []
    assert work.sequence in {newest[0] for newest in town.newest.values()}
    assert await town.raw.hget(MARKS, town.journal.writer) == f"{work.sequence}:{work.record.total}".encode()


async def test_a_site_that_is_being_counted_looks_right_all_the_time(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is so large that it cannot be read at one moment."""
    monkeypatch.setattr(inspect, "PAGE", 40)
    over = False

    async def count() -> int:
        number = 0
        while not over:
            number += 1
            people = [(number / 60, f"person {number % 9} {n}", f"/{n}") for n in range(20)]
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
        await town.commit(town.journalled(SITE, DAY, *((0, f"p{number} {n}", f"/{number}/{n}") for n in range(900))))
    before = await writes(town.raw)
    await town.raw.config_resetstat()
    await town.raw.config_set("slowlog-log-slower-than", 0)
    await town.raw.slowlog_reset()
    report = await town.verify()
    assert report.right, report.problems
    stats: dict[str, dict[str, int]] = await town.raw.info("commandstats")
    used = {name.removeprefix("cmdstat_").split("|")[0] for name in stats}
    assert used <= {
        "scan", "type", "expiretime", "hscan", "zscan", "sscan", "hlen", "hgetall", "hmget", "hget", "get", "strlen",
        "getrange", "multi", "exec", "config", "info", "client", "slowlog",
    }  # fmt: skip
    assert await writes(town.raw) == before
    # The only command without a limit is asked for after the size is known, or of what is small.
    asked = [entry["command"].split()[1].decode() for entry in await slow(town.raw) if b"HGETALL" in entry["command"]]
    assert not {name for name in asked if ":articles" in name or (":seen:" in name and name == SEEN)}, asked


async def slow(raw: Redis) -> list[dict[str, bytes]]:
    found: list[dict[str, bytes]] = await raw.slowlog_get(100_000)
    return found


async def writes(raw: Redis) -> int:
    """How much was changed in the store so far, as it counts itself."""
    info: dict[str, int] = await raw.info("persistence")
    return info["rdb_changes_since_last_save"]


async def test_of_many_articles_a_forged_one_is_found(town: Town) -> None:
    await town.commit(town.journalled(SITE, DAY, *((0, f"p{n}", f"/{n}") for n in range(1500))))
    assert (await town.verify()).right
    forged = article_id("/77").hex()
    await town.raw.hincrby(TODAY, article_id("/77"), 1)
    found = (await town.verify()).problems
    assert {problem.check for problem in found} == {"day", "article"}
    [article] = [problem for problem in found if problem.check == "article"]
    assert article.detail == f"article {forged} has 1 views with a baseline of 0; its days have 2"


async def test_of_many_visitors_a_forged_one_is_found(town: Town) -> None:
    people = [(-n / 600, f"p{n}", "/a") for n in range(1500)]
    await town.commit(town.journalled(SITE, DAY, *people))
    assert (await town.verify()).right
    await last_seen(town, "p300", NOON - 3 * ONLINE_MS)
    [problem] = (await town.verify()).problems
    assert (problem.check, problem.subject) == ("online", ONLINE)


async def test_a_thousand_problems_of_one_kind_do_not_fill_the_screen(town: Town) -> None:
    await town.commit(town.journalled(SITE, DAY, *((0, f"p{n}", f"/{n}") for n in range(1000))))
    await town.raw.delete(NAMES)
    report = await town.verify()
    told = [problem.detail for problem in report.problems if problem.check == "dictionary"]
    assert len(told) == EXAMPLES + 1
    assert told[-1] == "and 983 more like these"


async def test_a_visitor_who_goes_on_over_midnight_is_counted_in_one_second(town: Town) -> None:
    """Rule 2: yesterday's presence is put back, today's is there, and the ring knows both."""
    night = -12 * 60
    await town.commit(town.journalled(SITE, CALENDAR.day_named(DAY.yesterday), (24 * 60 + night - 1, "An", "/a")))
    await town.commit(town.journalled(SITE, DAY, (night + 2, "An", "/a")))
    waiting = Gathering(OTHER, DAY)
    beats(waiting, DAY.start_ms + MINUTE, "An")
    await town.commit(town.taken(waiting))
    report = await town.verify(now=DAY.start_ms + 3 * MINUTE)
    assert report.right, report.problems


async def test_a_site_that_was_silent_for_a_year_is_right(town: Town) -> None:
    """Presences are forgotten after a day; what the ring says of such seconds is of no account."""
    await town.raw.delete(SEEN, keys.seen("portal", DAY.yesterday))
    assert not (await town.verify()).right
    # Rather than wait a year: the moment is another, and what is kept for ever is all that is there.
    for name in await names_in(town.raw):
        if await town.raw.expiretime(name) != -1:
            await town.raw.delete(name)
    report = await town.verify(now=NOON + 365 * DAY_MS)
    assert report.right, report.problems


async def test_another_hosts_writer_is_worth_a_note(town: Town) -> None:
    await town.raw.hset(MARKS, WRITER, "7:7")
    await town.raw.hset(keys.marks("other"), WRITER, "8:8")
    report = await town.verify()
    assert report.right
    tail = "has no journal in this data folder: another host's, or removed"
    assert report.notes == [f"writer 01234567 (2 sites) {tail}"]
    await town.raw.hset(keys.HOSTS, WRITER, "there")
    assert (await town.verify("other")).notes == [f"writer 01234567 of host there (1 sites) {tail}"]


async def test_hits_of_another_host_that_the_store_lacks_are_said(town: Town) -> None:
    """This data folder has noted that they were there."""
    note = {WRITER: Noted("there", {"portal": Mark(9, 500), "other": Mark(4, 4)})}
    (town.data_dir / "hosts").mkdir()
    (town.data_dir / "hosts" / "noted.json").write_bytes(msgspec.json.encode(note))
    await town.raw.hset(MARKS, WRITER, "9:500")
    await town.raw.hset(keys.marks("other"), WRITER, "5:5")
    assert (await town.verify()).right
    await town.raw.hset(MARKS, WRITER, "7:123")
    [problem] = (await town.verify()).problems
    assert (problem.site, problem.check, problem.subject) == ("portal", "lacks", "host there")
    assert "the store lacks 377 hits of writer 01234567 that it had" in problem.detail
    await town.raw.hdel(MARKS, WRITER)
    [problem] = (await town.verify("portal")).problems
    assert "lacks 500 hits" in problem.detail
    assert (await town.verify("other")).right
