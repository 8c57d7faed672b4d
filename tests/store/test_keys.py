"""Key names are frozen, the ledger of a site is one hash slot, and nothing outlives its purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.crc import key_slot

from tests.store.changing import change_desk
from tests.store.writing import (
    CALENDAR,
    DAY,
    MINUTE,
    NOON,
    SITE,
    WRITER,
    Writer,
    beats,
    gather,
    names_in,
    numbering,
    token,
)
from visitstats.changes.baselines import Baselines
from visitstats.changes.corrections import Adjustment
from visitstats.changes.imports import NewPart
from visitstats.changes.prunes import Places
from visitstats.changes.recording import Order
from visitstats.core import closing
from visitstats.core.batch import Gathering
from visitstats.core.closing import Frozen
from visitstats.core.counting import ONLINE_MS
from visitstats.core.entries import Entry, encode
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.store import keys
from visitstats.store.commit import Work
from visitstats.store.import_records import Imported
from visitstats.store.packing import Packer
from visitstats.store.reads import Reads
from visitstats.store.records import AccessToken, Records
from visitstats.store.refusals import Refusal, RefusalRows
from visitstats.store.runs import Run, Runs
from visitstats.store.schema import claim_store
from visitstats.store.tiles import TileWriter
from visitstats.store.upkeep import Upkeep

HOUR_S = 3600
DAY_S = 24 * HOUR_S
MONTH, NONCE = "2036-10", "0123456789abcdef"
TITLE = "Quy định mới về cải cách thủ tục hành chính trên địa bàn tỉnh"


@pytest_asyncio.fixture
async def writer(redis_url: str) -> AsyncIterator[Writer]:
    found = Writer(redis_url)
    yield found
    await found.close()


NAMES = {
    "salt": ("vs:{portal}:salt:2036-11-24", DAY.end_ms // 1000 + 2 * DAY_S),
    "marks": "vs:{portal}:marks",
    "redo": "vs:{portal}:redo",
    "seen": "vs:{portal}:seen:2036-11-24",
    "hit_ids": "vs:{portal}:hits:1000000",
    "online": "vs:{portal}:online",
    "counts": "vs:{portal}:counts",
    "days": "vs:{portal}:days:2036-11",
    "hours": "vs:{portal}:hours:2036-11-24",
    "ids": "vs:{portal}:ids",
    "touched": "vs:{portal}:touched",
    "hour_sketch": "vs:{portal}:unique:2036-11-24:h14",
    "articles": "vs:{portal}:articles",
    "articles_of_day": "vs:{portal}:articles:2036-11-24",
    "tiles": "vs:{portal}:tiles:2036-10",
    "packed": "vs:{portal}:packed",
    "packing": "vs:{portal}:packing:2036-10:0123456789abcdef",
    "pruned": "vs:{portal}:pruned:036a821d",
    "names": "vs:{portal}:names",
    "claims": "vs:{portal}:claims:2036-11-24",
    "taken": "vs:{portal}:taken:2036-11-24",
    "base": "vs:{portal}:base",
    "aliases": "vs:{portal}:aliases",
    "changes": "vs:{portal}:changes",
    "order_of_changes": "vs:{portal}:changes:order",
    "changes_of_articles": "vs:{portal}:changes:articles",
    "set_by": "vs:{portal}:changes:set",
    "amounts": "vs:{portal}:amounts",
    "layer": "vs:{portal}:layer:corrections",
    "layer_days": "vs:{portal}:layer:corrections:2036-11",
    "imports": "vs:{portal}:imports",
    "import_parts": "vs:{portal}:import:036a821d",
    "closed": "vs:{portal}:closed",
    "frozen": "vs:{portal}:closed:2036-10",
    "sketches": [f"vs:{{portal}}:unique:2036-11-24:{part}" for part in range(8)],
    "uniques": "vs:{portal}:uniques:2036",
    "ignored": "vs:{portal}:ignored:2036-11",
    "peaks": "vs:{portal}:peaks:2036",
}
OF_INSTALLATION = {
    "vs:schema",
    "vs:sites",
    "vs:sites:version",
    "vs:sites:removed",
    "vs:sites:aliases",
    "vs:tokens",
    "vs:tokens:used",
    "vs:refusals:2036-05-14",
    "vs:hosts",
    "vs:tasks",
    "vs:ran:2036",
    "vs:lease:pack",
}


def named(function: str) -> object:
    more: dict[str, tuple[object, ...]] = {
        "salt": (DAY.date, DAY.end_ms),
        "seen": (DAY.date,),
        "hit_ids": (1_000_000,),
        "articles_of_day": (DAY.date,),
        "sketches": (DAY.date,),
        "days": (DAY.month,),
        "hours": (DAY.date,),
        "hour_sketch": (DAY.date, 14),
        "claims": (DAY.date,),
        "taken": (DAY.date,),
        "ignored": (DAY.month,),
        "uniques": (DAY.year,),
        "peaks": (DAY.year,),
        "tiles": (MONTH,),
        "packing": (MONTH, NONCE),
        "pruned": ("036a821d",),
        "import_parts": ("036a821d",),
        "layer": (keys.CORRECTIONS,),
        "layer_days": (keys.CORRECTIONS, DAY.month),
        "frozen": (MONTH,),
    }
    return getattr(keys, function)("portal", *more.get(function, ()))


def of_portal() -> set[str]:
    """A name of every kind of key that a site has."""
    found: set[str] = set()
    for names in map(named, NAMES):
        found |= {names} if isinstance(names, str) else {names.name} if isinstance(names, keys.Expiring) else {*names}  # type: ignore[misc]
    return found


def test_names_are_frozen() -> None:
    """Later versions find the counts of this one under these names."""
    assert {function: named(function) for function in NAMES} == NAMES
    words = (
        "SCHEMA",
        "SITES",
        "SITES_VERSION",
        "SITES_REMOVED",
        "SITES_ALIASES",
        "TOKENS",
        "TOKENS_USED",
        "HOSTS",
        "TASKS",
    )
    assert {getattr(keys, word) for word in words} | {
        keys.ran(2036),
        keys.lease("pack"),
        keys.refusals("2036-05-14"),
    } == OF_INSTALLATION


def test_every_name_is_a_row_of_the_table_and_every_row_has_a_name() -> None:
    rows = {row.word for row in keys.KINDS}
    parsed = {name: keys.parse(name) for name in of_portal() | OF_INSTALLATION}
    assert {found.kind.word for found in parsed.values() if found} == rows
    assert {found.site for name, found in parsed.items() if found and name not in OF_INSTALLATION} == {"portal"}
    for name in (
        "vs:{portal:who}:visits",
        "vs:{portal}:top:all",
        "vs:{Portal}:visits",
        "vs:{portal}:seen:today",
        "vs:x",
    ):
        assert keys.parse(name) is None, name


async def busy(url: str, writer: Writer) -> None:
    """A store in which everything was used that this version can do."""
    async with Redis.from_url(url) as client:
        records, upkeep = Records(client), Upkeep(client)
        await claim_store(client)
        await records.put_site(SITE)
        await records.put_site(Site(id="gone", hosts=("gone.vn",)))
        await records.remove_site("gone", NOON)
        await records.put_token("0" * 64, AccessToken(name="n", scope="viewer"))
        await records.note_used({"0" * 64: "2036-05-14T05:00:00+00:00"})
        await RefusalRows(client).add("2036-05-14", {Refusal(401, "no-token", "", "", "GET /", ""): (1, 2)})
        await records.salt(SITE.id, DAY, bytes(32))
        await client.hset(keys.HOSTS, WRITER, "here")
        await Baselines(records.changes, writer, SITE.id).set(1000, {Entry("/a", "Old"): 500})
        for day in (CALENDAR.day_named(f"{MONTH}-15"), CALENDAR.day_named(DAY.yesterday), DAY):
            for moment in (day.start_ms + 1, day.start_ms + 45 * MINUTE, day.end_ms - 1):
                for site in (SITE, Site(id=SITE.id, hosts=SITE.hosts, views="every-load", max_articles=3)):
                    waiting = Gathering(site, day)
                    for n in range(6):
                        gather(waiting, moment, f"person {n}", f"/{n}", f"id {moment} {n}", network=f"net {n % 2}")
                    gather(waiting, moment, "person 9", "/1", says=Entry("/1", "Another"), network="net 9")
                    beats(waiting, moment, "person 1", "stranger")
                    waiting.ignored["bot"] = 1
                    await writer.count(waiting, numbering(moment))
        [packed] = await Packer(url, client, lambda: NOON).pack_due(SITE.id, CALENDAR)
        assert packed.word == "packed", packed
        await TileWriter(client, writer.committer._line, SITE.id).stage(MONTH, NONCE, {0: b"a tile"})
        await upkeep.lease("close-days", 60)
        await upkeep.close_uniques(SITE.id, DAY)
        await upkeep.note_peak(SITE.id, DAY, 6, NOON)
        await upkeep.note_running([NOON])
        await Runs(client).note("close-days", Run(NOON, 0.1, True, "", "here"))
        desk = change_desk(client, writer, SITE, lambda: NOON)
        await desk.undo((await desk.merges.merge("/0", "/1", Order("an"))).id, Order("an"))
        await desk.merges.merge("/0", "/1", Order("an"))
        await desk.corrections.adjust(Adjustment("views", "/2", 1), Order("an", "Thiếu"))
        await desk.naming.hide("/2", Order("an"))
        old = Imported("0" * 64, ("old.csv",), "table", "replace", "{}", ("",), 7, 0, 0)
        await desk.imports.make(old, [NewPart("", 7, 0, [])], Order("an"))

        async def freeze(month: str) -> Frozen:
            return closing.freeze(closing.ClosedHead(SITE.id, month, 0, 0, 0, "", 0, 0), [])

        await desk.periods.close(MONTH, Order("an"), freeze)
        made_up = Gathering(SITE, CALENDAR.day_named("2036-11-10"))
        gather(made_up, made_up.day.start_ms, "person 1", "/made-up", network="net 1")
        await writer.count(made_up, numbering(made_up.day.start_ms))
        assert (await Places(records.changes, writer, SITE, lambda: NOON).prune(Order("an"))).pages
        await records.changes.tell(SITE.id)
        # A record that was put down, and not executed yet.
        waiting = Gathering(SITE, DAY)
        gather(waiting, DAY.end_ms - 1, "person 1", "/1")
        work = Work(WRITER, writer.sequence + 1, writer.sequence, waiting.close(writer.sequence, 0, 0), numbering())
        name, names, values = writer.committer._call(work)
        await writer.committer._line.run([(name, names, [*values, b"put down"])])


async def test_every_key_of_a_used_store_is_of_its_type_and_permanent_or_expires(
    redis_url: str, writer: Writer, raw: Redis
) -> None:
    await busy(redis_url, writer)
    used = await names_in(raw)
    kinds = set()
    for name in used:
        found = keys.parse(name)
        assert found is not None, name
        kinds.add(found.kind.word)
        expires = await raw.expiretime(name)
        assert (expires == -1) == (found.kind.life_ms is None), name
        assert await raw.type(name) == found.kind.type.encode(), name
        assert found.kind.type != "zset" or found.kind.word == "peaks", "no sorted set is on the way of a hit"
    assert kinds == {row.word for row in keys.KINDS}, "everything was used"


async def test_what_belongs_to_a_visitor_is_forgotten_with_the_salt_or_before(
    redis_url: str, writer: Writer, raw: Redis
) -> None:
    """Rule 2. The unique visitors of a day are sketches, out of which no token can be read."""
    await busy(redis_url, writer)
    for name in await names_in(raw):
        if any(word in name for word in (":salt:", ":seen:", ":hits:")):
            found = keys.parse(name)
            assert found is not None
            day_end = CALENDAR.day_named(found.words[0]).end_ms if "-" in found.words[0] else DAY.end_ms
            assert 0 < await raw.expiretime(name) <= day_end // 1000 + 2 * DAY_S, name


async def test_the_moments_of_expiry_are_those_that_were_asked_for(writer: Writer, raw: Redis) -> None:
    """What decides about a hit lives an hour longer than the journal that may bring it back."""
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a", "id")
    waiting.ignored["bot"] = 1
    await writer.count(waiting)
    end, noon = DAY.end_ms // 1000, NOON // 1000
    sketches = {
        f"unique:2036-11-24:{part}": end + 40 * DAY_S for part in {token(SITE, DAY.date, "An")[0] % keys.SKETCHES}
    }
    assert await ends(raw) == {
        "seen:2036-11-24": end + 25 * HOUR_S,
        f"hits:{noon // 1800}": noon + 25 * HOUR_S + 1800,
        "taken:2036-11-24": end + 25 * HOUR_S,
        "hours:2036-11-24": end + 90 * DAY_S,
        "unique:2036-11-24:h12": end + 40 * DAY_S,
        **sketches,
    }


async def test_a_later_hit_does_not_prolong_what_is_to_be_forgotten(writer: Writer, raw: Redis) -> None:
    await writer.read(DAY, (NOON, "An", "/a"))
    before = await ends(raw)
    await writer.read(DAY, (NOON + 10 * MINUTE, "An", "/b"), (NOON + 10 * MINUTE, "Bình", "/b"))
    after = await ends(raw)
    assert {name: moment for name, moment in after.items() if name in before} == before


async def ends(raw: Redis) -> dict[str, int]:
    """When each key is forgotten, of those that are."""
    found = {name: await raw.expiretime(name) for name in await names_in(raw)}
    return {name.split("}:")[1]: moment for name, moment in found.items() if moment != -1}


async def test_a_batch_that_comes_a_week_late_is_not_expired_before_the_next(writer: Writer, raw: Redis) -> None:
    """A key whose time is past when it is written would be gone at once, and the next batch would count anew."""
    week_late = numbering(NOON + 7 * DAY_S * 1000)
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a", "id")
    await writer.count(waiting, week_late)
    assert min((await ends(raw)).values()) >= week_late.now_ms // 1000 + HOUR_S


@pytest.mark.parametrize("site", ["portal", "a", "x-1"])
def test_the_ledger_of_a_site_is_one_hash_slot(site: str) -> None:
    """A script of a cluster may use the keys of one slot only."""
    commit = keys.of_commit(site, DAY.date, DAY.yesterday, 14, 1_000_000)
    names = {*commit, *keys.of_change(site), *(name.replace("portal", site) for name in of_portal())}
    assert {key_slot(name.encode()) for name in names} == {key_slot(site.encode())}
    assert all(keys.parse(name) for name in names)


async def test_every_script_call_names_keys_of_one_slot(writer: Writer) -> None:
    waiting = Gathering(SITE, DAY)
    gather(waiting, NOON, "An", "/a", "id")
    _, names, _ = writer.committer._call(Work(WRITER, 1, 0, waiting.close(0, 0, NOON), numbering()))
    assert len({key_slot(name.encode()) for name in names}) == 1


# Size -----------------------------------------------------------------------------------------------------------------


async def bytes_of(raw: Redis, *names: str) -> int:
    """What keys take on Valkey, for which the goals are set; Redis before 8 takes half as much again."""
    server: dict[str, object] = await raw.info("server")
    if "valkey_version" not in server:
        pytest.skip("the goals are those for Valkey")
    sizes = [await raw.memory_usage(name, samples=0) for name in names]
    assert all(sizes)
    return sum(size or 0 for size in sizes)


async def test_an_online_visitor_takes_at_most_130_bytes_with_all_it_leaves(writer: Writer, raw: Redis) -> None:
    """A presence with one reading, in the hash and in the ring; and its hit id."""
    people = 20_000
    for batch in range(people // 1000):
        waiting = Gathering(SITE, DAY)
        for n in range(1000):
            gather(waiting, NOON + n, f"person {batch} {n}", f"/{n % 50}", f"id {batch} {n}")
        await writer.count(waiting)
    assert (await Reads(raw).counts(SITE.id, DAY, NOON + ONLINE_MS - 1)).online == people
    presence = await bytes_of(raw, keys.seen(SITE.id, DAY.date), keys.online(SITE.id)) / people
    hit_id = await bytes_of(raw, keys.hit_ids(SITE.id, NOON // (30 * MINUTE))) / people
    print(f"bytes per visitor: presence {presence:.1f}, hit id {hit_id:.1f}")  # noqa: T201
    assert presence + hit_id <= 130


async def test_an_article_takes_at_most_300_bytes_for_its_count_and_its_name(writer: Writer, raw: Redis) -> None:
    articles = 20_000
    for batch in range(articles // 1000):
        waiting = Gathering(SITE, DAY)
        for n in range(1000):
            number = batch * 1000 + n
            key = f"/tin-tuc/quy-dinh-moi-ve-cai-cach-hanh-chinh-{number}.html"
            waiting.add(
                NOON, b"token--1", b"token--1", b"", b"", article_id(key), encode(Entry(key, TITLE, "", "Văn phòng"))
            )
        await writer.count(waiting)
    assert await Reads(raw).article_count(SITE.id) == articles
    counts = await bytes_of(raw, keys.articles(SITE.id)) / articles
    of_day = await bytes_of(raw, keys.articles_of_day(SITE.id, DAY.date)) / articles
    names = await bytes_of(raw, keys.names(SITE.id)) / articles
    print(f"bytes per article: count {counts:.1f}, of a day {of_day:.1f}, dictionary {names:.1f}")  # noqa: T201
    assert counts + names <= 300
