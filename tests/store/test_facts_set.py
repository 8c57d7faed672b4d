"""What an editor says an article is called stays so, whatever readers' beacons say, and is taken back in the order in
which it was said."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.store.merging import DAY, SITE, Merging, gathered
from visitstats.changes.facts import Renaming
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.core.batch import Gathering, Said
from visitstats.core.entries import Entry, Standing
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import NoSuchArticle
from visitstats.core.keys import article_id
from visitstats.core.query import Query
from visitstats.store import keys
from visitstats.store.change_records import TYPE, Change, FactSet, naming
from visitstats.store.changes import Changes
from visitstats.store.reads import Reads

AN = Order("an", "Tiêu đề sai")


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    found = Merging(redis_url, raw)
    await found.read("/old", "/new", "/third")
    yield found
    await found.close()


async def entry(merging: Merging, key: str = "/old") -> Entry:
    found = await Changes(merging.raw).entry(SITE.id, key)
    assert found is not None
    return found


async def told(merging: Merging, said: Entry, how: Said = Said.STRANGER, networks: int = 1) -> None:
    """Readers' pages say what an article is called, each from a network of its own."""
    waiting = Gathering(SITE, DAY)
    for n in range(networks):
        token = bytes([n + 1]) * 8
        signed = encode_entry(said) if how is Said.SIGNED else b""
        waiting.add(
            DAY.start_ms + n + 1, token, token, b"", b"", article_id(said.key), encode_entry(said),
            bytes([n + 1]) * 5, how, signed,
        )  # fmt: skip
    await merging.commit(waiting)


async def rename(merging: Merging, article: str = "/old", **facts: str) -> str:
    return (await merging.desk.naming.rename(article, Renaming(**facts), AN)).id


async def test_what_an_editor_says_gives_way_to_no_beacon(merging: Merging) -> None:
    """Neither to many readers nor to the portal's signature; what the editor has not said does."""
    await rename(merging, title="Lễ hội  hoa lê\u200b", author="Lê Hiếu", published="2036-11-20")
    await told(merging, Entry("/old", "Khác", "", "Kẻ lạ", "Tin", "2001-01-01"), networks=9)
    await told(merging, Entry("/old", "Khác", "", "Kẻ lạ"), Said.SIGNED)
    found = await entry(merging)
    assert (found.title, found.author, found.published) == ("Lễ hội hoa lê", "Lê Hiếu", "2036-11-20")
    assert {found.standing(fact) for fact in ("title", "author", "published")} == {Standing.EDITOR}
    assert (found.category, found.standing("category")) == ("Tin", Standing.PROVISIONAL)


async def test_undoing_gives_back_what_was_there_and_how_far_it_could_be_trusted(merging: Merging) -> None:
    before = await merging.everything()
    made = [
        await rename(merging, title="A", author="B", category="C", published="2036-01-01", url="https://portal.vn/x"),
        (await merging.desk.naming.hide("/old", AN)).id,
        (await merging.desk.naming.classify("/old", "Thông báo", AN)).id,
    ]
    found = await entry(merging)
    assert (found.title, found.url, found.hidden, found.type) == ("A", "https://portal.vn/x", True, "Thông báo")
    for change in (made[1], made[0], made[2]):
        await merging.undo(change)
    after = await merging.everything()
    name = keys.names(SITE.id)
    assert await entry(merging) == Entry(
        "/old", "Title of /old", standings="p----", origin=(await entry(merging)).origin
    )
    assert {key: value for key, value in after.items() if key != name} == {
        key: value for key, value in before.items() if key != name
    }


async def test_of_one_fact_the_last_word_is_undone_first(merging: Merging) -> None:
    """Others of the article may be undone whenever."""
    first = await rename(merging, title="A", author="X")
    second = await rename(merging, title="B")
    with pytest.raises(ChangeRefused, match=f"was set again since; undo change {second} first"):
        await merging.desk.look_at_undo(first)
    with pytest.raises(ChangeRefused, match=f"undo change {second} first"):
        await merging.undo(first)
    preview = await merging.desk.look_at_undo(second)
    assert [(each.name, each.before, each.after) for each in preview.facts] == [("title", "B", "A")]
    await merging.undo(second)
    assert (await entry(merging)).title == "A"
    await merging.undo(first)
    assert (await entry(merging)).title == "Title of /old"


async def test_a_hidden_article_is_counted_and_in_no_list(merging: Merging) -> None:
    hidden = await merging.desk.naming.hide("/old", AN)
    await merging.read("/old")
    assert "/old" not in await merging.listed("all", DAY.start_ms)
    page = await merging._articles.page(SITE, Query(period="all", hidden=True))
    assert {row.entry.key: row.views for row in page.rows}["/old"] == 2
    assert {row.entry.key for row in await merging._articles.top(SITE, "all", 10)} == {"/new", "/third"}
    await merging.desk.naming.hide("/old", AN, hidden=False)
    assert (await merging.listed("all", DAY.start_ms))["/old"] == 2
    with pytest.raises(ChangeRefused, match="undo change"):
        await merging.undo(hidden.id)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "say what to change"),
        ({"title": " \u200b"}, "the title cannot be empty"),
        ({"title": "x" * 301}, "the title is longer than 300 bytes"),
        ({"author": "ế" * 34}, "the author is longer than 100 bytes"),
        ({"published": "24/11/2036"}, "is no date: write it as"),
        ({"url": "javascript:alert(1)"}, "must be absolute and begin with"),
        ({"url": "https://elsewhere.vn/old"}, "is no address of this site"),
        ({"url": "https://portal.vn/" + "x" * 900}, "the url is longer than"),
    ],
)
async def test_what_is_no_name_is_refused(merging: Merging, facts: dict[str, str], words: str) -> None:
    before, written = await merging.everything(), len(merging.records)
    with pytest.raises(ChangeRefused, match=words):
        await rename(merging, **facts)
    assert (await merging.everything(), len(merging.records)) == (before, written)


async def test_setting_the_same_fact_twice_changes_nothing(merging: Merging) -> None:
    """Pinning what a reader said is a change; saying it again is none."""
    await rename(merging, title="Title of /old")
    assert (await entry(merging)).standing("title") is Standing.EDITOR
    with pytest.raises(ChangeRefused, match="nothing would change"):
        await rename(merging, title="Title of /old")
    with pytest.raises(NoSuchArticle):
        await rename(merging, "/nix", title="x")


async def test_the_address_of_its_key_is_kept_as_such(merging: Merging) -> None:
    await rename(merging, url="https://portal.vn/old")
    found = await entry(merging)
    assert (found.url, found.standing("url")) == ("", Standing.EDITOR)
    await told(merging, Entry("/old", "", "https://portal.vn/other"), networks=9)
    assert (await entry(merging)).url == ""


async def test_a_claim_is_accepted_as_readers_said_it(merging: Merging) -> None:
    await rename(merging, title="Đúng")
    await told(merging, Entry("/old", "Đúng hơn"), networks=3)

    def days(many: int) -> list[str]:
        return [DAY.date, DAY.yesterday][:many]

    desk, reads = merging.desk.naming, Reads(merging.raw)
    with pytest.raises(ChangeRefused, match="no reader says so"):
        await desk.accept("/old", "title", "Đúng nhất", AN, reads, days)
    with pytest.raises(ChangeRefused, match="is no fact that readers tell"):
        await desk.accept("/old", "hidden", "1", AN, reads, days)
    made = await desk.accept("/old", "title", "Đúng hơn", AN, reads, days)
    found = await entry(merging)
    assert (found.title, found.standing("title")) == ("Đúng hơn", Standing.EDITOR)
    await merging.undo(made.id)
    assert (await entry(merging)).title == "Đúng"


async def test_an_undo_that_comes_before_its_change_leaves_nothing(merging: Merging) -> None:
    """As after a loss, when another host's journal comes later."""
    before = await merging.everything()
    change = Change("type", merging.now, "an", "", "/old", "", "", facts=(FactSet(TYPE, "", "Tin"),))
    undo = Change("undo", merging.now, "an", "", "/old", "", "0000000a")
    assert (await merging.change(naming(SITE.id, "0000000b", undo))).word == "ok"
    assert (await merging.change(naming(SITE.id, "0000000a", change))).word == "ok"
    assert await merging.everything() == before
    assert [(each.id, each.undone) for each in await merging.audit()] == [("0000000a", "0000000b"), ("0000000b", "")]


async def test_what_is_said_of_an_article_whose_hits_come_later_is_kept(merging: Merging) -> None:
    """After a loss its first hit may come from another host's journal."""
    await rename(merging, title="Đúng")
    record = merging.records[-1]
    await merging.raw.flushall()
    merging.records.clear()
    assert (await merging.change(record)).word == "ok"  # type: ignore[arg-type]
    await merging.commit(gathered(SITE, DAY, DAY.start_ms, "/old"))
    found = await entry(merging)
    assert (found.title, found.standing("title")) == ("Đúng", Standing.EDITOR)


async def test_old_numbers_that_are_brought_along_unpin_nothing(merging: Merging) -> None:
    """A list of baselines names its articles; what an editor has said of one stays, and it stays hidden."""
    await rename(merging, title="Đúng")
    await merging.desk.naming.hide("/old", AN)
    await merging.desk.naming.classify("/old", "Tin", AN)
    await merging.baselines.set(None, {Entry("/old", "Cũ", author="Lan"): 100, Entry("/new", "Cũ"): 5})
    found = await entry(merging)
    assert (found.title, found.author, found.type, found.hidden) == ("Đúng", "Lan", "Tin", True)
    assert (found.standing("title"), found.standing("author")) == (Standing.EDITOR, Standing.IMPORTED)
    assert (await entry(merging, "/new")).title == "Cũ"
