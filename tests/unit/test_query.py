"""The question behind every list of articles: what is nonsense is refused before anything is read."""

from __future__ import annotations

import contextlib
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core.errors import InvalidQuery
from visitstats.core.periods import Calendar
from visitstats.core.query import Cursor, Query, cursor_of, fold

CALENDAR = Calendar("Asia/Ho_Chi_Minh")
TODAY = CALENDAR.day_named("2026-11-25")


def digest(site: str = "a", **fields: Any) -> bytes:
    query = Query(**fields)
    return query.digest(site, query.range(CALENDAR, TODAY))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sort": "key"}, "sort 'key': use one of views, total, title, published, author, category"),
        ({"direction": "up"}, "direction 'up': use asc or desc"),
        ({"limit": 0}, "limit 0"),
        ({"min_views": -1}, "min_views -1"),
        ({"within": -1}, "within -1"),
        ({"keys": ("/a",) * 501}, "at most 500 keys at once, not 501"),
        ({"title": "x" * 501}, "title: at most 500 characters"),
        ({"author": "\ud800"}, "author: at most"),
        ({"published_first": "24/11/2026"}, "published_from '24/11/2026'"),
        ({"published_last": "2026-02-30"}, "published_to '2026-02-30'"),
        ({"published_first": "2026-11-25", "published_last": "2026-11-24"}, "is after 2026-11-24"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        Query(**fields)
    assert said in str(refused.value)


def test_all_time_is_meant_unless_days_are_named() -> None:
    assert Query().range(CALENDAR, TODAY).is_all
    assert Query(first="2026-11-24").range(CALENDAR, TODAY).first == "2026-11-24"
    assert Query(period="week").range(CALENDAR, TODAY).first == "2026-11-23"


def test_a_list_has_what_was_read_unless_articles_are_named() -> None:
    assert (Query().least, Query(keys=("/a",)).least, Query(min_views=0).least, Query(min_views=7).least) == (
        1,
        0,
        0,
        7,
    )


def test_one_order_serves_all_pages_and_all_names_of_the_same_days() -> None:
    assert digest(period="week", limit=3, cursor="x") == digest(first="2026-11-23", last="2026-11-25", within=30)
    assert digest() == digest(min_views=1, direction="desc", period="all")
    others = [
        digest(), digest("b"), digest(author="A"), digest(sort="title"), digest(direction="asc"), digest(period="day"),
        digest(min_views=2), digest(keys=("/a",)), digest(category="A"), digest(hidden=True),
    ]  # fmt: skip
    assert len(set(others)) == len(others)


@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1), st.integers(0, 2**31))
def test_a_cursor_comes_back_as_it_was_given(eight: bytes, place: int, number: int) -> None:
    cursor = Cursor(eight, eight[::-1], place, number)
    assert cursor_of(str(cursor)) == cursor
    assert str(cursor).replace("-", "").replace("_", "").isalnum()


@given(st.one_of(st.text(max_size=80), st.binary(max_size=60).map(lambda data: data.hex())))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidQuery):
        assert cursor_of(str(cursor_of(text))) == cursor_of(text)


@pytest.mark.parametrize(
    ("text", "found_by"),
    [
        ("Hội nghị sơ kết", "hoi nghi so ket"),
        ("ĐỔI MỚI", "doi moi"),
        ("Nghị quyết số 12-NQ/TW", "nghi quyet so 12-nq/tw"),
        (unicodedata.normalize("NFD", "Lễ hội Đền Thượng"), "le hoi den thuong"),
        ("Straße", "strasse"),
        ("Điện Biên Phủ", "dien bien phu"),
    ],
)
def test_case_and_tone_marks_do_not_matter(text: str, found_by: str) -> None:
    assert fold(text) == found_by


@given(st.text(max_size=40))
def test_what_is_folded_stays_as_it_is(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(unicodedata.normalize("NFC", text)) == fold(text) == fold(unicodedata.normalize("NFD", text))


def test_a_query_travels_as_it_is() -> None:
    query = Query(period="2026-10", author="Lê Hiếu", keys=("/a", "/b"), min_views=0, sort="title")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(query), type=Query) == query


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24", "2026-11-24T00:00:00+07:00"),
        ("2026-11-24T10:30:00", "2026-11-24T10:30:00+07:00"),
        ("2026-11-24T10:30:00Z", "2026-11-24T17:30:00+07:00"),
        ("2026-11-24T23:30:00-05:00", "2026-11-25T11:30:00+07:00"),
        ("yesterday", None),
        ("", None),
        ("0001-01-01", None),
    ],
)
def test_moments_of_publication_are_of_the_sites_clocks(text: str, moment: str | None) -> None:
    found = CALENDAR.moment(text)
    assert (None if found is None else CALENDAR.iso(found)) == moment
