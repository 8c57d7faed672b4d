"""Sites, tokens and baselines are kept as they were given; a salt is drawn once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.writing import DAY, NOON, SITE, Writer, commit_one
from visitstats.changes.baselines import Baselines
from visitstats.core.counting import NUMBERS_BASELINE
from visitstats.core.entries import Entry
from visitstats.core.errors import InvalidSite, NotFound, StoreUnavailable
from visitstats.core.keys import article_id
from visitstats.core.numbers import sum_up
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.change_records import setting_baselines
from visitstats.store.changes import Changes
from visitstats.store.commit import Changed
from visitstats.store.reads import Reads
from visitstats.store.records import AccessToken, Records, Sites

WHOLE = Site(
    id="whole",
    name="Cổng thông tin",
    hosts=("toan-bo.vn", "cu.toan-bo.vn"),
    timezone="America/New_York",
    week_start=7,
    box="views",
    views="every-load",
    use_canonical=True,
    ignore_case=True,
    id_params=("ItemID",),
    extra_drop_params=("x",),
    hash_routes=True,
    preset=("press", "nukeviet"),
    rules=((r"^/a/(\d+)", r"a:\1"),),
    null_origin="allow",
    archived=True,
    missing_origin="refuse",
    shared_hosts=False,
    max_articles=5,
)


async def test_a_site_is_read_as_it_was_put(raw: Redis) -> None:
    records = Records(raw)
    assert await records.sites() == {}
    await records.put_site(SITE)
    await records.put_site(WHOLE)
    assert await records.sites() == {SITE.id: SITE, WHOLE.id: WHOLE}
    await records.remove_site(SITE.id, 0)
    assert await records.sites() == {WHOLE.id: WHOLE}


async def test_a_host_is_for_one_site_alone_when_that_says_so(raw: Redis) -> None:
    records = Records(raw)
    own = msgspec.structs.replace(SITE, shared_hosts=False)
    await records.put_site(own)
    await records.put_site(own)  # its own hosts are no obstacle to a change
    taken = Site(id="taken", hosts=("new.vn", *SITE.hosts))
    version = await records.sites_version()
    with pytest.raises(InvalidSite, match=r"portal\.vn is a host of site portal already"):
        await records.put_site(taken)
    assert await records.sites() == {SITE.id: own}
    assert await records.sites_version() == version
    await records.put_site(SITE)
    await records.put_site(Site(id="shared", hosts=SITE.hosts))
    assert set(await records.sites()) == {SITE.id, "shared"}


async def test_of_two_sites_that_take_a_host_at_the_same_moment_one_has_it(redis_url: str, raw: Redis) -> None:
    clients = [Redis.from_url(redis_url) for _ in range(6)]
    try:
        results = await asyncio.gather(
            *(
                Records(client).put_site(Site(id=f"s{n}", hosts=("one.vn",), shared_hosts=False))
                for n, client in enumerate(clients)
            ),
            return_exceptions=True,
        )
    finally:
        for client in clients:
            await client.aclose()
    assert sorted(str(type(result).__name__) for result in results) == ["InvalidSite"] * 5 + ["NoneType"]
    assert len(await Records(raw).sites()) == 1


async def test_a_site_whose_rules_cannot_be_applied_is_not_kept(raw: Redis) -> None:
    await Records(raw).put_site(SITE)
    version = await Records(raw).sites_version()
    with pytest.raises(InvalidSite, match="rule 1: missing"):
        await Records(raw).put_site(Site(id=SITE.id, hosts=SITE.hosts, rules=(("(", "x"),)))
    assert (await Records(raw).sites(), await Records(raw).sites_version()) == ({SITE.id: SITE}, version)


async def test_a_removed_sites_counts_stay(redis_url: str, raw: Redis) -> None:
    writer = Writer(redis_url)
    await writer.read(DAY, (NOON, "An", "/a"))
    await writer.close()
    await Records(raw).put_site(SITE)
    await Records(raw).remove_site(SITE.id, 0)
    assert (await Reads(raw).counts(SITE.id, DAY, NOON)).visits[-2] == 1


async def test_a_site_that_is_not_there_cannot_be_removed(raw: Redis) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await Records(raw).remove_site("nobody", 0)


async def test_every_change_of_a_site_is_seen_in_the_version_even_by_who_knows_a_lost_future(raw: Redis) -> None:
    """A store that came back older must not give its next change the version of one that was lost."""
    records = Records(raw)
    versions = [await records.sites_version()]
    for _ in range(2):
        await records.put_site(SITE)
        versions.append(await records.sites_version())
        await records.remove_site(SITE.id, 0)
        versions.append(await records.sites_version())
        await raw.flushall()
    assert len(set(versions)) == len(versions) == 5
    assert versions[0] == b""


@pytest.mark.parametrize("record", [b"", b"[]", b'{"id":"x"}', b'{"id":"x","hosts":["a.vn"],"timezone":"No/Where"}'])
async def test_a_damaged_site_record_is_said(raw: Redis, record: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Once, and it hides no other site; a new one may be made beside it."""
    records = Records(raw)
    await records.put_site(SITE)
    await raw.hset(keys.SITES, "x", record)
    for _ in range(2):
        assert await records.listing() == Sites({SITE.id: SITE}, frozenset({"x"}))
    await records.put_site(WHOLE)
    assert await records.sites() == {SITE.id: SITE, WHOLE.id: WHOLE}
    assert caplog.text.count("the record of site 'x' in the store is damaged") == 1


async def test_all_workers_have_one_salt_however_many_propose(redis_url: str, raw: Redis) -> None:
    async with Redis.from_url(redis_url) as other:
        salts = await asyncio.gather(
            *(Records(client).salt("s", DAY, bytes([n]) * 32) for n, client in enumerate([raw, other] * 5))
        )
    assert len(set(salts)) == 1
    assert await Records(raw).salt("s", DAY, b"x" * 32) == salts[0]
    assert await Records(raw).salt("t", DAY, b"x" * 32) == b"x" * 32


async def test_a_salt_that_is_past_its_life_is_not_made_again(raw: Redis) -> None:
    """Rule 2: with a new salt an old day's visitors would all be new ones."""
    old = Calendar("UTC").day_named("2020-01-01")
    with pytest.raises(StoreUnavailable, match="48 hours"):
        await Records(raw).salt("s", old, bytes(32))
    assert await raw.keys() == []


async def test_a_token_is_known_by_its_digest_until_it_is_revoked(raw: Redis) -> None:
    records, token = Records(raw), AccessToken(name="Phòng tin", scope="viewer", site="s", created="2026-11-24")
    await records.put_token("0" * 64, token)
    assert await records.token("0" * 64) == token
    assert await records.token("1" * 64) is None
    assert (await records.tokens()).good == {"0" * 64: token}
    await records.remove_token("0" * 64)
    assert await records.token("0" * 64) is None


# Baselines ------------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def writer(redis_url: str) -> AsyncIterator[Writer]:
    found = Writer(redis_url)
    yield found
    await found.close()


async def set_baselines(raw: Redis, writer: Writer, total: int | None, articles: dict[Entry, int]) -> None:
    await Baselines(Changes(raw), writer, SITE.id).set(total, articles)


async def test_baselines_are_added_to_what_was_counted_before_and_after(writer: Writer, raw: Redis) -> None:
    """Rule 7: total = baseline + counted."""
    reads = Reads(raw)
    await writer.read(DAY, (NOON, "An", "/a"), (NOON, "Bình", "/a"), (NOON, "An", "/new"))
    for _ in range(2):
        await set_baselines(raw, writer, 1_000_000, {Entry("/a", "Old title"): 822, Entry("/gone", "Gone"): 5})
        assert await reads.views(SITE.id, ["/a", "/gone", "/new"]) == {"/a": 824, "/gone": 5, "/new": 1}
    result = await writer.read(DAY, (NOON, "Chi", "/a"))
    assert result.articles == (825,)
    found = await reads.counts(SITE.id, DAY, NOON)
    assert sum_up(DAY, 0, found.visits).total == 1_000_003
    assert sum_up(DAY, 0, found.views).total == 4 + 822 + 5
    assert await reads.views_of(SITE.id, [article_id("/a"), article_id("/gone")], [DAY.date]) == [3, 0]
    assert [each.title for each in await reads.entries(SITE.id, [article_id("/gone")])] == ["Gone"]


async def test_a_baseline_that_is_corrected_takes_the_old_ones_place(writer: Writer, raw: Redis) -> None:
    for count in (822, 800, 0):
        await set_baselines(raw, writer, count, {Entry("/a"): count})
        assert await Reads(raw).views(SITE.id, ["/a"]) == {"/a": count}
        assert await raw.hget(*keys.count_at(SITE.id, "views", NUMBERS_BASELINE)) == str(count).encode()


async def test_baselines_of_any_number_of_articles(writer: Writer, raw: Redis) -> None:
    """Lua hands over some 8,000 values at most; a portal has more articles than that."""
    articles = {Entry(f"/{n}", "T"): n for n in range(9_001)}
    await set_baselines(raw, writer, 0, articles)
    assert await Reads(raw).article_count(SITE.id) == 9_001
    assert await Reads(raw).views(SITE.id, ["/0", "/1", "/9000"]) == {"/0": 0, "/1": 1, "/9000": 9000}
    assert int(await raw.hget(*keys.count_at(SITE.id, "views", NUMBERS_BASELINE)) or 0) == sum(articles.values())


async def test_an_article_that_comes_twice_has_its_last_baseline(writer: Writer, raw: Redis) -> None:
    await set_baselines(raw, writer, 0, {Entry("/a", "First"): 5, Entry("/a", "Second"): 7})
    assert await Reads(raw).views(SITE.id, ["/a"]) == {"/a": 7}
    assert await raw.hget(*keys.count_at(SITE.id, "views", NUMBERS_BASELINE)) == b"7"


async def test_an_empty_list_of_baselines_sets_the_total_and_none_leaves_it(writer: Writer, raw: Redis) -> None:
    await set_baselines(raw, writer, 4711, {})
    assert sum_up(DAY, 0, (await Reads(raw).counts(SITE.id, DAY, NOON)).visits).total == 4711
    await set_baselines(raw, writer, None, {Entry("/a"): 5})
    assert sum_up(DAY, 0, (await Reads(raw).counts(SITE.id, DAY, NOON)).visits).total == 4711


async def test_baselines_that_are_delivered_twice_are_set_once(writer: Writer, raw: Redis) -> None:
    """A replay brings them back: what was set since stays."""
    first = setting_baselines(SITE.id, 0, 100, [(article_id("/a"), 7, b"")])
    assert (await writer.change(first)).word == "ok"
    await set_baselines(raw, writer, 200, {Entry("/a"): 9})
    again = await commit_one(writer.committer, 1, first)
    assert isinstance(again, Changed)
    assert not again.fresh
    assert await Reads(raw).views(SITE.id, ["/a"]) == {"/a": 9}
    assert sum_up(DAY, 0, (await Reads(raw).counts(SITE.id, DAY, NOON)).visits).total == 200
