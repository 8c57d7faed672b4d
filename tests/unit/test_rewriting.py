"""Rewrite rules: administrators' own and those of the presets. What they join is joined for ever, so that each has
vectors from real portals, and nothing that they are given can hang a worker."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.addresses import TAILS, article_key, rules_of
from visitstats.core.errors import HitRejected, InvalidSite
from visitstats.core.keys import MAX_KEY_BYTES, MAX_REWRITTEN, KeyRules
from visitstats.core.presets import PRESETS
from visitstats.core.rewriting import MAX_RULES, Pattern
from visitstats.core.sites import Site
from visitstats.system import patterns
from visitstats.system.patterns import linear_pattern

Rules = tuple[tuple[str, str], ...]
VECTORS = [(name, *example) for name, preset in PRESETS.items() for example in preset.examples]


def site_of(*rules: tuple[str, str], preset: tuple[str, ...] = ()) -> Site:
    return Site(id="s", hosts=("portal.vn",), rules=rules, preset=preset)


def key(tail: str, site: Site) -> str:
    return article_key(site, "https://portal.vn" + tail)


def refused(*rules: tuple[str, str]) -> str:
    with pytest.raises(InvalidSite) as error:
        rules_of(site_of(*rules))
    assert "\n" not in str(error.value)
    return str(error.value)


# Presets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "tail", "expected"), VECTORS)
def test_addresses_of_a_preset_have_the_keys_of_its_examples(preset: str, tail: str, expected: str) -> None:
    assert key(tail, site_of(preset=(preset,))) == expected


def test_the_three_addresses_of_a_nukeviet_article_are_one() -> None:
    site = Site(id="s", hosts=("a.vn",), preset=("nukeviet",))
    assert {
        article_key(site, "https://a.vn/vi/news/Tin/so-ket-2642.html?fbclid=x"),
        article_key(site, "http://www.a.vn/vi/news/Khac/ten-moi-2642.html#c"),
        article_key(site, "https://a.vn/vi/news/print/Tin/so-ket-2642.html"),
    } == {"news:2642"}


@pytest.mark.parametrize(
    ("preset", "tails"),
    [
        (
            "nukeviet",
            "/vi/news/Tin/a-12.html /vi/news/Tin/a-13.html /vi/news/Tin/a-1.html /en/news/Tin/a-12.html "
            "/vi/tin-tuc/Tin/a-12.html /vi/download/Tai/Ke-hoach-2023.html /vi/download/Tai/Bao-cao-2023.html "
            "/vi/about/ke-hoach-2023.html /vi/about/bao-cao-2023.html /vi/news/Tin/page-2/ /vi/news/Khac/page-2/ "
            "/vi/news/tag/covid-19/ /vi/news/Tin/",
        ),
        (
            "portal-pages",
            "/portal/pages/2023-01-30/a-12.aspx /portal/pages/2023-01-30/a-13.aspx /portal/pages/a-12.aspx",
        ),
        (
            "sharepoint",
            "/D.aspx?NewsId=12&ListName=TinTuc /D.aspx?NewsId=13&ListName=TinTuc /D.aspx?NewsId=12&ListName=ThongBao "
            "/D.aspx?NewsId=12 /D.aspx?NewsId=13 /E.aspx?NewsId=12&ListName=TinTuc /Lists/A/V.aspx?ItemID=70 "
            "/Lists/A/V.aspx?ItemID=71 /Lists/B/V.aspx?ItemID=70 /sub/Lists/A/V.aspx?ItemID=70 /c.aspx?CategoryId=3 "
            "/c.aspx?CategoryId=4 /Pages/a.aspx /Pages/b.aspx /Lists/A/V.aspx /Lists/B/V.aspx",
        ),
        (
            "liferay",
            "/web/guest/a/-/asset_publisher/x/content/t1 /web/guest/a/-/asset_publisher/x/content/t2 "
            "/web/so-y-te/a/-/asset_publisher/x/content/t1 /web/guest/a/-/asset_publisher/x/content/id/1 "
            "/web/guest/a/-/asset_publisher/x/content/id/2 /web/guest/a/-/asset_publisher/x/content/t1/20182 "
            "/web/guest/a/-/asset_publisher/x/content/t1/30417 /a/-/asset_publisher/x/content/t1/20182 "
            "/web/guest/a/-/blogs/t1 /web/guest/a /web/guest/b "
            "/x?_101_assetEntryId=1 /x?_101_assetEntryId=2 /a/-/asset_publisher/x/content/t1",
        ),
        (
            "websphere",
            "/wps/portal/!ut/p/a/?cur_id=1 /wps/portal/!ut/p/a/?cur_id=2 /wps/portal/!ut/p/a /wps/portal/!ut/p/b "
            "/wps/portal/x?urile=wcm:path:/lib/a /wps/portal/x?urile=wcm:path:/lib/b "
            "/wps/portal/x?WCM_GLOBAL_CONTEXT=/wps/wcm/connect/lib/a "
            "/wps/portal/x?WCM_GLOBAL_CONTEXT=/wps/wcm/connect/lib/b",
        ),
        ("wordpress", "/?p=954 /?p=955 /?page_id=954 /?attachment_id=954 /a /b /2023/05 /?s=amp /?cat=3"),
        (
            "joomla",
            "/index.php?option=com_content&view=article&id=12 /index.php?option=com_content&view=article&id=13:a "
            "/index.php?option=com_content&view=category&id=12 /index.php?option=com_k2&view=item&id=12:a "
            "/index.php?option=com_contact&view=contact&id=12 /tin/14-a /tin/item/14-a /tin/2023-bao-cao-a "
            "/tin/2023-bao-cao-b /gioi-thieu/2023-bao-cao-a /tin?view=category&id=12 /index.php?Itemid=12 /tin /12 "
            "/tin?option=com_weblinks&view=article&id=12",
        ),
        (
            "dnn",
            "/a/tabid/63/ArticleID/12/a.aspx /a/tabid/63/ArticleID/13/a.aspx /a/ArtMID/1/ArticleID/12/a "
            "/a/articleType/ArticleView/articleId/12/a.aspx /a/EntryId/12/a /a/tabid/63/Default.aspx /?tabid=64 /a /b "
            "/a/tabid/63/ItemID/12/a.aspx /a/tabid/64/ItemID/12/a.aspx /a/tabid/63/NewsID/12/a.aspx /?tabid=63&CatId=2 "
            "/?tabid=63&CatId=3 /a/tabid/63/CategoryId/5/Default.aspx",
        ),
        (
            "drupal",
            "/node/12 /node/13 /en/node/12 /node/12/edit /taxonomy/term/12 /?q=taxonomy/term/13 /tin-tuc/a /tin-tuc/b "
            "/?q=a/b&id=1 /?q=a/b&id=2 /tin?page=1 /tin?page=2",
        ),
        ("press", "/tin/a-1.html /tin/a-2.html /in-an/a-1.html /tin/b?id=1 /tin/b?id=2 /amp-cong-suat /may-print"),
    ],
)
def test_a_preset_never_joins_two_articles(preset: str, tails: str) -> None:
    addresses = tails.split()
    assert len({key(tail, site_of(preset=(preset,))) for tail in addresses}) == len(addresses)


@given(st.sampled_from(sorted(PRESETS)), st.integers(0, 10**9), st.integers(0, 10**9))
def test_two_ids_in_the_same_address_are_two_articles(preset: str, one: int, other: int) -> None:
    site = site_of(preset=(preset,))
    for tail, expected in PRESETS[preset].examples:
        for number in ("2642", "468686", "12", "70", "954", "4567", "40211", "d0e4a1"):
            if number in tail and number in expected:
                first, second = (tail.replace(number, str(n)) for n in (one, other))
                assert (key(first, site) == key(second, site)) == (one == other)


def test_presets_are_applied_in_the_order_in_which_the_site_names_them() -> None:
    amp = "/vi/news/Tin/so-ket-2642.html/amp"
    assert key(amp, site_of(preset=("press", "nukeviet"))) == "news:2642"
    assert key(amp, site_of(preset=("nukeviet", "press"))) == "news:2642", "the second round finds it"


def test_a_rule_of_the_site_is_an_exception_to_its_preset() -> None:
    site = site_of((r"^/vi/news/Video/", r"video"), preset=("nukeviet",))
    assert key("/vi/news/Video/a-7.html", site) == "video"
    assert key("/vi/news/Tin/a-7.html", site) == "news:7"


def test_a_preset_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(InvalidSite, match="no preset 'typo3'; there are nukeviet, portal-pages"):
        site_of(preset=("typo3",))


# Rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "template", "tail", "expected"),
    [
        (r"-c(\d+)\.html$", r"c:\1", "/tin/nam-2022-c2522.html?utm_source=x", "c:2522"),
        (r"^/(?P<mod>\w+)/.*-(?P<id>\d+)$", "{mod}:{id}", "/tin/a/b-7", "tin:7"),
        (r"^/tin/(\d+)", r"/bai/\1", "/tin/5?x=1", "/bai/5"),
        (r"^/tin/(\d+)", r"//bai//\1/?b=1&a=2&utm_source=x", "/tin/5", "/bai/5?a=2&b=1"),
        (r"^/x%C3%A3/(.*)$", r"xã: \1", "/xa\u0303/a", "xã: a"),
        (r"^/(a)?b", r"[\1]", "/b", "[]"),
        (r"^/.*", r"\\\{\0\}", "/b", r"\{/b}"),
        (r"^/TIN", "tin", "/tin", "/tin"),
        (r"^/(tin)?", r"\1", "/x", "/x"),
    ],
)
def test_what_the_template_makes_is_the_key(pattern: str, template: str, tail: str, expected: str) -> None:
    """Where the pattern is found, the whole address is replaced, not the part that was found."""
    assert key(tail, site_of((pattern, template))) == expected


def test_rules_are_applied_in_their_order_each_on_what_the_one_before_has_made() -> None:
    first, second, last = (r"^/a/(.*)", r"/b/\1"), (r"^/b/(.*)", r"/c/\1"), (r"^/c/(\d+)", r"c:\1")
    assert key("/a/5", site_of(first, second, last)) == "c:5"
    assert key("/a/5", site_of(first)) == "/b/5"
    assert key("/a/5", site_of((r"^/a/5", "five"), first, second)) == "five", "a key is no address: it is final"


def test_a_chain_in_the_wrong_order_comes_to_the_same_end() -> None:
    """So that the address that a rule makes has the key that it was made for."""
    site = site_of((r"^/b/(.*)", r"/c/\1"), (r"^/a/(.*)", r"/b/\1"))
    assert key("/a/5", site) == key("/b/5", site) == key("/c/5", site) == "/c/5"


@pytest.mark.parametrize(
    "rules",
    [((r"^/(.*)$", r"/x/\1"),), ((r"^/a(.*)$", r"/b\1"), (r"^/b(.*)$", r"/c\1"), (r"^/c(.*)$", r"/a\1x"))],
)
def test_rules_that_never_come_to_rest_are_not_applied(rules: Rules) -> None:
    site = site_of(*rules)
    assert key("/a/5", site) == "/a/5"
    [step] = [each for each in rules_of(site).explain("https://portal.vn/a/5").steps if each.rule == "rules at rest"]
    assert "none of them is applied" in step.note


def test_a_key_that_a_rule_makes_too_long_ends_in_a_hash() -> None:
    site = site_of((r"^/(.*)", r"ộ\1\1\1\1\1\1\1\1"))
    first, second = (key("/" + letter * 100, site) for letter in "ab")
    assert first != second
    assert max(len(first.encode()), len(second.encode())) <= MAX_KEY_BYTES
    assert first.startswith("ộaaa")
    assert article_key(site, "https://portal.vn/", explicit=first) == first


def test_an_address_that_is_too_long_for_rules_keeps_its_own_key() -> None:
    site = site_of((r"^/a", "short"))
    assert key("/a" * 100, site) == "short"
    assert key("/a" * (MAX_REWRITTEN // 2 + 1), site).startswith("/a/a")


def test_id_params_and_rewrite_rules_work_together() -> None:
    site = msgspec.structs.replace(site_of((r"\?id=(\d+)$", r"bai:\1")), id_params=("id",))
    assert key("/xem?type=NEWS&id=5", site) == "bai:5"


# Refused when saved ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "finding"),
    [
        (("(", "x"), "site s: rule 2: missing ): ("),
        (("(?=a)", "x"), "rule 2: invalid perl operator: (?="),
        ((r"(a)\1", "x"), r"rule 2: invalid escape sequence: \1"),
        (("(a)", r"\2"), "rule 2: the template names a group '2' that the pattern does not have"),
        (("(?P<id>a)", "{no}"), "rule 2: the template names a group 'no'"),
        (("a", "x{"), "rule 2: a stray '{' in the template"),
        (("a", "x\\n"), r"rule 2: a stray '\\' in the template"),
        (("a", ""), "rule 2: a template has 1 to 200 characters, not 0"),
        (("", "x"), "rule 2: a pattern has 1 to 200 characters, not 0"),
        (("a" * 201, "x"), "rule 2: a pattern has 1 to 200 characters, not 201"),
        (("a", "x" * 201), "rule 2: a template has 1 to 200 characters, not 201"),
        (("xã", "x"), "rule 2: addresses are percent-encoded when rules see them; write %C3%A3 for ã"),
        (("a", "x\u200b"), "rule 2: the template has space at its ends or characters that cannot be seen"),
        (("a", " x"), "rule 2: the template has space at its ends"),
        (("a", "e" + "\u0323" * 40), "rule 2: the template is not a text"),
        (("a", "\ud800"), "rule 2: the template is not a text"),
        (("(a{1000}){1000}", "x"), "rule 2: invalid repetition size: {1000}"),
        (("((abc|bcd){1,30}){1,30}", "x"), "rule 2: the patterns are too large"),
    ],
)
def test_a_bad_rule_is_refused_in_one_line_that_names_it(rule: tuple[str, str], finding: str) -> None:
    assert finding in refused((r"^/fine", "fine"), rule)


def test_the_number_of_rules_is_limited() -> None:
    fine = ((r"^/a-(\d+)", r"a:\1"),) * MAX_RULES
    assert key("/a-5", site_of(*fine)) == "a:5"
    assert "51 rules: at most 50" in refused(*fine, ("a", "b"))


def test_all_presets_and_rules_fit_together() -> None:
    rules_of(site_of(*((r"^/[a-z]+/(\d{4})/(\d{2})/[^/?]+-(\d+)\.html$", r"a:\1:\2:\3"),) * 10, preset=tuple(PRESETS)))


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", "(.*)*x(.*)*y", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_pattern_that_backtracks_elsewhere_without_end_takes_linear_time(pattern: str) -> None:
    """hostile-inputs row 35. Of a million letters the square alone would be hours: only a linear matcher comes back."""
    assert linear_pattern(pattern).find("a" * 1_000_000 + "!") is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    r"^/a(.*)",
                    r"^(/[^/?#]*)(/.*)?$",
                    r"(\d)(\d)",
                    r"[?]([^&#]*)&?(.*)$",
                    r"(.)$",
                    r"^(.*)(.)$",
                    r"#(.*)",
                    "%..",
                ]
            ),
            st.sampled_from(
                [r"/\1", r"/a\1", r"\1\2", r"/b?x=\1", r"/?\1", r"\2\1", r"/\1#/\2", r"k:\1", r"/\0~\1", r"/%2e%2E\1"]
            ),
        ),
        max_size=4,
    ),
    st.sampled_from([(), *((name,) for name in PRESETS)]),
    st.booleans(),
    TAILS | st.text("ab/12?&=#.%~", max_size=20),
)
def test_whatever_the_rules_are_the_page_named_by_a_key_has_that_key(
    rules: list[tuple[str, str]], preset: tuple[str, ...], hash_routes: bool, tail: str
) -> None:
    rules = [(pattern, template) for pattern, template in rules if _fits(pattern, template)]
    site = msgspec.structs.replace(site_of(*rules, preset=preset), hash_routes=hash_routes, ignore_case=hash_routes)
    try:
        made = key("/" + tail, site)
    except HitRejected:
        return
    assert 0 < len(made.encode()) <= MAX_KEY_BYTES
    assert article_key(site, "https://portal.vn/", explicit=made) == made
    if made.startswith("/"):
        assert key(made, site) == made


def _fits(pattern: str, template: str) -> bool:
    return all(f"\\{group}" not in template for group in range(linear_pattern(pattern).groups + 1, 10))


@given(TAILS)
@example("/" + "a" * 4000 + "!")
def test_adversarial_rules_answer_for_every_address(tail: str) -> None:
    site = site_of(*(((r"(a+)+$", r"/\1"),) * 25 + ((r"(.*)*x(.*)*y", r"\1:\2"),) * 25))
    reason = ""
    try:
        assert key("/" + tail, site)
    except HitRejected as error:
        reason = error.reason
    assert reason in {"", "bad-text"}


# Records -----------------------------------------------------------------------------------------------------------


def test_a_record_of_an_older_version_is_read_as_it_was_meant() -> None:
    site = msgspec.json.decode(b'{"id":"s","hosts":["portal.vn"],"ignore_case":true}', type=Site)
    assert (site.preset, site.rules, site.hash_routes, site.null_origin, site.archived) == (
        (),
        (),
        False,
        "refuse",
        False,
    )
    assert msgspec.json.decode(msgspec.json.encode(site)) == {"id": "s", "hosts": ["portal.vn"], "ignore_case": True}


def test_a_record_with_rules_is_read_back() -> None:
    site = site_of((r"^/a-(\d+)", r"a:\1"), preset=("press", "nukeviet"))
    assert msgspec.json.decode(msgspec.json.encode(site), type=Site) == site


# Explanations ------------------------------------------------------------------------------------------------------


def test_an_explanation_names_every_rule_in_order_with_what_it_did() -> None:
    site = msgspec.structs.replace(site_of((r"^/never", "x"), preset=("nukeviet",)), use_canonical=True)
    explained = rules_of(site).explain("http://www.portal.vn/vi//news/Tin/so-ket-2642.html?fbclid=x#c")
    assert [(step.rule, step.after, step.changed) for step in explained.steps] == [
        ("host", "/vi//news/Tin/so-ket-2642.html?fbclid=x#c", True),
        ("explicit key", "/vi//news/Tin/so-ket-2642.html?fbclid=x#c", False),
        ("canonical link", "/vi//news/Tin/so-ket-2642.html?fbclid=x#c", False),
        ("path", "/vi/news/Tin/so-ket-2642.html?fbclid=x#c", True),
        ("query", "/vi/news/Tin/so-ket-2642.html#c", True),
        ("fragment", "/vi/news/Tin/so-ket-2642.html", True),
        ("rule 1", "/vi/news/Tin/so-ket-2642.html", False),
        ("preset nukeviet, rule 1", "news:2642", True),
    ]
    assert explained.key == "news:2642"


def test_an_explanation_of_a_refusal_ends_with_the_rule_that_refused() -> None:
    explained = rules_of(site_of()).explain("https://evil.example/a")
    assert (explained.key, explained.reason, explained.detail) == (
        None,
        "host",
        "evil.example is not a host of this site",
    )
    assert [(step.rule, step.note) for step in explained.steps] == [("host", "evil.example is not a host of this site")]


def test_a_site_without_rules_needs_no_library_for_them() -> None:
    def nothing(pattern: str) -> Pattern:
        raise InvalidSite("not installed")

    assert KeyRules(site_of(), nothing).key("https://portal.vn/a/") == "/a"
    with pytest.raises(InvalidSite, match="site s: preset press, rule 1: not installed"):
        KeyRules(site_of(preset=("press",)), nothing)


def test_a_machine_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "re2", None)
    with pytest.raises(InvalidSite, match="rule 1: rewrite rules need the package google-re2, which is not installed"):
        KeyRules(site_of(("^/a", "b")), patterns.linear_pattern)
