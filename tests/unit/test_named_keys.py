"""An article that is named by somebody (a page, a list, an editor) is the same one for all of them."""

import unicodedata

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.addresses import TAILS, article_key, rules_of
from visitstats.core.errors import HitRejected
from visitstats.core.presets import PRESETS
from visitstats.core.sites import Site
from visitstats.core.text import unfilled, visible

PORTAL = Site(id="portal", hosts=("portal.vn", "cu.portal.vn"))
CANONICAL = msgspec.structs.replace(PORTAL, use_canonical=True)
MOVED = msgspec.structs.replace(
    PORTAL, rules=((r"^/tin/(.*)$", r"https://portal.vn/moi/\1"), (r"^/abroad/(.*)$", r"https://other.vn/\1"))
)
NUKEVIET = Site(id="nuke", hosts=("portal.vn",), preset=("nukeviet",))
SITES = st.sampled_from(
    [PORTAL, CANONICAL, MOVED, *(Site(id=name, hosts=("portal.vn",), preset=(name,)) for name in PRESETS)]
)


def given_by_a_page(text: str, site: Site = PORTAL, canonical: str = "") -> str:
    return article_key(site, "https://portal.vn/page?id=1", explicit=text, canonical=canonical)


@pytest.mark.parametrize(
    ("text", "site", "expected"),
    [
        ("https://www.portal.vn/b/?utm_source=zalo#c", PORTAL, "/b"),
        ("HTTP://CU.PORTAL.VN:8080/b?y=2&x=1", PORTAL, "/b?x=1&y=2"),
        ("  https://portal.vn ", PORTAL, "/"),
        ("\u200bhttps://portal.vn/b", PORTAL, "/b"),
        ("https://portal.vn/vi/news/Tin/so-ket-2642.html", NUKEVIET, "news:2642"),
        ("https://portal.vn/x\u200by", PORTAL, "/x%E2%80%8By"),
        # No address of the site: a key like any other.
        ("https://other.vn/b?utm_source=zalo", PORTAL, "https://other.vn/b?utm_source=zalo"),
        ("https://portal.vn:80:80/b", PORTAL, "https://portal.vn:80:80/b"),
        ("https:///b", PORTAL, "https:///b"),
        ("https:", PORTAL, "https:"),
        ("ftp://portal.vn/b", PORTAL, "ftp://portal.vn/b"),
        ("/b/?utm_source=zalo", PORTAL, "/b/?utm_source=zalo"),
        ("see https://portal.vn/b", PORTAL, "see https://portal.vn/b"),
    ],
)
def test_a_key_that_is_an_address_of_the_site_is_the_article_of_that_address(
    text: str, site: Site, expected: str
) -> None:
    """What is counted under an address must be found under it again."""
    assert given_by_a_page(text, site) == expected
    assert rules_of(site).named(text) == expected


def test_the_key_that_a_page_gives_wins_over_its_canonical_link() -> None:
    assert given_by_a_page("https://portal.vn/b", CANONICAL, canonical="https://portal.vn/c") == "/b"
    assert given_by_a_page("https://other.vn/b", CANONICAL, canonical="https://portal.vn/c") == "https://other.vn/b"
    assert given_by_a_page(" \u200b", CANONICAL, canonical="https://portal.vn/c") == "/c"


def test_a_key_that_is_an_address_does_not_open_the_site_to_other_hosts() -> None:
    with pytest.raises(HitRejected) as refused:
        article_key(PORTAL, "https://evil.example/a", explicit="https://portal.vn/b")
    assert refused.value.reason == "host"


def test_a_rule_that_makes_an_address_of_the_site_makes_no_key_that_could_not_be_read_back() -> None:
    assert article_key(MOVED, "https://portal.vn/tin/5/?fbclid=x") == "/moi/5"
    assert article_key(MOVED, "https://portal.vn/abroad/5") == "https://other.vn/5"


def test_a_text_in_which_nothing_can_be_seen_names_nothing() -> None:
    assert [rules_of(PORTAL).named(text) for text in ("", " \n", "\u200b\u202e")] == ["", "", ""]


@pytest.mark.parametrize("text", ["ộ" * 171, "https://other.vn/" + "b" * 500, "\ud800", "a" + "\u0323" * 31])
def test_what_no_page_can_give_as_a_key_names_no_article(text: str) -> None:
    with pytest.raises(HitRejected) as by_name:
        rules_of(PORTAL).named(text)
    with pytest.raises(HitRejected) as by_page:
        given_by_a_page(text)
    assert by_name.value.reason == by_page.value.reason


@given(st.text() | TAILS, SITES)
@example("bài\u0309 1 ", PORTAL)
@example("tin/" + "a" * 600, MOVED)
@example("tin?a={{b}}", PORTAL)
def test_who_names_an_article_means_the_one_that_a_page_means(tail: str, site: Site) -> None:
    """And the key that was found names it, too."""
    for text in (tail, "https://portal.vn/" + tail, "http://" + tail, "https://other.vn/" + tail):
        try:
            made = rules_of(site).named(text)
        except HitRejected:
            continue
        if made:
            assert given_by_a_page(text, site) == made
            assert rules_of(site).named(made) == made
        if text.startswith("https://portal.vn/"):
            key = article_key(site, text)
            # An address that looks like an unfilled template names nothing; its key, percent-encoded, does.
            assert (made or rules_of(site).named(key)) == key
            assert bool(made) != unfilled(visible(text))


@given(st.text())
def test_the_spelling_of_a_key_makes_no_difference(text: str) -> None:
    try:
        made = rules_of(PORTAL).named(text)
    except HitRejected:
        return
    assert rules_of(PORTAL).named(f" {text}\u200b\n") == made
    assert rules_of(PORTAL).named(unicodedata.normalize("NFC", text)) == made
