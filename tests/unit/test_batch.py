"""A batch is what the journal keeps and the scripts take: its layout never changes, and it loses no hit on the way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
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
    waiting.add(NOON, b"token--1", b"unique-1", b"", b"hit-id-1", b"article1", b"\x91\xa2/a")
    waiting.add(NOON + 5, b"token--2", b"unique-1", b"yesterd2", b"", b"article2", b"")
    waiting.add(NOON + 6, b"token--1", b"unique-1", b"", b"", b"article1", b"")
    waiting.ignored["bot"] = 3
    return waiting.close(7, NOON + 9)


def unpacked(columns: bytes) -> list[Any]:
    """Decode what goes to the scripts, whose strings are bytes: as Latin-1 they survive."""
    return [as_text(item) for item in msgspec.msgpack.decode(_binary(columns))]


def _binary(columns: bytes) -> bytes:
    return columns  # all strings of these tests are ASCII, so that the plain decoder reads them


def as_text(item: Any) -> Any:
    return item


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
