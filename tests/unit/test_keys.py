"""Rules of article keys. Vectors come from addresses of real portals."""

import re
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.addresses import TAILS, article_key, rules_of
from visitstats.core import tracking
from visitstats.core.addresses import C0_AND_SPACE, MAX_URL_CHARS
from visitstats.core.errors import HitRejected
from visitstats.core.keys import MAX_KEY_BYTES, article_id
from visitstats.core.presets import PRESETS
from visitstats.core.sites import Site

PORTAL = Site(id="portal", hosts=("portal.vn", "cu.portal.vn"))
SHAREPOINT = Site(id="sp", hosts=("portal.vn",), ignore_case=True, id_params=("NewsId", "ListName"))
NAMED = Site(id="named", hosts=("portal.vn",), id_params=("NewsId", "ID"))
CASELESS = Site(id="caseless", hosts=("portal.vn",), ignore_case=True)
CANONICAL = Site(id="canonical", hosts=("portal.vn",), use_canonical=True)
ROUTES = Site(id="routes", hosts=("portal.vn",), hash_routes=True)
RULES = Site(
    id="rules",
    hosts=("portal.vn",),
    hash_routes=True,
    rules=(
        (r"^/tin/(\d+)", r"tin:\1"),
        (r"^/old(/.*)?$", r"/new\1"),
        (r"^(/a.*)$", r"/a\1"),  # never at rest
        (r"=(.)", r"/?x=\1&y=\0"),
        (r"~(.*)$", r"\1"),
        (r"[%](..)", r"\1 \1"),
    ),
)
PRESET_SITES = [Site(id=name, hosts=("portal.vn",), preset=(name,)) for name in PRESETS]
SITES = st.sampled_from([PORTAL, SHAREPOINT, NAMED, CASELESS, CANONICAL, ROUTES, RULES, *PRESET_SITES])


def key(path: str, site: Site = PORTAL, **more: str) -> str:
    return article_key(site, "https://portal.vn" + path, **more)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/vi/tin-bai/quy-dinh?id=130235&type=NEWS&utm_source=zalo", "/vi/tin-bai/quy-dinh?id=130235&type=NEWS"),
        ("/x%c3%a3-h%e1%bb%99i/a", "/x%C3%A3-h%E1%BB%99i/a"),
        ("/xã-hội/a", "/x%C3%A3-h%E1%BB%99i/a"),
        (unicodedata.normalize("NFD", "/xã-hội/a"), "/x%C3%A3-h%E1%BB%99i/a"),
        (quote(unicodedata.normalize("NFD", "/xã-hội/a")), "/x%C3%A3-h%E1%BB%99i/a"),
        ("/?p=954", "/?p=954"),
        ("/?p=955", "/?p=955"),
        ("/a/", "/a"),
        ("/a", "/a"),
        ("//a", "/a"),
        ("/a;jsessionid=1F", "/a"),
        ("/Lists/NghienCuuTraoDoi/View_Detail.aspx?ItemID=70", "/Lists/NghienCuuTraoDoi/View_Detail.aspx?ItemID=70"),
        ("/portal/pages/2023-01-30/Ung-dung-v-468686.aspx", "/portal/pages/2023-01-30/Ung-dung-v-468686.aspx"),
        ("/wps/portal/!ut/p/z1/04_Sj/?cur_id=d0e4", "/wps/portal/!ut/p/z1/04_Sj?cur_id=d0e4"),
        ("/web/guest/news/-/asset_publisher/x/content/t", "/web/guest/news/-/asset_publisher/x/content/t"),
    ],
)
def test_addresses_of_portals_have_the_keys_of_the_documentation(path: str, expected: str) -> None:
    assert key(path) == expected


def test_a_site_may_name_the_parameters_that_matter_and_ignore_case() -> None:
    expected = "/detailnews.aspx?listname=TinTuc&newsid=12"
    assert key("/DetailNews.aspx?NewsId=12&ListName=TinTuc&CategoryId=3", SHAREPOINT) == expected
    assert key("/detailnews.aspx?listname=TinTuc&newsid=12&zarsrc=30", SHAREPOINT) == expected
    others = {
        key("/DetailNews.aspx?NewsId=13&ListName=TinTuc&CategoryId=3", SHAREPOINT),
        key("/DetailNews.aspx?NewsId=12&ListName=ThongBao&CategoryId=3", SHAREPOINT),
    }
    assert len(others | {expected}) == 3


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/"),
        ("#top", "/"),
        ("/index.html", "/"),
        ("/Index.PHP?language=vi&id=3", "/?id=3&language=vi"),
        ("/tin/default.aspx", "/tin"),
        ("/tin/index.jsp/", "/tin"),
        ("/index.html/index.html", "/"),
        ("/index.php/tin/5", "/index.php/tin/5"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2E%2e/b", "/b"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("///a////b//", "/a/b"),
        ("\\a\\b", "/a/b"),
        ("/a;v=1;JSessionID=1F;w=2/b;jsessionid", "/a;v=1;w=2/b"),
        ("/a%3Bjsessionid=1F", "/a"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%252Fb", "/a%252Fb"),
        ("/100%", "/100%25"),
        ("/100%25", "/100%25"),
        ("/%zz%4", "/%25zz%254"),
        ("/%ff%e1%bb", "/%FF%E1%BB"),
        ("/c++", "/c++"),
        ("/c%2B%2B", "/c++"),
        ("/%61%7E", "/a~"),
        ("/a b\t", "/a%20b"),
        ("/a%0Ab%00", "/a%0Ab%00"),
        ("/Tin/BAI", "/Tin/BAI"),
        ("/#/tin/5", "/"),
    ],
)
def test_one_path_has_one_spelling(path: str, expected: str) -> None:
    assert key(path) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("b=2&a=1", "?a=1&b=2"),
        ("a=2&b=0&a=1", "?a=2&a=1&b=0"),
        ("UTM_Source=x&Utm_Whatever=y&FBCLID=z&fb_action=1&_ga=1&PHPSESSID=1&typeInapp=2&id=5", "?id=5"),
        ("%75tm_source=x", ""),
        ("a=&b&=&&c=1", "?c=1"),
        ("ref=1&src=2&tab=3&page=4", "?page=4&ref=1&src=2&tab=3"),
        ("q=a+b", "?q=a%20b"),
        ("q=a%20b", "?q=a%20b"),
        ("q=a%2Bb", "?q=a%2Bb"),
        ("id=abc==", "?id=abc%3D%3D"),
        ("id=a%26b%3D", "?id=a%26b%3D"),
        ("tên=xã", "?t%C3%AAn=x%C3%A3"),
        ("u=https://a.vn/?b", "?u=https://a.vn/?b"),
        ("p=%ff", "?p=%FF"),
    ],
)
def test_the_query_is_kept_sorted_and_without_tracking(query: str, expected: str) -> None:
    assert key("/a?" + query) == "/a" + expected


def test_every_tracking_parameter_is_dropped_in_any_case() -> None:
    query = "&".join(f"{name.upper()}=1" for name in sorted(tracking.NAMES))
    assert key(f"/a?{query}&id=5") == "/a?id=5"


def test_what_ads_letters_and_challenges_add_today_makes_no_other_article() -> None:
    ads = "gad_source=1&gad_campaignid=2&igsh=3&ysclid=4&li_fat_id=5&__cf_chl_tk=6&__cf_chl_rt_tk=7"
    letters = "_hsenc=1&_hsmi=2&mkt_tok=3"
    assert key(f"/a?{ads}&id=5&{letters}") == "/a?id=5"
    assert key("/a?gad=1&igs=2&cf_chl=3&mkt=4") == "/a?cf_chl=3&gad=1&igs=2&mkt=4", "what is only alike stays"


def test_a_site_may_drop_more_parameters() -> None:
    site = Site(id="s", hosts=("portal.vn",), extra_drop_params=("Ref", "x-*"))
    assert key("/a?ref=home&X-Cache=1&id=5&refer=2&utm_source=z", site) == "/a?id=5&refer=2"


def test_a_parameter_that_the_site_names_matters_in_whatever_case_a_link_spells_it() -> None:
    assert key("/a?newsid=1", NAMED) == key("/a?NEWSID=1", NAMED) == key("/a?NewsId=1", NAMED) == "/a?NewsId=1"
    assert key("/a?newsid=1", NAMED) != key("/a?newsid=2", NAMED)
    assert key("/A?%4eewsid=1&b=2", NAMED) == "/A?NewsId=1", "the path keeps its case, and other parameters go"


def test_too_many_or_too_long_parameters_are_hashed_and_still_tell_articles_apart() -> None:
    eight = "&".join(f"p{i}=1" for i in range(8))
    assert key("/a?" + eight) == "/a?" + eight
    nine, other = key(f"/a?{eight}&p8=1"), key(f"/a?{eight}&p8=2")
    assert nine.startswith("/a~")
    assert nine != other
    assert len(nine) == len("/a~") + 32
    assert key(f"/a?p8=1&{eight}") == nine, "the order of parameters still does not matter"
    assert key("/a?id=" + "1" * 2000) != key("/a?id=" + "1" * 2001)


def test_a_long_path_is_cut_between_characters_and_stays_unique() -> None:
    long = "/" + "ộ" * 800
    first, second = key(long + "a"), key(long + "b")
    assert first != second
    assert max(len(first), len(second)) <= MAX_KEY_BYTES
    assert first.startswith("/%E1%BB%99%E1%BB%99")
    assert first[: first.index("~")].count("%") % 3 == 0


def test_keys_do_not_change_between_releases() -> None:
    """Stored counts hang on these bytes."""
    assert article_id("/").hex() == "2a10df2e1f75cc48"
    assert article_id("/x%C3%A3-h%E1%BB%99i/a").hex() == "39e00e7dea12f6b2"
    assert article_id("bài-1").hex() == "561af27a611adcb1"
    assert key("/a?id=" + "1" * 600) == "/a~63e2216b2ea9069de437380c454656c1"


def test_an_explicit_key_wins_over_the_address() -> None:
    assert key("/a?id=5", explicit="news:2642", canonical="https://portal.vn/b") == "news:2642"


def test_an_explicit_key_is_kept_but_for_what_cannot_be_seen() -> None:
    assert key("/a", explicit="  Bài-1 %2F?x#y ") == "Bài-1 %2F?x#y"
    assert key("/a", explicit="a\u200bb\u202ec\x07\n") == "abc"
    assert key("/a", explicit=unicodedata.normalize("NFD", "xã-hội")) == "xã-hội"
    assert key("/a", explicit="e\u200b\u0301") == "é"


def test_an_explicit_key_that_shows_nothing_is_no_key() -> None:
    assert key("/a", explicit=" \u200b\n") == "/a"


UNFILLED = (
    "{{ page.id }}", "news:{{id}}", "${id}", "<%= id %>", "<%# Eval('id') %>", "[[id]]", "{% raw %}", "#{bean.id}",
    "{{ a[", "undefined", "null", "NaN", "[object Object]", " undefined\u200b ",
)  # fmt: skip


@pytest.mark.parametrize("text", UNFILLED)
def test_a_template_that_was_not_filled_is_no_key(text: str) -> None:
    """All pages have it: all articles would be one."""
    assert key("/a", explicit=text) == "/a"
    assert rules_of(PORTAL).named(text) == ""
    note = next(step.note for step in rules_of(PORTAL).explain("https://portal.vn/a", explicit=text).steps[1:])
    assert "not filled" in note


@pytest.mark.parametrize("text", ["Undefined behaviour", "null-1", "a{b}", "{id}", "100%", "a[0]", "$5", "#1", "<b>"])
def test_a_key_that_only_looks_a_little_like_one_is_a_key(text: str) -> None:
    assert key("/a", explicit=text) == text


@given(st.sampled_from(["{{", "{%", "${", "#{", "<%", "[["]), st.text(max_size=40), st.text(max_size=40), TAILS)
def test_wherever_the_mark_of_a_template_stands_the_address_is_the_key(
    mark: str, before: str, behind: str, tail: str
) -> None:
    assume(_is_a_key(before + mark + behind))
    try:
        expected = key("/" + tail)
    except HitRejected:
        assume(False)
    assert key("/" + tail, explicit=before + mark + behind) == expected


def _is_a_key(text: str) -> bool:
    """Whether it would be taken if it were no template."""
    try:
        return key("/a", explicit=re.sub(r"[{<\[$#%]", "x", text)) != "/a"
    except HitRejected:
        return False


@pytest.mark.parametrize(
    "canonical",
    [
        "https://portal.vn/%7B%7B%20page.url%20%7D%7D",
        "https://portal.vn/tin/$%7Burl%7D",
        "https://portal.vn/tin/%3C%=%20url%20%%3E",
        "https://portal.vn/tin/undefined",
        "https://portal.vn/%5Bobject%20Object%5D",
        "https://portal.vn/a#{url}",
    ],
)
def test_a_canonical_link_that_was_not_filled_is_none(canonical: str) -> None:
    """As a browser sends it: resolved against the page's address, and percent-encoded."""
    assert key("/a", CANONICAL, canonical=canonical) == "/a"


def test_an_explicit_key_that_is_too_long_is_refused_not_cut() -> None:
    assert key("/a", explicit="ộ" * 170) == "ộ" * 170
    with pytest.raises(HitRejected) as refused:
        key("/a", explicit="ộ" * 171)
    assert (refused.value.reason, refused.value.status) == ("bad-field", 400)


def test_marks_piled_on_one_letter_are_refused() -> None:
    """Sorting them takes quadratic time: 8 KiB of them would hold a worker for 74 ms."""
    for pile in ("a" + "\u0323" * 31, "a" + "%CC%A3" * 400, "a" * 4000 + "\u0301\u0323" * 2000):
        with pytest.raises(HitRejected) as refused:
            key("/" + pile)
        assert (refused.value.reason, refused.value.status) == ("bad-text", 400)
    assert key("/" + "o\u0302\u0323" * 100) == key("/" + "\u1ed9" * 100)


def test_an_explicit_key_does_not_open_the_site_to_other_hosts() -> None:
    with pytest.raises(HitRejected) as refused:
        article_key(PORTAL, "https://evil.example/a", explicit="news:1")
    assert (refused.value.reason, refused.value.status) == ("host", 200)


@pytest.mark.parametrize(
    ("canonical", "expected"),
    [
        ("https://www.portal.vn/b?id=1#x", "/b?id=1"),
        ("https://other.vn/b", "/a"),
        ("/b", "/a"),
        ("javascript:alert(1)", "/a"),
        ("", "/a"),
    ],
)
def test_only_a_canonical_link_within_the_site_names_the_article(canonical: str, expected: str) -> None:
    assert key("/a", CANONICAL, canonical=canonical) == expected
    assert key("/a", PORTAL, canonical=canonical) == "/a", "and only where the site wants it"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/a",
        "portal.vn/a",
        "//portal.vn/a",
        "ftp://portal.vn/a",
        "file:///C:/a.html",
        "javascript:alert(1)//https://portal.vn/",
        "about:blank",
        "https:portal.vn",
        "https:///a",
        "https://portal.vn/" + "a" * MAX_URL_CHARS,
    ],
)
def test_an_address_that_is_no_page_of_the_web_is_malformed(url: str) -> None:
    with pytest.raises(HitRejected) as refused:
        article_key(PORTAL, url)
    assert (refused.value.reason, refused.value.status) == ("bad-url", 400)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/a",
        "https://portal.vn.evil.example/a",
        "https://notportal.vn/a",
        "https://evil.example\\@portal.vn/a",
        "https://portal.vn@evil.example/a",
        "https://portal.vn:80:80/a",
        "https://por tal.vn/",
        "https://[::1/a",
        "https://" + "a" * 300 + "/",
    ],
)
def test_a_page_of_another_host_is_understood_but_not_counted(url: str) -> None:
    with pytest.raises(HitRejected) as refused:
        article_key(PORTAL, url)
    assert (refused.value.reason, refused.value.status) == ("host", 200)


@pytest.mark.parametrize(
    "origin",
    [
        "https://portal.vn",
        "http://www.portal.vn:8080",
        "HTTPS://M.PORTAL.VN:443",
        "http://user:secret@portal.vn",
        "http://portal.vn.",
    ],
)
def test_scheme_port_and_mobile_hosts_are_the_same_page(origin: str) -> None:
    assert article_key(PORTAL, origin + "/a?id=1#c") == "/a?id=1"


@given(
    st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")) | TAILS, SITES, st.text(), st.text()
)
def test_any_text_gives_a_key_or_a_named_refusal(url: str, site: Site, explicit: str, canonical: str) -> None:
    for candidate in (url, "https://portal.vn/" + url, "http://" + url):
        reason = made = ""
        try:
            made = article_key(site, candidate, explicit=explicit, canonical=canonical)
        except HitRejected as refused:
            reason = refused.reason
        assert reason in {"", "host", "bad-url", "bad-field", "bad-text"}
        assert bool(made) != bool(reason)
        assert len(made.encode()) <= MAX_KEY_BYTES


@given(TAILS, SITES)
@example("/%25%32%46", PORTAL)
@example("/index.html/index.html;jsessionid=1", PORTAL)
@example("/" + "%E1" * 400 + "%BB%99", PORTAL)
@example("/a?~=1", SHAREPOINT)
def test_the_page_named_by_a_key_has_that_key(tail: str, site: Site) -> None:
    """So that a list of keys can be linked, imported and merged without surprises."""
    try:
        made = key("/" + tail, site)
    except HitRejected:
        return
    assert made.isascii()
    assert made.isprintable()
    assert key("/", site, explicit=made) == made
    if made.startswith("/"):
        assert key(made, site) == made


@given(TAILS, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="&#+%="), min_size=1, max_size=40))
def test_what_does_not_name_the_article_does_not_change_its_key(tail: str, value: str) -> None:
    page = "/" + tail.partition("#")[0].rstrip(C0_AND_SPACE)
    try:
        expected = key(page)
    except HitRejected:
        return
    tracked = f"{page}{'&' if '?' in page else '?'}utm_source={value}&FBclid={value}"
    for origin in ("http://portal.vn", "https://www.portal.vn", "https://m.portal.vn:8443", "https://cu.portal.vn"):
        assert article_key(PORTAL, origin + page) == expected
        assert article_key(PORTAL, origin + tracked + "#" + value) == expected


@given(st.text(st.sampled_from("aăâđeêioôơuư\u0300\u0301\u0303\u0309\u0323/?=&"), max_size=60))
def test_composed_and_decomposed_letters_are_one_address(tail: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, "/" + tail) for form in ("NFC", "NFD"))
    assert key(composed) == key(decomposed) == key(quote(decomposed, safe="/?=&"))


@given(TAILS)
def test_pages_that_differ_only_in_an_identifier_have_keys_of_their_own(tail: str) -> None:
    """The bug of counters that cut the query: everything merged into one article."""
    page = "/" + tail.replace("?", "").partition("#")[0]
    try:
        key(page)
    except HitRejected:
        return
    assert key(f"{page}?ItemID=70") != key(f"{page}?ItemID=71")


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("/#/tin/5", "/#/tin/5"),
        ("/#!/tin/5", "/#/tin/5"),
        ("/#!tin/5", "/#/tin/5"),
        ("/app/?v=1#/tin//5/?b=2&a=1&utm_source=zalo", "/app?v=1#/tin/5?a=1&b=2"),
        ("/#/xa\u0303#top", "/#/x%C3%A3%23top"),
        ("/a#top", "/a"),
        ("/a#!", "/a"),
        ("/a#/", "/a"),
        ("/a#comment-3/5", "/a"),
    ],
)
def test_a_route_in_the_fragment_is_a_page_only_where_the_site_says_so(tail: str, expected: str) -> None:
    assert key(tail, ROUTES) == expected
    assert key(expected, ROUTES) == expected
    assert "#" not in key(tail)


def test_parameters_of_a_route_are_limited_as_those_of_the_address() -> None:
    many = "&".join(f"p{i}=1" for i in range(9))
    assert key(f"/a#/b?{many}", ROUTES).startswith("/a~")
    assert key("/a?1=1&2=2&3=3&4=4#/b?5=5&6=6&7=7&8=8", ROUTES) == "/a?1=1&2=2&3=3&4=4#/b?5=5&6=6&7=7&8=8"


@given(st.text(max_size=80))
def test_an_explicit_key_is_its_own_key(explicit: str) -> None:
    try:
        made = key("/a", explicit=explicit)
    except HitRejected:
        return
    assert key("/a", explicit=made) == made
