"""A batch is what the journal keeps and the scripts take: its layout never changes, and it loses no hit on the way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visitstats.core import batch as batches
from visitstats.core import counting, entries
from visitstats.core.batch import OTHER_ID, OTHER_KEY, Batch, ChangeRecord, Gathering, Said
from visitstats.core.entries import Entry
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site

SITE = Site(id="s", hosts=("portal.vn",), max_articles=77, max_visitors=5000)
DAY = Calendar("Asia/Ho_Chi_Minh").day_named("2026-11-24")
HOUR = 3600 * 1000
NOON = DAY.start_ms + 12 * HOUR


def gathering(site: Site = SITE) -> Gathering:
    return Gathering(site, DAY)


def small_batch() -> Batch:
    waiting = gathering()
    waiting.add(NOON, b"token--1", b"unique-1", b"", b"hit-id-1", b"article1", b"an-entry")
    waiting.add(NOON + 5, b"token--2", b"unique-2", b"yesterd2", b"", b"article2", b"another", b"voice", Said.SIGNED)
    waiting.beat(NOON + 6, b"token--3", b"yesterd3")
    waiting.beat(NOON + 6, b"token--1", b"")
    waiting.add(NOON + 7, b"token--1", b"unique-1", b"", b"", b"article1", b"")
    waiting.ignored["bot"] = 3
    return waiting.close(7, 40, NOON + 9)


def small_change() -> ChangeRecord:
    return ChangeRecord("s", 7, 43, NOON, "merge", b"\x92\xa2id\x01")


# Hashes are no text, so that msgspec cannot read them back: here each is replaced by a word of the same length.
WORDS = (
    (counting.reading(b"token--1", b"article1"), b"reading"),
    (counting.reading(b"token--2", b"article2"), b"another"),
)


def columns(batch: Batch) -> list[object]:
    body = batch.body
    for data, word in WORDS:
        body = body.replace(data, word)
    found: list[object] = msgspec.msgpack.decode(body)
    return found


def test_the_columns_of_a_body_are_in_the_order_in_which_the_script_takes_them() -> None:
    """Hits and heartbeats in the order of their moments; a heartbeat has neither article nor reading."""
    assert columns(small_batch()) == [
        DAY.start_ms,
        DAY.end_ms,
        ["token--1", "token--2", "token--3", "token--1", "token--1"],
        [12 * HOUR, 12 * HOUR + 5, 12 * HOUR + 6, 12 * HOUR + 6, 12 * HOUR + 7],
        [0, 1, -1, -1, 0],
        ["hit-id-1", "", "", "", ""],
        ["unique-1", "unique-2", "", "", "unique-1"],
        ["reading", "another", "", "", "reading"],
        [[1, "yesterd2"], [2, "yesterd3"]],
        ["article1", "article2"],
        [[0, 0, 0, "", "an-entry"], [1, 1, 2, "voice", "another"]],
        77,
        ["2026-11-24", "2026-11", "2026", "all"],
        [["bot", 3]],
        5000,
    ]


def test_a_site_that_counts_every_load_sends_no_readings() -> None:
    waiting = gathering(msgspec.structs.replace(SITE, views="every-load"))
    waiting.add(NOON, b"token--1", b"unique-1", b"", b"", b"article1", b"")
    assert columns(waiting.close(0, 0, NOON))[7] == []


def test_the_layout_of_a_batch_is_frozen() -> None:
    """A journal that this version wrote is replayed by later ones."""
    assert batches.encode(small_batch()).hex() == (
        "9901a173072bcf000001a20becd480aa323032362d31312d3234aa323032362d31312d323303c501259fcf000001a20959a6"
        "80cf000001a20e800280dc0005a8746f6b656e2d2d31a8746f6b656e2d2d32a8746f6b656e2d2d33a8746f6b656e2d2d31a8"
        "746f6b656e2d2d3195ce02932e00ce02932e05ce02932e06ce02932e06ce02932e07950001ffff00dc0005a86869742d6964"
        "2d31a0a0a0a0dc0005a8756e697175652d31a8756e697175652d32a0a0a8756e697175652d31dc0005a7f0ca507a23b67ea7"
        "32e365858cc252a0a0a7f0ca507a23b67e929201a879657374657264329202a87965737465726433dc0002a861727469636c"
        "6531a861727469636c65329295000000a0a8616e2d656e74727995010102a5766f696365a7616e6f746865724d94aa323032"
        "362d31312d3234a7323032362d3131a432303236a3616c6c9192a3626f7403cd1388"
    )
    batch = small_batch()
    assert (batch.site, batch.previous, batch.total, batch.size) == ("s", 7, 43, 3)
    assert (batch.at_ms, batch.day, batch.yesterday) == (NOON, "2026-11-24", "2026-11-23")


def test_the_layout_of_a_change_is_frozen() -> None:
    """What people have changed is replayed from the journal, too, among the hits."""
    assert batches.encode(small_change()).hex() == "9702a173072bcf000001a20becd480a56d65726765c40592a2696401"
    assert batches.decode(batches.encode(small_change())) == small_change()


def test_a_batch_and_a_change_are_told_apart() -> None:
    payload = batches.encode(small_batch())
    assert isinstance(batches.decode(payload), Batch)
    assert isinstance(batches.decode(batches.encode(small_change())), ChangeRecord)


@given(st.binary(max_size=200))
@example(batches.encode(small_batch()).replace(b"2026", b"\xff026"))
@example(batches.encode(small_batch())[:-1])
@example(batches.encode(small_change())[:-1])
@example(msgspec.msgpack.encode([3, "s", 0, 0, 0, "merge", b""]))
@example(msgspec.msgpack.encode(["s", 0, 0, 0, "2026-11-24", "2026-11-23", 0, b""]))
@example(msgspec.msgpack.encode([1, "s", "0", 0, 0, "2026-11-24", "2026-11-23", 0, b""]))
@example(b"")
def test_bytes_that_are_no_batch_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        batches.decode(data)


events = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3) | st.none(), st.integers(0, 5000), st.booleans()), max_size=60
)


@given(events, st.integers(0, 2**40))
def test_every_hit_has_its_place_and_its_article(several: list[tuple[int, int | None, int, bool]], before: int) -> None:
    """An event without an article is a heartbeat."""
    waiting = gathering()
    for place, (visitor, article, later, carried) in enumerate(several):
        token, old = b"visitor%d" % visitor, b"before-%d" % visitor if carried else b""
        if article is None:
            waiting.beat(NOON + later, token, old)
        else:
            name = b"article%d" % article
            assert waiting.add(NOON + later, token, token, old, b"", name, b"") == place
    hits = [(place, article) for place, (_, article, _, _) in enumerate(several) if article is not None]
    assert (len(waiting), waiting.hits) == (len(several), len(hits))
    for place, article in hits:
        number = waiting.article_of(place)
        assert waiting.article_ids[number] == b"article%d" % article
        assert waiting.number_of(b"article%d" % article) == number
    assert len(set(waiting.article_ids)) == len(waiting.article_ids)
    closed = waiting.close(0, before, NOON)
    assert (closed.size, closed.total) == (len(hits), before + len(hits))
    tokens, times, which, *_ = _readable(closed)
    assert tokens == [f"visitor{visitor}" for visitor, _, _, _ in several]
    assert times == [12 * HOUR + later for _, _, later, _ in several]
    assert [place for place, article in enumerate(which) if article != batches.HEARTBEAT] == [n for n, _ in hits]
    assert batches.decode(batches.encode(closed)) == closed


def _readable(closed: Batch) -> list[list[Any]]:
    """Tokens, times and articles of a body: its hashes are no text, and are left out."""
    start, end, tokens, times, which, *_ = msgspec.msgpack.decode(closed.body, type=list[msgspec.Raw])
    assert [msgspec.msgpack.decode(each) for each in (start, end)] == [DAY.start_ms, DAY.end_ms]
    return [msgspec.msgpack.decode(each) for each in (tokens, times, which)]


def test_beacons_that_were_not_counted_may_travel_alone() -> None:
    waiting = gathering()
    waiting.ignored["bot"] = 2
    closed = waiting.close(0, 5, NOON)
    assert (closed.size, closed.total, closed.at_ms) == (0, 5, NOON)
    assert columns(closed)[13] == [["bot", 2]]


def test_a_batch_stands_at_the_moment_of_its_first_event() -> None:
    """A replay applies the batches of all writers in this order; hit ids are remembered by its half hour."""
    waiting = gathering()
    waiting.beat(NOON - 1, b"token--1", b"")
    waiting.add(NOON + 1, b"token--1", b"unique-1", b"", b"", b"article1", b"")
    closed = waiting.close(0, 0, NOON + 2)
    assert (closed.at_ms, closed.half_hour) == (NOON - 1, NOON // (30 * 60 * 1000) - 1)


@pytest.mark.parametrize("hit_id", ["", "1", "x" * 5000, "đủ loại chữ", "\0"])
def test_a_hit_id_of_any_length_is_kept_as_8_bytes(hit_id: str) -> None:
    assert len(batches.hit_id_digest(hit_id)) == 8
    assert batches.hit_id_digest(hit_id) == batches.hit_id_digest(hit_id) != batches.hit_id_digest(hit_id + "1")


def test_the_digest_of_a_hit_id_is_frozen() -> None:
    assert batches.hit_id_digest("abc").hex() == "e1d41b219fc98c0f"


def test_the_article_beyond_the_cap_has_a_key_that_no_page_has() -> None:
    """Keys of pages begin with a slash or come from the portal's own mark; its id is frozen."""
    assert article_id(OTHER_KEY) == OTHER_ID
    assert OTHER_ID.hex() == "046ac2871502763d"
    assert entries.decode(msgspec.msgpack.encode((OTHER_KEY,))) == Entry(OTHER_KEY)


@given(st.builds(Entry, *[st.text(max_size=40)] * 7, st.integers(0, 1 << 32), st.text(max_size=40), st.booleans()))
def test_an_entry_is_read_back_as_it_was(entry: Entry) -> None:
    assert entries.decode(entries.encode(entry)) == entry


def test_an_entry_that_is_no_text_is_refused_by_name() -> None:
    with pytest.raises(msgspec.DecodeError):
        entries.decode(b"\x91\xa2\xff\xff")


def test_the_layout_of_an_entry_is_frozen_and_grows_at_its_end_only() -> None:
    """Entries that were written before the last fields came are read as if these were empty."""
    entry = Entry("/a", "Tin", "https://p.vn/a", "An", "Xã hội", "2026-11-24", "pp-as", 20416 * 256 + 7, "Bài", True)
    assert msgspec.msgpack.decode(entries.encode(entry)) == [
        "/a",
        "Tin",
        "https://p.vn/a",
        "An",
        "Xã hội",
        "2026-11-24",
        "pp-as",
        20416 * 256 + 7,
        "Bài",
        True,
    ]
    assert entries.decode(msgspec.msgpack.encode(["/a"])) == Entry("/a")
