"""What an article is called: readers' words are weighed by their networks, and a stranger changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.writing import CALENDAR, DAY, MINUTE, NOON, SITE, Writer, gather
from visitstats.core import entries
from visitstats.core.batch import Gathering, Said, State
from visitstats.core.entries import MAX_BYTES, MOST_CLAIMS, Claim, Entry, claims_in, decode, fitting
from visitstats.core.keys import article_id
from visitstats.store import keys
from visitstats.store.commit import Committed

REAL = Entry("/a", "Sở thông tin", "https://portal.vn/tin/a", "An", "Tin tức", "2036-11-20")
FALSE = Entry("/a", "Hacked", "https://evil.example/", "Mallory", "Ads", "1999-01-01")
HOUR = 60 * MINUTE


@pytest_asyncio.fixture
async def writer(redis_url: str) -> AsyncIterator[Writer]:
    found = Writer(redis_url)
    yield found
    await found.close()


async def say(
    writer: Writer, says: Entry, *networks: str, at: int = NOON, said: Said = Said.STRANGER, hit_id: str = ""
) -> Committed:
    """Readers of these networks open the page, a batch each."""
    result = None
    for network in networks:
        day = CALENDAR.day_at(at)
        waiting = Gathering(writer.site, day)
        gather(waiting, at, f"reader of {network}", says.key, hit_id, says=says, network=network, said=said)
        result = await writer.count(waiting)
    assert result is not None
    return result


async def known(raw: Redis, key: str = "/a") -> Entry:
    found: Any = await raw.hget(keys.names(SITE.id), article_id(key))
    return decode(found)


async def claims(raw: Redis, key: str = "/a", day: str = DAY.date) -> list[Claim]:
    found: Any = await raw.hget(keys.claims(SITE.id, day), article_id(key))
    return claims_in(found) if found else []


def facts(entry: Entry) -> tuple[str, ...]:
    return tuple(getattr(entry, fact) for fact in entries.FACTS)


async def agreed_on(writer: Writer, entry: Entry) -> None:
    """The article is known and agreed on."""
    await say(writer, entry, "one", "two", "three")
    await say(writer, entry, "one", at=NOON + 11 * MINUTE)


async def agreed(writer: Writer) -> None:
    await agreed_on(writer, REAL)


async def test_the_first_word_is_taken_provisionally(writer: Writer, raw: Redis) -> None:
    result = await say(writer, REAL, "one")
    entry = await known(raw)
    assert facts(entry) == facts(REAL)
    assert entry.standing("author") == "p"
    assert entry.standing("url") == "p"
    assert result.states == (State.OPEN,), "it matters what others say"


async def test_what_several_networks_say_over_some_time_is_agreed(writer: Writer, raw: Redis) -> None:
    await say(writer, REAL, "one", "two", "three")
    assert (await known(raw)).standing("title") == "p", "at one moment"
    result = await say(writer, REAL, "one", at=NOON + 11 * MINUTE)
    assert {(await known(raw)).standing(fact) for fact in ("title", "author", "category", "published")} == {"a"}
    assert result.states == (State.SETTLED,)


@pytest.mark.parametrize("many", [1, 200])
async def test_one_network_changes_nothing_that_is_agreed(writer: Writer, raw: Redis, many: int) -> None:
    """However often it says so, and for however long; an editor sees it as one voice."""
    await agreed(writer)
    for n in range(many):
        await say(writer, FALSE, "mallory", at=NOON + HOUR + n * MINUTE // 2)
    assert facts(await known(raw)) == facts(REAL)
    assert {(claim.value, claim.voices) for claim in await claims(raw) if claim.value} == {
        (value, 1) for value in facts(FALSE)
    }


async def test_a_wrong_first_word_gives_way_to_the_readers(writer: Writer, raw: Redis) -> None:
    """A stranger who opens an article first names it for as long as it takes two others to read it."""
    await say(writer, FALSE, "mallory")
    await say(writer, REAL, "one")
    await say(writer, REAL, "two")
    entry = await known(raw)
    assert (entry.title, entry.author, entry.published) == (REAL.title, REAL.author, REAL.published)
    assert entry.standing("title") == "p"
    await say(writer, REAL, "three", at=NOON + 11 * MINUTE)
    assert (await known(raw)).standing("title") == "a"
    for n in range(9):
        await say(writer, FALSE, "mallory", at=NOON + 12 * MINUTE + n)
    assert (await known(raw)).title == REAL.title


async def test_the_network_that_named_an_article_may_correct_itself(writer: Writer, raw: Redis) -> None:
    """An editor opens the page, corrects its title and opens it again; nobody else has read it."""
    await say(writer, Entry("/a", "Draft", author="An"), "office")
    await say(writer, Entry("/a", "Final", author="An"), "office")
    assert (await known(raw)).title == "Final"


async def test_a_real_renaming_is_taken_after_hours(writer: Writer, raw: Redis) -> None:
    """What five networks say over three hours, while nobody says the old title any more."""
    await agreed(writer)
    renamed = msgspec.structs.replace(REAL, title="Tiêu đề mới")
    await say(writer, renamed, "one", "two", "three", "four", "five", at=NOON + HOUR)
    assert (await known(raw)).title == REAL.title
    await say(writer, renamed, "six", at=NOON + 5 * HOUR)
    entry = await known(raw)
    assert (entry.title, entry.standing("title"), entry.author) == ("Tiêu đề mới", "a", "An")


async def test_while_readers_say_the_present_title_no_crowd_of_strangers_replaces_it(
    writer: Writer, raw: Redis
) -> None:
    await agreed(writer)
    for hour in range(1, 8):
        for n in range(5):
            await say(writer, FALSE, f"bot {n}", at=NOON + hour * HOUR)
            await say(writer, REAL, f"reader {n}", at=NOON + hour * HOUR + 1)
    assert facts(await known(raw)) == facts(REAL)


async def test_a_network_has_one_voice_for_a_fact(writer: Writer, raw: Redis) -> None:
    """Its last: ten titles of one network are one claim, and leave room for others'."""
    await agreed(writer)
    for n in range(10):
        await say(writer, Entry("/a", f"Title {n}"), "mallory", at=NOON + HOUR)
    assert [claim.value for claim in await claims(raw) if claim.value] == ["Title 9"]


async def test_the_list_of_claims_is_short(writer: Writer, raw: Redis) -> None:
    """Of many strangers, too; one of which more networks speak keeps its place among those of one."""
    await agreed(writer)
    await say(writer, Entry("/a", "Renamed"), "two", "three", at=NOON + HOUR)
    for n in range(3 * MOST_CLAIMS):
        await say(writer, Entry("/a", f"{n} {'x' * 250}"), f"bot {n}", at=NOON + HOUR + n)
    found: Any = await raw.hget(keys.claims(SITE.id, DAY.date), article_id("/a"))
    assert len(found) <= 1024 + 32
    assert "Renamed" in {claim.value for claim in await claims(raw)}


async def test_claims_are_kept_of_so_many_articles_a_day(
    redis_url: str, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond that, what an article is called stays."""
    monkeypatch.setattr(entries, "MOST_CLAIMED", 2)
    few = Writer(redis_url)
    for n in range(5):
        real, false = Entry(f"/{n}", "Real"), Entry(f"/{n}", "False")
        await say(few, real, "one")
        await say(few, false, "two", "three")
    assert await raw.hlen(keys.claims(SITE.id, DAY.date)) == 2
    assert [(await known(raw, f"/{n}")).title for n in range(5)] == ["False", "False", "Real", "Real", "Real"]
    await few.close()


@pytest.mark.parametrize("standing", ["s", "e", "i"])
async def test_what_is_signed_set_or_imported_gives_way_to_no_reader(writer: Writer, raw: Redis, standing: str) -> None:
    await say(writer, REAL, "one")
    kept = msgspec.structs.replace(await known(raw), standings=standing * 5 if standing != "i" else "")
    await raw.hset(keys.names(SITE.id), article_id("/a"), entries.encode(kept))
    for hour in range(1, 9):
        await say(writer, FALSE, *(f"bot {n}" for n in range(8)), at=NOON + hour * HOUR)
    entry = await known(raw)
    assert (entry.title, entry.author) == (REAL.title, REAL.author)
    assert [claim.voices for claim in await claims(raw) if claim.value == "Hacked"] == [8], "an editor sees it"


async def test_the_portals_signature_names_at_once(writer: Writer, raw: Redis) -> None:
    """Whatever readers agree on; but not what an editor has set."""
    await agreed(writer)
    await say(writer, msgspec.structs.replace(REAL, title="Signed"), "portal", said=Said.SIGNED)
    entry = await known(raw)
    assert (entry.title, entry.standing("title")) == ("Signed", "s")
    await raw.hset(
        keys.names(SITE.id), article_id("/a"), entries.encode(msgspec.structs.replace(entry, standings="essss"))
    )
    result = await say(writer, msgspec.structs.replace(REAL, title="Again"), "portal", said=Said.SIGNED)
    assert (await known(raw)).title == "Signed"
    assert result.states == (State.SETTLED,)


async def test_what_is_not_counted_says_nothing(writer: Writer, raw: Redis) -> None:
    """A page load that arrives twice, at once or later, and with other words the second time."""
    await say(writer, REAL, "one", hit_id="the same")
    for later in (1, 5 * MINUTE):
        await say(writer, FALSE, "mallory", at=NOON + later, hit_id="the same")
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/b", "twice", says=Entry("/b", "Real"), network="one")
    gather(waiting, NOON, "An", "/b", "twice", says=Entry("/b", "False"), network="two")
    gather(waiting, NOON, "An", "/c", "twice", says=Entry("/c", "Not counted"), network="two")
    await writer.count(waiting)
    assert (await known(raw), (await known(raw, "/b")).title) == (await known(raw), "Real")
    assert facts(await known(raw)) == facts(REAL)
    assert await claims(raw) == []
    assert await raw.hget(keys.names(SITE.id), article_id("/c")) is None


async def test_the_article_of_hits_beyond_the_cap_keeps_its_name(writer: Writer, raw: Redis) -> None:
    """ "(other)" keeps its name, whoever gives it as the key of a page."""
    await say(writer, Entry("(other)", "Hacked", author="Mallory"), "one")
    assert facts(await known(raw, "(other)")) == ("",) * 5


async def test_the_address_that_is_shown_as_a_link_is_a_fact_too(writer: Writer, raw: Redis) -> None:
    """Also when it is the key's own, which is not written down."""
    plain = Entry("/a", "Title", entries.AS_KEY)
    await agreed_on(writer, plain)
    assert ((await known(raw)).url, (await known(raw)).standing("url")) == ("", "a")
    moved = Entry("/a", "Title", "https://portal.vn/login?next=/a")
    await say(writer, moved, "mallory", at=NOON + HOUR)
    assert (await known(raw)).url == ""
    await say(writer, moved, *"abcdef", at=NOON + HOUR)
    await say(writer, moved, "a", at=NOON + 5 * HOUR)
    assert (await known(raw)).url == moved.url
    await say(writer, plain, *"abcdefg", at=NOON + 6 * HOUR)
    await say(writer, plain, "g", at=NOON + 10 * HOUR)
    assert (await known(raw)).url == ""


async def test_a_picture_says_nothing_of_the_title(writer: Writer, raw: Redis) -> None:
    await say(writer, REAL, "one")
    await say(writer, Entry("/a"), "two")
    assert facts(await known(raw)) == facts(REAL)


async def test_a_replay_names_articles_alike(writer: Writer, raw: Redis, redis_url: str) -> None:
    """The same records in the order of their moments, in a store that has lost everything, or the last of them."""
    batches = []

    async def course(writer: Writer) -> None:
        await say(writer, FALSE, "mallory")
        await agreed(writer)
        for hour in range(1, 6):
            await say(writer, msgspec.structs.replace(REAL, author="Bình"), *"abcdef", at=NOON + hour * HOUR)

    await course(writer)
    first = await known(raw), await claims(raw)
    batches.append(first)
    await raw.flushall()
    other = Writer(redis_url)
    await course(other)
    assert (await known(raw), await claims(raw)) == first
    assert first[0].author == "Bình"
    await other.close()


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\xc1", b"\x91\x01", b"\x91\x94\x01\x02\x03\x04", b"\x93\xa1a\xa1b\xa1c", b"\x81\x01\x02", b"text"],
)
async def test_damaged_claims_do_not_block_a_batch(writer: Writer, raw: Redis, damaged: bytes) -> None:
    """Nor a damaged record of what the day holds: what can be read of them counts."""
    await agreed(writer)
    await raw.hset(keys.claims(SITE.id, DAY.date), article_id("/a"), damaged)
    await raw.hset(keys.taken(SITE.id, DAY.date), "#", damaged)
    await say(writer, FALSE, "mallory", at=NOON + HOUR)
    assert facts(await known(raw)) == facts(REAL)
    assert {claim.value for claim in await claims(raw) if claim.value} == set(facts(FALSE))


async def test_whatever_is_said_an_entry_takes_at_most_a_kilobyte(writer: Writer, raw: Redis) -> None:
    """The longest of each text, in letters of three bytes, with the longest key; and of several who differ."""
    key = "/" + "k" * 511
    for n, length in enumerate((4000, 200)):
        long = fitting(Entry(key[: 512 - 300 * n], "ữ" * length, "u" * 600 * n, "ữ" * 120, "ữ" * 120, "2036-11-20"))
        assert len(entries.encode(long)) <= MAX_BYTES
        await say(writer, long, "one")
        stored: Any = await raw.hget(keys.names(SITE.id), article_id(long.key))
        assert len(stored) <= MAX_BYTES
    mixed = Entry("/m", "ữ" * 100, "", "ữ" * 33, "ữ" * 33, "")
    await say(writer, fitting(mixed), "one")
    await say(writer, fitting(Entry("/m", "x", "u" * 840)), "two", "three")
    stored = await raw.hget(keys.names(SITE.id), article_id("/m"))
    assert len(stored) <= MAX_BYTES
    usage: Any = await raw.memory_usage(keys.names(SITE.id), samples=0)
    assert usage <= 3 * 1024 + 200


def test_an_entry_is_cut_between_letters() -> None:
    entry = fitting(Entry("/a", "ữ" * 200, author="Nguyễn Văn An " * 20))
    assert entry.title == "ữ" * 100
    assert len(entry.author.encode()) <= 100
    assert fitting(REAL) == REAL
