"""Links as they are shared, tagged, copied and translated: whatever was done to one, it is the article that it was.

Each property is over generated links, since what people and programs do to addresses is no closed list.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.addresses import article_key
from visitstats.core import tracking
from visitstats.core.sites import Site

PORTAL = Site(id="portal", hosts=("portal.example.vn",))
NAMED = Site(id="named", hosts=("portal.example.vn",), id_params=("id", "ListName"))
SITES = st.sampled_from([PORTAL, NAMED])
ORIGIN = "https://portal.example.vn"

# A prefix stands for any name that begins so.
TRACKERS = st.sampled_from(sorted(tracking.NAMES)) | st.builds(
    str.__add__, st.sampled_from(tracking.PREFIXES), st.text("abcxyz0129_", min_size=1, max_size=6)
)
WORDS = st.text(st.sampled_from("abcdeghiklmnopqrstuvxy0123456789-_.~ăâđêôơưạếộữ"), min_size=1, max_size=12).filter(
    lambda word: word.strip(".") != ""
)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="&#=?+%; "), min_size=1, max_size=12)
PATHS = st.lists(WORDS, min_size=1, max_size=4).map(lambda words: "/" + "/".join(words) + "/x.html")
IDS = st.lists(
    st.tuples(st.sampled_from(["id", "ItemID", "ListName", "p", "page", "ref", "tab"]), WORDS),
    max_size=3,
    unique_by=lambda pair: pair[0].lower(),
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


def in_some_case(name: str, flips: int) -> str:
    return "".join(c.upper() if flips >> place & 1 else c for place, c in enumerate(name))


@st.composite
def tags(draw: st.DrawFn) -> str:
    """One tracking parameter, in some spelling of its name."""
    name = in_some_case(draw(TRACKERS), draw(st.integers(0, 2**12)))
    if draw(st.booleans()):
        name = "".join(f"%{ord(c):02x}" if c.isalpha() and draw(st.booleans()) else c for c in name)
    return f"{name}={draw(VALUES)}"


AMPERSANDS = st.sampled_from(["&", "&amp;", "&amp;amp;", "&&", "&AMP;", "&?", "&%20"])
QUESTIONS = st.sampled_from(["?", "??", "?&", "?amp;", "?&amp;"])


def link(path: str, ids: str) -> str:
    return f"{path}?{ids}" if ids else path


@given(SITES, PATHS, IDS, st.lists(st.tuples(AMPERSANDS, tags()), min_size=1, max_size=4), QUESTIONS)
def test_tracking_behind_any_kind_of_ampersand_changes_nothing(
    site: Site, path: str, ids: str, added: list[tuple[str, str]], question: str
) -> None:
    tail = "".join(ampersand + tag for ampersand, tag in added)
    shared = f"{path}?{ids}{tail}" if ids else f"{path}{question}{added[0][1]}{tail}"
    assert article_key(site, ORIGIN + shared) == article_key(site, ORIGIN + link(path, ids))


@given(SITES, PATHS, IDS.filter(bool), st.lists(tags(), min_size=1, max_size=3), QUESTIONS)
def test_tracking_behind_a_second_question_mark_changes_nothing(
    site: Site, path: str, ids: str, added: list[str], question: str
) -> None:
    """Programs that add `?utm_source=…` to whatever they are given."""
    shared = f"{path}?{ids}{question}{'&'.join(added)}"
    assert article_key(site, ORIGIN + shared) == article_key(site, ORIGIN + f"{path}?{ids}")


@given(PATHS, st.lists(tags(), min_size=1, max_size=3), st.sampled_from(["&", "&amp;", "%3F", "%26", "?"]))
@example("/champ;jsessionid=1", ["session_id=0"], "&amp;")
@example("/champ;jsessionid=1", ["jsessionid=0", "fbclid=1"], "&amp;amp;")
def test_tracking_that_was_added_to_the_path_changes_nothing(path: str, added: list[str], mark: str) -> None:
    tail = "&".join(added).replace("/", "").replace("\\", "")
    tail = quote(tail, safe="%") if mark.startswith("%") else tail
    assert article_key(PORTAL, f"{ORIGIN}{path}{mark}{tail}") == article_key(PORTAL, ORIGIN + path)


@given(PATHS, IDS.filter(bool), st.lists(tags(), min_size=1, max_size=3), st.booleans(), WORDS, WORDS)
def test_whatever_is_added_two_articles_stay_two(
    path: str, ids: str, added: list[str], second: bool, one: str, other: str
) -> None:
    """Also when what is added stands before the parameter that tells them apart."""
    tail = f"{ids}{'?' if second else '&amp;'}{'&'.join(added)}"
    keys = [article_key(PORTAL, f"{ORIGIN}{path}?{tail}&NewsId={each}") for each in (one, other)]
    assert (keys[0] == keys[1]) == (article_key(PORTAL, f"{ORIGIN}/{one}") == article_key(PORTAL, f"{ORIGIN}/{other}"))


SESSIONS = st.sampled_from(
    ["jsessionid=1F2E!-77!88", "JSESSIONID=0000a:-1", "jsessionid", "PHPSESSID=ab12", "sid=9", "CFID=1;CFTOKEN=2"]
)
COOKIELESS = st.text("abcdefghijkmnopqrstuvwxyz012345", min_size=1, max_size=24).flatmap(
    lambda token: st.sampled_from([f"(S({token}))", f"(A({token})S({token}))", f"(X(1)F({token}-_))", f"(s({token}))"])
)


@given(PATHS, IDS, SESSIONS, COOKIELESS, st.integers(0, 4))
def test_a_session_in_the_path_changes_nothing(path: str, ids: str, session: str, cookieless: str, place: int) -> None:
    parts = path.split("/")
    with_parameter = "/".join([*parts[: place + 1], *(f"{part};{session}" for part in parts[place + 1 :])])
    with_segment = "/".join([*parts[: place + 1], cookieless, *parts[place + 1 :]])
    expected = article_key(PORTAL, ORIGIN + link(path, ids))
    assert article_key(PORTAL, ORIGIN + link(with_parameter, ids)) == expected
    if place + 1 < len(parts):
        assert article_key(PORTAL, ORIGIN + link(with_segment, ids)) == expected


@given(
    PATHS,
    IDS,
    st.sampled_from(["vi", "en", "zh-CN"]),
    st.lists(st.sampled_from(["hl", "hist", "pto", "sch"]), unique=True),
)
def test_a_page_that_google_translates_is_the_page(path: str, ids: str, language: str, more: list[str]) -> None:
    own = "&".join([f"_x_tr_sl=vi&_x_tr_tl={language}", *(f"_x_tr_{name}=1" for name in more)])
    shown = f"https://portal-example-vn.translate.goog{path}?{ids}{'&' if ids else ''}{own}"
    assert article_key(PORTAL, shown) == article_key(PORTAL, ORIGIN + link(path, ids))


@pytest.mark.parametrize("value", ["1712345678901", "0"])
def test_jquerys_number_against_caches_changes_nothing_and_a_word_does(value: str) -> None:
    assert article_key(PORTAL, f"{ORIGIN}/?id=1&_={value}") == "/?id=1"
    assert article_key(PORTAL, f"{ORIGIN}/?id=1?_={value}") == "/?id=1"
    assert article_key(PORTAL, f"{ORIGIN}/a&_={value}") == "/a"
    assert article_key(PORTAL, f"{ORIGIN}/?id=1&_=so-ket") == "/?_=so-ket&id=1"


def test_a_session_id_is_known_by_its_length_and_a_short_one_is_an_articles() -> None:
    assert article_key(PORTAL, f"{ORIGIN}/t?sid=0123456789abcdef0123456789ABCDEF") == "/t"
    assert article_key(PORTAL, f"{ORIGIN}/t?sid=12") == "/t?sid=12"


def test_what_only_looks_like_tracking_stays() -> None:
    assert article_key(PORTAL, f"{ORIGIN}/a?q=hỏi?&u=https://b.vn/?c=1") == "/a?q=h%E1%BB%8Fi&u=https://b.vn/?c%3D1"
    assert article_key(PORTAL, f"{ORIGIN}/r&d/a") == "/r&d/a"
    assert article_key(PORTAL, f"{ORIGIN}/a?ampere=1&x=b?c") == "/a?ampere=1&x=b?c"
    assert article_key(PORTAL, f"{ORIGIN}/(S)/a") == "/(S)/a"


def test_a_site_may_want_a_name_that_only_tracks_elsewhere() -> None:
    site = Site(id="s", hosts=("portal.example.vn",), id_params=("spm", "sid"))
    assert article_key(site, f"{ORIGIN}/a?spm=7&sid={'ab' * 16}&x=1") == f"/a?sid={'ab' * 16}&spm=7"


def test_every_name_has_a_source_and_the_date_on_which_it_was_read() -> None:
    for family in tracking.FAMILIES:
        assert all((family.names, family.owner, family.source)), family
        assert family.names == family.names.lower()
        assert len(family.seen.split("-")) == 3
    every = [name for family in tracking.FAMILIES for name in family.names.split()]
    assert len(every) == len(set(every))
