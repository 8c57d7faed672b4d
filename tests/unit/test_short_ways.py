"""What is read in a shorter way, because half a million rows are, is read as in the long way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visitstats.core import addresses
from visitstats.core.errors import HitRejected
from visitstats.core.keys import KeyRules
from visitstats.core.sites import Site
from visitstats.imports.numbers import Dates
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.sheets import fold, text_of
from visitstats.system.patterns import linear_pattern

HOST = "portal.example.vn"
RULES = [
    KeyRules(Site(id="s", hosts=(HOST,), preset=preset, ignore_case=ignore_case), linear_pattern)
    for preset in ((), ("nukeviet",), ("wordpress",), ("sharepoint",))
    for ignore_case in (False, True)
]
SEGMENTS = st.one_of(
    st.sampled_from(["", ".", "..", "...", "~", "_", "-", "tin-tuc", "Tin-Tuc", "a.b", ".htaccess", "%41", "a%2Fb",
                     "b\\c", "index.html", "Index.PHP", "default.aspx", "a;jsessionid=1", "(S(lit3py55t21z5v55))",
                     "tin&a=1", "tin&utm_source=x", "bài", "ba\u0300i", "a b", "1-2.html", "p,1", "a:b", "a+b", "a\n"]),
    st.text("aA1-._~%;(&?b", max_size=6),
)  # fmt: skip
PATHS = st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts))
TAILS = st.sampled_from(["", "", "?id=5", "?utm_source=x", "?b=2&a=1&", "#top", "#/route", "?", "#"])


@given(PATHS, TAILS, st.sampled_from(RULES))
def test_a_plain_path_has_the_key_that_it_had(path: str, tail: str, rules: KeyRules) -> None:
    """Whatever its segments are, and whatever presets the site has."""
    url = f"https://{HOST}{path}{tail}"
    with mock.patch.object(addresses, "_PLAIN_PATH", re.compile("(?!)")):
        long = key_of(rules, url)
    assert key_of(rules, url) == long


def key_of(rules: KeyRules, url: str) -> object:
    try:
        return rules.own(url)
    except HitRejected as refused:
        return refused.reason, refused.detail


@given(st.text() | st.text("aB_ :*.\t\n\x1c\x1f0"))
def test_a_heading_in_ascii_is_folded_as_any(text: str) -> None:
    same = {ord("đ"): "d", ord("ð"): "d", ord("_"): " ", 0xA0: " "}
    marks = unicodedata.normalize("NFD", text.lower().translate(same))
    bare = "".join(each for each in marks if not unicodedata.combining(each))
    assert fold(text) == " ".join(bare.split()).strip(" :*.")
    assert text_of(text) == " ".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize("order", ["", "mdy"])
def test_a_date_that_was_read_before_is_read_again(order: str) -> None:
    """Also one that names no year, when the year that the title says is another; what is refused is refused again."""
    cells = ["05/06/2022", "31/12/2022", "Tháng 3", "Tháng 3/2021", "13/13/2022", "", "x" * 50, "2022"]
    column = Dates(order)
    for year in (2020, 2021, 0, 2020):
        for cell in [*cells, *cells]:
            assert date_of(column.period, cell, year) == date_of(Dates(order).period, cell, year)


def date_of(period: Callable[..., str], cell: str, year: int) -> str | None:
    with suppress(ImportRefused):
        return period(cell, Place("x"), year=year)
    return None
