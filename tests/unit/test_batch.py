"""A batch is what the journal keeps and the scripts take: its layout never changes, and it loses no hit on the way."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visitstats.core import batch as batches
from visitstats.core import counting, entries
from visitstats.core.batch import OTHER_ID, OTHER_KEY, Batch, Gathering
from visitstats.core.entries import Entry
from visitstats.core.keys import article_id
from visitstats.core.periods import Calendar
from visitstats.core.sites import Site

SITE = Site(id="s", hosts=("portal.vn",), max_articles=77)
DAY = Calendar("Asia/Ho_Chi_Minh").day_named("2026-11-24")
NOON = DAY.start_ms + 12 * 3600 * 1000


def gathering(site: Site = SITE) -> Gathering:
    return Gathering(site, DAY)


def small_batch() -> Batch:
    waiting = gathering()
    waiting.add(NOON, b"token--1", b"unique-1", b"", b"hit-id-1", b"article1", b"an-entry")
    waiting.add(NOON + 5, b"token--2", b"unique-1", b"yesterd2", b"", b"article2", b"")
    waiting.add(NOON + 6, b"token--1", b"unique-1", b"", b"", b"article1", b"")
    waiting.ignored["bot"] = 3
    return waiting.close(7, NOON + 9)


def test_the_layout_of_the_audience_columns_is_frozen() -> None:
    assert msgspec.msgpack.decode(small_batch().audience) == [
        DAY.start_ms,
        1_800_000,
        1_800_000,
        63,
        64,
        300_000,
        ["token--1", "token--2", "token--1"],
        [NOON, NOON + 5, NOON + 6],
        ["hit-id-1", "", ""],
        ["unique-1"],
        [[1, "yesterd2"]],
        ["2026-11-24", "2026-11", "2026", "all"],
        [["bot", 3]],
    ]


def test_the_layout_of_the_articles_columns_is_frozen() -> None:
    columns = small_batch().articles
    # Hashes are no text, so that msgspec cannot read them back: here each is replaced by a word of the same length.
    for data, word in (
        (counting.reading(b"token--1", b"article1"), b"reading1"),
        (counting.reading(b"token--2", b"article2"), b"reading2"),
        (OTHER_ID, b"other-id"),
        (b"\x91\xa7(other)", b"its-entry"),
    ):
        assert data in columns
        columns = columns.replace(data, word)
    assert msgspec.msgpack.decode(columns) == [
        ["article1", "article2"],
        [0, 1, 0],
        ["reading1", "reading2", "reading1"],
        False,
        [[0, "an-entry"]],
        77,
        "other-id",
        "its-entry",
        ["2026-11-24", "2026-11", "2026", "all"],
    ]


def test_the_layout_of_a_batch_is_frozen() -> None:
    """A journal that this version wrote is replayed by later ones."""
    assert batches.encode(small_batch()).hex() == (
        "9ba173aa323032362d31312d3234aa323032362d31312d3233aa323032362d31312d3233a7323032362d3131cf000001a20e"
        "800280ce000f387a0703c49f9dcf000001a20959a680ce001b7740ce001b77403f40ce000493e0dc0003a8746f6b656e2d2d"
        "31a8746f6b656e2d2d32a8746f6b656e2d2d3193cf000001a20becd480cf000001a20becd485cf000001a20becd486dc0003"
        "a86869742d69642d31a0a0dc0001a8756e697175652d31919201a8796573746572643294aa323032362d31312d3234a73230"
        "32362d3131a432303236a3616c6c9192a3626f7403c47699dc0002a861727469636c6531a861727469636c653293000100dc"
        "0003a8a26698c74936c0c4a894988bd6461e243ba8a26698c74936c0c4c2919200a8616e2d656e7472794da8046ac2871502"
        "763da991a7286f746865722994aa323032362d31312d3234a7323032362d3131a432303236a3616c6c"
    )
    assert small_batch().previous == 7
    assert small_batch().size == 3


@given(st.binary(max_size=200))
@example(batches.encode(small_batch()).replace(b"2026", b"\xff026"))
@example(batches.encode(small_batch())[:-1])
def test_bytes_that_are_no_batch_are_refused_by_name(data: bytes) -> None:
    try:
        found = batches.decode(data)
    except msgspec.DecodeError:
        return
    assert isinstance(found, Batch)


hits = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5000)), max_size=60)


@given(hits)
def test_every_hit_has_its_place_and_its_article(several: list[tuple[int, int, int]]) -> None:
    waiting = gathering()
    for place, (visitor, article, later) in enumerate(several):
        token, name = b"visitor%d" % visitor, b"article%d" % article
        assert waiting.add(NOON + later, token, token, b"", b"", name, b"") == place
    assert len(waiting) == len(several)
    for place, (_, article, _) in enumerate(several):
        assert waiting.article_ids[waiting.article_of(place)] == b"article%d" % article
    assert len(set(waiting.article_ids)) == len(waiting.article_ids)
    closed = waiting.close(0, NOON)
    audience = msgspec.msgpack.decode(closed.audience)
    assert closed.size == len(several)
    assert audience[6] == [f"visitor{visitor}" for visitor, _, _ in several]
    assert audience[7] == [NOON + later for _, _, later in several]
    assert sorted(audience[9]) == sorted({f"visitor{visitor}" for visitor, _, _ in several})
    assert batches.decode(batches.encode(closed)) == closed


def test_beacons_that_were_not_counted_may_travel_alone() -> None:
    waiting = gathering()
    waiting.ignored["bot"] = 2
    closed = waiting.close(0, NOON)
    assert (closed.size, closed.window) == (0, NOON // (30 * 60 * 1000))
    assert msgspec.msgpack.decode(closed.audience)[12] == [["bot", 2]]


def test_hit_ids_are_remembered_by_the_half_hour_of_the_first_hit() -> None:
    waiting = gathering()
    waiting.add(NOON - 1, b"token--1", b"unique-1", b"", b"", b"article1", b"")
    waiting.add(NOON + 1, b"token--1", b"unique-1", b"", b"", b"article1", b"")
    assert waiting.close(0, NOON + 2).window == NOON // (30 * 60 * 1000) - 1


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


@given(st.builds(Entry, *[st.text(max_size=40)] * 6))
def test_an_entry_is_read_back_as_it_was(entry: Entry) -> None:
    assert entries.decode(entries.encode(entry)) == entry


def test_an_entry_that_is_no_text_is_refused_by_name() -> None:
    with pytest.raises(msgspec.DecodeError):
        entries.decode(b"\x91\xa2\xff\xff")


def test_the_layout_of_an_entry_is_frozen() -> None:
    entry = Entry("/a", "Tin", "https://p.vn/a", "An", "Xã hội", "2026-11-24")
    assert msgspec.msgpack.decode(entries.encode(entry)) == [
        "/a",
        "Tin",
        "https://p.vn/a",
        "An",
        "Xã hội",
        "2026-11-24",
    ]
    assert entries.decode(msgspec.msgpack.encode(["/a"])) == Entry("/a")


def test_who_started_a_visit_is_known_after_the_readings_are_gone() -> None:
    """Also when the hit that did was a beacon that was counted elsewhere: or the visit would be looked for again."""
    noon = (NOON - DAY.start_ms) // counting.SLOT_MS
    slots = bytes((counting.DUPLICATE, noon - 1, noon))
    outcome = batches.encode_decision(
        batches.Decision(slots, 1, (1, 1), bytes((batches.STARTED, batches.COUNTED, batches.COUNTED)))
    )
    payload = batches.encode(small_batch())
    decision = batches.decided(batches.reduce(payload, outcome), b"")
    assert decision is not None
    assert decision.started == 1
    assert dict(zip((b"token--1", b"token--2"), zip(decision.slots, decision.marks, strict=True), strict=True)) == {
        b"token--1": (noon, batches.STARTED),
        b"token--2": (noon - 1, 0),
    }
