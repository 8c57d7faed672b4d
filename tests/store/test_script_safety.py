"""A script either does all that it is asked or nothing, whatever it finds in the store, and wherever it is cut off."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.store.script_keys import (
    BEFORE,
    FULL_VIEWS,
    FULL_VISITS,
    SMALL,
    contents,
    counted,
    full_batch,
    keys_of,
    mark,
    put_down,
    said_by_scripts,
)
from tests.store.writing import DAY, MINUTE, NOON, SITE, WRITER, batch_of, commit, commit_one, gather, numbering, token
from visitstats.core import counting
from visitstats.core.batch import Batch, Gathering, Said
from visitstats.core.entries import Entry
from visitstats.core.keys import article_id
from visitstats.embedded.process import EmbeddedStore
from visitstats.store import keys
from visitstats.store.change_records import Change, merging
from visitstats.store.client import open_client
from visitstats.store.commit import Changed, Committed, Committer, Gap, Refused, Work, load_scripts

READS = {"GET", "HGET", "HGETALL", "HMGET", "HLEN", "HEXISTS", "SCARD", "SMISMEMBER", "EXISTS", "STRLEN", "TTL", "TIME"}
WRITES = {"HSET", "SADD", "PFADD", "SETRANGE", "EXPIREAT"}
MAY_WRITE = {
    "commit": WRITES,
    "change": {"HSET", "HDEL", "SETRANGE"},
    "amounts": {"HSET", "HDEL", "SETRANGE"},
    "import": {"HSET", "HDEL", "SETRANGE", "EXPIREAT", "PERSIST"},
    "facts": {"HSET", "HDEL", "SETRANGE"},
    "closing": {"HSET", "HDEL", "SETRANGE"},
    "note": {"HSET", "SETRANGE"},
    "prune": {"HSET", "HDEL", "SETRANGE", "EXPIREAT"},
    "seal": {"COPY", "PERSIST", "HSET", "UNLINK"},
    "number": {"SETRANGE"},
}
"""What each script may write. Only a person's change, and what has been packed, takes anything away; each may be
executed again without a failure."""
OTHER_WRITER = WRITER[::-1]


class Servers(dict[Path, EmbeddedStore]):
    """A server of each program, started when it is first asked for."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self._folders = folders

    def __missing__(self, program: Path) -> EmbeddedStore:
        self[program] = EmbeddedStore.start(self._folders.mktemp("server"), server=program)
        return self[program]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    running = Servers(tmp_path_factory)
    yield running
    for each in running.values():
        each.stop()


@pytest.fixture(params=[False, True], ids=["at once", "in two steps"])
async def real(
    every_server: Path, servers: dict[Path, EmbeddedStore], request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Committer, Redis]]:
    """A committer and a plain client on an empty store, on each server program that this machine has."""
    url = servers[every_server].url
    committer, client = Committer(url), open_client(url)
    await client.flushall()
    await committer.ready()
    committer._line.two_steps = request.param
    yield committer, client
    await committer.close()
    await client.aclose()


OWN = 19
"""Keys of a batch before its sketches, of which nothing is read."""


# Before anything is written -------------------------------------------------------------------------------------------


async def refused_and_unchanged(committer: Committer, client: Redis, batch: Batch, error: str) -> None:
    before = await contents(client)
    for _ in range(2):
        result = await commit_one(committer, 2, batch)
        assert isinstance(result, Refused), error
        assert re.search(error, result.error), result.error
        assert await contents(client) == before


async def test_a_key_of_another_type_is_refused_before_anything_is_written(real: tuple[Committer, Redis]) -> None:
    """What was half executed could not be told from the whole: each key in turn has a wrong type."""
    committer, client = real
    batch = full_batch()
    names = keys_of(batch)
    assert len(names) == OWN + 1 + keys.SKETCHES
    for wrong in [*names[:OWN], keys.redo(SITE.id)]:
        await client.flushall()
        await commit(committer, 1, batch_of((DAY.start_ms - 1000, "An", "/a"), day=BEFORE))
        await client.delete(wrong)
        if wrong in {keys.online(SITE.id), keys.redo(SITE.id), keys.ids(SITE.id), keys.touched(SITE.id)}:
            await client.hset(wrong, "not", "what it should be")
        else:
            await client.set(wrong, "not what it should be")
        await refused_and_unchanged(committer, client, batch, "WRONGTYPE")
        await client.delete(wrong)
        assert (await commit(committer, 2, batch)).fresh, wrong


async def test_a_sketch_of_another_type_is_refused_and_the_batch_counts_once_when_it_is_gone(
    real: tuple[Committer, Redis],
) -> None:
    """Of a sketch nothing is read; it is written first, and adding to the others again changes nothing."""
    committer, client = real
    batch = full_batch()
    for wrong in keys_of(batch)[OWN:]:
        await client.flushall()
        await client.set(wrong, "not what it should be")
        tokens = [token(SITE, DAY.date, person) for person in ("An", "Bình", "Chi")]
        if wrong.endswith((":h0", *(f":{each[0] % keys.SKETCHES}" for each in tokens))):
            for _ in range(2):
                result = await commit_one(committer, 2, batch)
                assert isinstance(result, Refused)
                assert "WRONGTYPE" in result.error
                assert (await counted(client), await mark(client)) == ((0, 0), None)
                assert not await client.exists(keys.seen(SITE.id, DAY.date))
        await client.delete(wrong)
        await commit(committer, 2, batch)
        assert await counted(client) == (FULL_VISITS, FULL_VIEWS), wrong


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"short",
        bytes(6) + b"\x18" + b"odd",
        bytes(6) + b"\x18" + bytes(8 * counting.MOST_READINGS + 1),
    ],
    ids=["empty", "short", "odd", "long"],
)
async def test_a_damaged_presence_is_refused_before_anything_is_written(
    real: tuple[Committer, Redis], damaged: bytes
) -> None:
    """It would decide wrongly whether a visit began, and what was read; of today, and of the night before."""
    committer, client = real
    for day in (DAY, BEFORE):
        await client.flushall()
        mine = token(SITE, day.date, "An")
        await client.hset(keys.seen(SITE.id, day.date), mine, damaged)
        await refused_and_unchanged(committer, client, full_batch(), "presence")
        await client.hdel(keys.seen(SITE.id, day.date), mine)
        assert (await commit(committer, 2, full_batch())).fresh


@pytest.mark.parametrize("key", ["counts", "days", "hours", "articles", "articles_of_day", "ignored", "marks"])
async def test_a_count_that_is_no_number_is_refused_before_anything_is_written(
    real: tuple[Committer, Redis], key: str
) -> None:
    """Nor is it taken for nothing, and counted from 1."""
    committer, client = real
    batch = full_batch()
    await commit(committer, 1, batch)
    when = {"days": [DAY.month], "hours": [DAY.date], "articles_of_day": [DAY.date], "ignored": [DAY.month]}
    name = getattr(keys, key)(SITE.id, *when.get(key, []))
    again = Gathering(SMALL, DAY)
    for n, (person, article) in enumerate([("An", "/a"), ("Bình", "/b"), ("An", "/new")]):
        gather(again, DAY.start_ms + 45 * MINUTE + n, person, article, says=Entry(article, "another"), said=Said.SIGNED)
    again.ignored["bot"] = 1
    fields = await client.hkeys(name)
    for field in fields:
        good = await client.hget(name, field)
        await client.hset(name, field, "many")
        await refused_and_unchanged(committer, client, again.close(1, 5, 0), "number")
        await client.hset(name, field, good)
    assert (await commit(committer, 2, batch_of((NOON, "An", "/a")))).fresh


# In which order -------------------------------------------------------------------------------------------------------


def test_scripts_write_absolute_values_only() -> None:
    """A log cut inside a transaction is executed twice by some servers: an increment would then count twice."""
    scripts = load_scripts()
    assert "redis" not in scripts.pop("probe").decode(), "it asks whether the server takes writes, and writes nothing"
    assert scripts.keys() == MAY_WRITE.keys()
    for name, source in scripts.items():
        text = source.decode()
        assert text.startswith("#!lua\n"), name  # so that out-of-memory refuses the whole script
        ledger, own = text.split("-- Input\n")
        ledger, _, record = ledger.partition("-- The part that the scripts of people's changes share")
        own = record + own
        # Finishing what was put down, what `write` does, the watermark, putting down.
        called = re.findall(r"redis\.p?call\(('[A-Z]+')?", ledger)
        assert called == ["'GET'", "", "'DEL'", "", "'HGET'", "'SET'"]
        assert set(re.findall(r"redis\.call\('([A-Z]+)'", own)) <= READS, name
        assert set(re.findall(r"write\('([A-Z]+)'", own)) <= MAY_WRITE[name], name
        assert len(re.findall(r"\bredis\.\w+", own)) == len(re.findall(r"redis\.call\('[A-Z]+'", own)), name
        assert len(re.findall(r"\bwrite\(", own)) == len(re.findall(r"\bwrite\('[A-Z]+'", own)), name


async def test_everything_is_read_before_the_first_write_and_the_watermark_is_the_last(
    real: tuple[Committer, Redis],
) -> None:
    """As the server sees it. Behind the watermark only the answer's numbers are read."""
    committer, client = real
    await commit(committer, 1, batch_of((DAY.start_ms - 1000, "An", "/a"), day=BEFORE))
    batch = full_batch()
    said = await said_by_scripts(client, lambda: commit(committer, 2, batch))
    calls: list[str] = []
    for command in said:
        if command[:2] == ["GET", keys.redo(SITE.id)]:
            calls.append("")
        calls[-1] += kind_of(command[0].upper())
    # At the end is the answer: who is online, and the box, of two months and their years.
    if committer._line.two_steps:
        first, second = calls
        assert re.fullmatch("r+Sr{4}", first), "one command puts everything down"
        assert re.fullmatch("rw+Dr+", second), "the next call begins with what was put down"
    else:
        [call] = calls
        assert re.fullmatch("r+w+r{4}", call)
    writes = [command for command in said if kind_of(command[0].upper()) == "w"]
    assert writes[-1][:3] == ["HSET", keys.marks(SITE.id), WRITER]
    assert sum(command[1] == keys.marks(SITE.id) for command in writes) == 1


def kind_of(word: str) -> str:
    """r for what reads, w for what writes, S and D for what makes and ends the record of writes that are put down."""
    return "r" if word in READS else "w" if word in WRITES else {"SET": "S", "DEL": "D"}[word]


# What was put down ----------------------------------------------------------------------------------------------------


async def test_a_record_that_was_put_down_is_finished_before_another_is_decided(real: tuple[Committer, Redis]) -> None:
    """A worker was killed between the two steps; whoever comes next decides beside what it had decided."""
    committer, client = real
    first = Work(OTHER_WRITER, 7, 0, batch_of((NOON, "An", "/a")), numbering())
    [word, *_] = await put_down(committer, first)
    assert word == b"ok"
    assert (await counted(client), await mark(client, OTHER_WRITER)) == ((0, 0), None)
    result = await commit(committer, 1, batch_of((NOON + 1, "An", "/a"), (NOON + 1, "An", "/b")))
    assert (result.fresh, result.started, result.added, result.online) == (True, 0, (0, 1), 1)
    assert (await counted(client), await mark(client, OTHER_WRITER)) == ((1, 2), b"7:1")
    assert not await client.exists(keys.redo(SITE.id))
    [again] = await committer.commit([first])
    assert isinstance(again, Committed)
    assert not again.fresh
    assert await counted(client) == (1, 2)


async def test_what_was_put_down_ends_before_any_key_that_it_writes(real: tuple[Committer, Redis]) -> None:
    """Else a server that was away for a day would make keys anew that never end, with tokens of visitors in them: here
    of one who came over midnight, half an hour later."""
    committer, client = real
    moment = DAY.start_ms + 30 * MINUTE - 1
    before = batch_of((moment - 30 * MINUTE, "An", "/a"), day=BEFORE)
    await commit(committer, 1, before, numbering(moment))
    batch = batch_of((moment, "An", "/a"))
    await put_down(committer, Work(WRITER, 2, 0, batch, numbering(moment)))
    life = await client.ttl(keys.redo(SITE.id))
    assert life > 23 * 3600
    await commit(committer, 2, batch, numbering(moment))
    ends = [end for _, _, end in (await contents(client)).values() if end >= 0]
    assert len(ends) == 10, "of both days: presences (yesterday's are written, too), hours, sketches, what is taken"
    assert moment + 1000 * life < min(ends)


@pytest.mark.parametrize("sequence", [1, 2, 9])
async def test_it_is_finished_by_whoever_comes(real: tuple[Committer, Redis], sequence: int) -> None:
    """Also by a record that the ledger has, and by one that comes too early: neither writes anything of its own."""
    committer, client = real
    await commit(committer, 2, full_batch())
    await put_down(committer, Work(OTHER_WRITER, 1, 0, batch_of((NOON, "Dũng", "/a")), numbering()))
    result = await commit_one(committer, sequence, batch_of((NOON, "Én", "/a"), previous=sequence - 1))
    assert result == Gap(2) if sequence > 3 else isinstance(result, Committed)
    assert await counted(client) == (FULL_VISITS + 1, FULL_VIEWS + 1)
    assert not await client.exists(keys.redo(SITE.id))


async def test_a_persons_change_finishes_it_too(real: tuple[Committer, Redis]) -> None:
    """A merge of two articles that are known only by what was put down."""
    committer, client = real
    await put_down(committer, Work(OTHER_WRITER, 1, 0, batch_of((NOON, "An", "/a"), (NOON, "An", "/b")), numbering()))
    change = merging(SITE.id, "change-1", Change("merge", NOON, "an", "", "/a", "/b", ""))
    result = await commit_one(committer, 1, change)
    assert isinstance(result, Changed)
    assert (result.word, result.reason) == ("ok", "")
    assert await client.hgetall(keys.articles(SITE.id)) == {article_id("/b"): b"2"}


async def test_putting_down_the_same_record_again_changes_nothing(real: tuple[Committer, Redis]) -> None:
    """A connection that was lost behind the first step: the writer sends both again."""
    committer, client = real
    work = Work(WRITER, 1, 0, full_batch(), numbering())
    for n in range(3):
        reply = await put_down(committer, work)
        assert reply[0] == (b"seen" if n else b"ok")
    assert await counted(client) == (FULL_VISITS, FULL_VIEWS)
    assert await mark(client) == b"1:5"
    assert not await client.exists(keys.redo(SITE.id))
    assert (DAY.end_ms + 25 * 60 * MINUTE) == await client.pexpiretime(keys.seen(SITE.id, DAY.date))
