"""Key names are frozen, each ledger of a site is one hash slot, and nothing outlives its purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.crc import key_slot

from tests.store.writing import (
    CALENDAR,
    DAY,
    MINUTE,
    NOON,
    SITE,
    WRITER,
    beat,
    commit,
    gather,
    names_in,
    numbering,
    token,
)
from visitstats.core.batch import Gathering
from visitstats.core.counting import ONLINE_MS
from visitstats.core.entries import Entry, encode
from visitstats.core.keys import KeyRules, article_id
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.merges import Merges
from visitstats.patterns import linear_pattern
from visitstats.store import keys
from visitstats.store.commit import Committer, Work
from visitstats.store.reads import Reads
from visitstats.store.records import AccessToken, Records
from visitstats.store.upkeep import Upkeep

HOUR_S = 3600
TITLE = "Quy định mới về cải cách thủ tục hành chính trên địa bàn tỉnh"
DAY_S = 24 * HOUR_S


@pytest_asyncio.fixture
async def committer(redis_url: str) -> AsyncIterator[Committer]:
    committer = Committer(redis_url, WRITER)
    yield committer
    await committer.close()


def test_names_and_times_to_live_are_frozen() -> None:
    """Later versions find the counts of this one under these names."""
    end = DAY.end_ms // 1000
    assert {
        name: getattr(keys, name)("portal", *more)
        for name, more in {
            "salt": (DAY.date, DAY.end_ms),
            "seen": (DAY.date, DAY.end_ms),
            "hit_ids": (1_000_000,),
            "unique": (DAY.date, DAY.end_ms, 7),
            "ignored": (DAY.date, DAY.end_ms),
            "visits": (),
            "uniques": (),
            "peaks": (),
            "lease": ("prune",),
            "audience_watermark": (WRITER,),
            "articles_watermark": (WRITER,),
            "views": (),
            "top_all": (),
            "top_month": (DAY.month,),
            "top_week": (DAY.week[0], DAY.end_ms),
            "top_day": (DAY.date, DAY.end_ms),
            "names": (),
            "base": (),
            "aliases": (),
            "changes": (),
            "top": ("w2036-11-24",),
            "read": (DAY.date, 24),
        }.items()
    } == {
        "salt": ("vs:{portal:who}:salt:2036-11-24", end + 2 * DAY_S),
        "seen": ("vs:{portal:who}:seen:2036-11-24", end + 2 * DAY_S),
        "hit_ids": ("vs:{portal:who}:hits:1000000", 1_000_004 * 1800),
        "unique": ("vs:{portal:who}:unique:2036-11-24:7", end + 40 * DAY_S),
        "ignored": ("vs:{portal:who}:ignored:2036-11-24", end + 400 * DAY_S),
        "visits": "vs:{portal:who}:visits",
        "uniques": "vs:{portal:who}:uniques",
        "peaks": "vs:{portal:who}:peaks",
        "lease": "vs:{portal:who}:lease:prune",
        "audience_watermark": f"vs:{{portal:who}}:writer:{WRITER}",
        "articles_watermark": f"vs:{{portal:what}}:writer:{WRITER}",
        "views": "vs:{portal:what}:views",
        "top_all": "vs:{portal:what}:top:all",
        "top_month": "vs:{portal:what}:top:2036-11",
        "top_week": ("vs:{portal:what}:top:w2036-11-24", end + (7 + 62) * DAY_S),
        "top_day": ("vs:{portal:what}:top:2036-11-24", end + 62 * DAY_S),
        "names": "vs:{portal:what}:names",
        "base": "vs:{portal:what}:base",
        "aliases": "vs:{portal:what}:aliases",
        "changes": "vs:{portal:what}:changes",
        "top": "vs:{portal:what}:top:w2036-11-24",
        "read": "vs:{portal:what}:read:2036-11-24:24",
    }
    assert (keys.SITES, keys.SITES_VERSION, keys.TOKENS) == ("vs:sites", "vs:sites:version", "vs:tokens")
    assert keys.SITES_ALIASES == "vs:sites:aliases"


def test_a_days_list_and_a_months_list_cannot_be_taken_for_each_other() -> None:
    assert keys.PERMANENT.fullmatch(keys.top_month("portal", "2036-11"))
    assert not keys.PERMANENT.fullmatch(keys.top_day("portal", "2036-11-24", 0).name)
    assert not keys.PERMANENT.fullmatch(keys.top_week("portal", "2036-11-24", 0).name)


async def busy(url: str, committer: Committer) -> None:
    """A store in which everything was used that this version can do."""
    async with Redis.from_url(url) as client:
        records, upkeep, reads = Records(client), Upkeep(client), Reads(client)
        await records.put_site(SITE)
        await records.put_token("0" * 64, AccessToken(name="n", scope="viewer"))
        await records.salt(SITE.id, DAY, bytes(32))
        await records.set_baseline(SITE.id, 1000, {Entry("/a", "Old"): 500})
        sequence = 0
        for day in (CALENDAR.day_named(DAY.yesterday), DAY):
            for moment in (day.start_ms + 1, day.start_ms + 45 * MINUTE, day.end_ms - 1):
                for site in (SITE, Site(id=SITE.id, hosts=SITE.hosts, views="every-load", max_articles=3)):
                    waiting = Gathering(site, day)
                    for n in range(6):
                        gather(waiting, moment, f"person {n}", f"/{n}", f"id {moment} {n}")
                    waiting.ignored["bot"] = 1
                    previous, sequence = sequence, sequence + 1
                    await commit(committer, sequence, waiting.close(previous, moment), numbering(moment))
                await beat(committer, SITE, CALENDAR, moment + 1 * (moment < day.end_ms - 1), ["person 1", "stranger"])
        await beat(committer, SITE, CALENDAR, DAY.end_ms + 10, ["person 1"])
        await upkeep.lease(SITE.id, "prune", 60)
        await upkeep.close_uniques(SITE.id, DAY)
        await upkeep.note_peak(SITE.id, DAY, 6)
        await reads.top(SITE.id, DAY, "all", 10)
        merges = Merges(records.changes, SITE.id, KeyRules(SITE, linear_pattern), lambda: NOON)
        await merges.undo((await merges.merge("/0", "/1", "an")).id, "an")
        await merges.merge("/0", "/1", "an")


async def test_every_key_of_a_used_store_is_permanent_or_expires(
    redis_url: str, committer: Committer, raw: Redis
) -> None:
    await busy(redis_url, committer)
    used = await names_in(raw)
    for name in used:
        expires = await raw.expiretime(name)
        assert (expires == -1) == bool(keys.PERMANENT.fullmatch(name)), name
    kinds = {name.split(":", 3)[-1].split(":")[0] for name in used if "{" in name}
    assert kinds >= set("seen hits visits unique ignored writer views top names base read aliases changes".split())


async def test_nothing_that_belongs_to_a_visitor_outlives_the_salt(
    redis_url: str, committer: Committer, raw: Redis
) -> None:
    """Rule 2. The unique visitors of a day are sketches, out of which no token can be read."""
    await busy(redis_url, committer)
    for name in await names_in(raw):
        if any(word in name for word in (":salt:", ":seen:", ":hits:", ":read:")):
            day_end = next((d.end_ms for d in days() if d.date in name), DAY.end_ms)
            assert 0 < await raw.expiretime(name) <= day_end // 1000 + 2 * DAY_S, name


def days() -> Iterator[Day]:
    yield from (CALENDAR.day_named(name) for name in (DAY.yesterday, DAY.date, DAY.tomorrow))


async def test_the_moments_of_expiry_are_those_that_were_asked_for(committer: Committer, raw: Redis) -> None:
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a", "id")
    waiting.ignored["bot"] = 1
    await commit(committer, 1, waiting.close(0, NOON))
    end, noon = DAY.end_ms // 1000, NOON // 1000
    assert {
        name.split("}:")[1]: await raw.expiretime(name)
        for name in await names_in(raw)
        if await raw.expiretime(name) != -1 and ":writer:" not in name
    } == {
        "seen:2036-11-24": end + 2 * DAY_S,
        f"hits:{noon // 1800}": noon + 2 * HOUR_S,
        f"unique:2036-11-24:{token(SITE, DAY.date, 'An')[0] % 8}": end + 40 * DAY_S,
        "ignored:2036-11-24": end + 400 * DAY_S,
        "top:2036-11-24": end + 62 * DAY_S,
        "top:w2036-11-24": end + 69 * DAY_S,
        "read:2036-11-24:24": noon + 7 * HOUR_S,
    }
    for name in (keys.audience_watermark(SITE.id, WRITER), keys.articles_watermark(SITE.id, WRITER)):
        assert 60 * DAY_S - 60 < await raw.ttl(name) <= 60 * DAY_S


async def test_a_batch_that_comes_a_week_late_is_not_expired_before_the_next(committer: Committer, raw: Redis) -> None:
    """A key whose time is past when it is written would be gone at once, and the next batch would count anew."""
    week_late = numbering(NOON + 7 * DAY_S * 1000)
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a", "id")
    await commit(committer, 1, waiting.close(0, NOON), week_late)
    for name in await names_in(raw):
        expires = await raw.expiretime(name)
        assert expires == -1 or ":writer:" in name or expires >= week_late.now_ms // 1000 + HOUR_S, name


@pytest.mark.parametrize("site", ["portal", "a", "who", "what", "x-1"])
def test_each_ledger_of_a_site_is_one_hash_slot(site: str) -> None:
    """A script of a cluster may use the keys of one slot only."""
    who = [
        keys.salt(site, "d", 0).name, keys.seen(site, "d", 0).name, keys.hit_ids(site, 1).name,
        keys.unique(site, "d", 0, 7).name, keys.ignored(site, "d", 0).name, keys.visits(site), keys.uniques(site),
        keys.peaks(site), keys.lease(site, "j"), keys.audience_watermark(site, WRITER),
    ]  # fmt: skip
    what = [
        keys.articles_watermark(site, WRITER), keys.views(site), keys.top_all(site), keys.top_month(site, "m"),
        keys.top_week(site, "d", 0).name, keys.top_day(site, "d", 0).name, keys.names(site), keys.base(site),
        keys.aliases(site), keys.changes(site), keys.top(site, "all"), keys.read(site, "d", 1),
    ]  # fmt: skip
    assert len({key_slot(name.encode()) for name in who}) == 1
    assert len({key_slot(name.encode()) for name in what}) == 1


async def test_every_script_call_names_keys_of_one_slot(committer: Committer) -> None:
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a", "id")
    batch = waiting.close(0, NOON)
    for _, names, _ in (
        committer._audience(Work(1, 0, batch, numbering())),
        committer._articles(Work(1, 0, batch, numbering()), b"\x00\x18\x2f"),
    ):
        assert len({key_slot(name.encode()) for name in names}) == 1


# Size (design section 10) ---------------------------------------------------------------------------------------------


async def bytes_of(raw: Redis, *names: str) -> int:
    """What keys take on Valkey, for which the goals are set; Redis before 8 takes half as much again."""
    server: dict[str, object] = await raw.info("server")
    if "valkey_version" not in server:
        pytest.skip("the goals are those for Valkey")
    sizes = [await raw.memory_usage(name, samples=0) for name in names]
    assert all(sizes)
    return sum(size or 0 for size in sizes)


async def test_an_online_visitor_takes_at_most_130_bytes(committer: Committer, raw: Redis) -> None:
    """A reading and a hit id are kept longer than a visitor is online; they are bounded apart."""
    people = 20_000
    for sequence in range(1, people // 1000 + 1):
        waiting = Gathering(SITE, DAY)
        for n in range(1000):
            gather(waiting, NOON + n, f"person {sequence} {n}", f"/{n % 50}", f"id {sequence} {n}")
        await commit(committer, sequence, waiting.close(sequence - 1, NOON))
    assert (await Reads(raw).counts(SITE.id, DAY, NOON + ONLINE_MS - 1)).online == people
    presence = await bytes_of(raw, keys.seen(SITE.id, DAY.date, DAY.end_ms).name) / people
    reading = await bytes_of(raw, keys.read(SITE.id, DAY.date, 24)) / people
    hit_id = await bytes_of(raw, keys.hit_ids(SITE.id, NOON // (30 * MINUTE)).name) / people
    print(f"bytes per visitor: presence {presence:.1f}, reading {reading:.1f}, hit id {hit_id:.1f}")  # noqa: T201
    assert presence <= 130
    assert max(reading, hit_id) <= 80


async def test_an_article_takes_at_most_300_bytes_for_its_count_and_its_name(committer: Committer, raw: Redis) -> None:
    articles = 20_000
    for sequence in range(1, articles // 1000 + 1):
        waiting = Gathering(SITE, DAY)
        for n in range(1000):
            number = sequence * 1000 + n
            key = f"/tin-tuc/quy-dinh-moi-ve-cai-cach-hanh-chinh-{number}.html"
            waiting.add(
                NOON, b"token--1", b"token--1", b"", b"", article_id(key), encode(Entry(key, TITLE, "", "Văn phòng"))
            )
        await commit(committer, sequence, waiting.close(sequence - 1, NOON))
    assert await Reads(raw).article_count(SITE.id) == articles
    counts = await bytes_of(raw, keys.top_all(SITE.id))
    names = await bytes_of(raw, keys.names(SITE.id))
    print(f"bytes per article: count {counts / articles:.1f}, dictionary {names / articles:.1f}")  # noqa: T201
    assert (counts + names) / articles <= 300
