"""A portal is known by its host, however pages and people spell it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.addresses import PIECES
from visitstats.core.errors import HitRejected, InvalidSite
from visitstats.core.hosts import Hosts, fold_host, fold_pattern, meant_host
from visitstats.core.keys import origin_allowed
from visitstats.core.sites import Site

PORTAL = Site(id="portal", hosts=("portal.vn", "cu.portal.vn"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Portal.VN", "portal.vn"),
        ("www.portal.vn:8080", "portal.vn"),
        ("m.portal.vn.", "portal.vn"),
        ("www.m.portal.vn", "portal.vn"),
        ("mm.portal.vn", "mm.portal.vn"),
        ("www", "www"),
        ("localhost:", "localhost"),
        ("my_intranet", "my_intranet"),
        ("tỉnh.vn", "xn--tnh-dlz.vn"),
        ("XN--TNH-DLZ.vn", "xn--tnh-dlz.vn"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[::1]:8080", "::1"),
        ("::1", "::1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("[::ffff:10.0.0.1]", "10.0.0.1"),
        ("portal-example-vn.translate.goog", "portal.example.vn"),
        ("WWW-Portal-Example-VN.translate.goog:443", "portal.example.vn"),
        ("bac--ha-lao--cai-gov-vn.translate.goog", "bac-ha.lao-cai.gov.vn"),
        ("0-tnh--dlz-vn.translate.goog", "xn--tnh-dlz.vn"),
        ("1-ab----c-vn.translate.goog", "ab--c.vn"),
        ("translate.goog", "translate.goog"),
        ("a-translate-goog.translate.goog", "a"),
    ],
)
def test_all_spellings_of_a_host_are_one(host: str, expected: str) -> None:
    assert fold_host(host) == expected


@pytest.mark.parametrize(
    "host",
    ["", ".", ":80", "a..b", "a b", "-a", "a:b", "a/b", "[::1", "[fe80::1%25eth0]", "[g::1]", "1:2:3", "a" * 64 + "é"],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(HitRejected) as refused:
        fold_host(host)
    assert refused.value.reason == "host"


@pytest.mark.parametrize("origin", ["https://portal.vn", "http://www.portal.vn:8080", "https://cu.portal.vn"])
def test_origins_of_the_site_are_allowed(origin: str) -> None:
    assert origin_allowed(PORTAL, origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "portal.vn",
        "https://evil.example",
        "https://portal.vn/",
        "https://portal.vn https://evil.example",
        "https://a@portal.vn",
        "file://portal.vn",
        "https://portal.vn.evil.example",
        "https://portal.vn\n",
        "https://[::1",
    ],
)
def test_other_origins_are_not(origin: str) -> None:
    assert not origin_allowed(PORTAL, origin)


@given(st.text() | PIECES | st.lists(PIECES | st.sampled_from(["www.", "m.", "vn", "."]), max_size=6).map("".join))
def test_folding_a_host_twice_changes_nothing_and_a_site_can_store_it(host: str) -> None:
    try:
        folded = fold_host(host)
    except HitRejected:
        return
    assert fold_host(folded) == folded
    if host.isascii():
        assert fold_host(host.upper()) == folded, "the short way and the long way agree"
    assert Site(id="s", hosts=(folded,)).hosts == (folded,)


LABELS = st.from_regex(r"[a-z0-9](?:[a-z0-9]|-(?!-)){0,8}[a-z0-9]", fullmatch=True)


@given(st.lists(LABELS, min_size=2, max_size=4).filter(lambda labels: labels[0] not in ("m", "www", "0", "1")))
def test_every_host_is_known_by_its_translated_pages(labels: list[str]) -> None:
    """Readers from abroad read the portal through Google, which spells its host in one label."""
    host = ".".join(labels)
    translated = "-".join(label.replace("-", "--") for label in labels)
    if len(translated) <= 63 and translated[:2] not in ("0-", "1-"):
        assert fold_host(f"{translated}.translate.goog") == fold_host(host)


@pytest.mark.parametrize("host", ["xa1.tinh.vn", "a.b.tinh.vn", "tinh.vn", "khac.vn"])
def test_a_pattern_is_a_host_and_all_that_are_below_it(host: str) -> None:
    hosts = Hosts((fold_pattern(" *.WWW.Tinh.VN:8080 "), "khac.vn"))
    assert host in hosts
    assert origin_allowed(Site(id="s", hosts=("*.tinh.vn", "khac.vn")), f"https://{host}")


@pytest.mark.parametrize("host", ["eviltinh.vn", "tinh.vn.evil.example", "vn", "a.khac.vn", ""])
def test_nothing_else_is_in_a_pattern(host: str) -> None:
    assert host not in Hosts(("*.tinh.vn", "khac.vn"))


@pytest.mark.parametrize(
    "pattern", ["*", "*.", "*.vn", "*.gov.vn", "*.com", "*.10.0.0.1", "*.[::1]", "a.*.vn", "**.tinh.vn"]
)
def test_a_pattern_that_would_take_in_strangers_is_refused(pattern: str) -> None:
    with pytest.raises(HitRejected) as refused:
        fold_pattern(pattern)
    assert refused.value.reason == "host"


def test_two_sites_meet_where_a_host_is_below_the_others_pattern() -> None:
    assert Hosts(("a.tinh.vn", "khac.vn")).common(Hosts(("*.tinh.vn",))) == "a.tinh.vn"
    assert Hosts(("*.xa.tinh.vn",)).common(Hosts(("*.tinh.vn",))) == "xa.tinh.vn"
    assert Hosts(("tinh2.vn",)).common(Hosts(("*.tinh.vn",))) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://portal2.example.vn/", "portal2.example.vn"),
        ("http://user:secret@www.portal.vn:8080/tin/bai?x=1#y", "portal.vn"),
        ("//portal.vn/tin", "portal.vn"),
        ("portal.vn/tin", "portal.vn"),
        ("portal.vn?x", "portal.vn"),
        ("https://tỉnh.vn/", "xn--tnh-dlz.vn"),
        ("https://*.tinh.vn/", "*.tinh.vn"),
        ("http://[::1]:8080/a", "::1"),
        ("::1", "::1"),
        ("Portal.vn", "portal.vn"),
    ],
)
def test_an_address_that_is_pasted_as_a_host_is_read_as_its_host(text: str, expected: str) -> None:
    assert meant_host(text) == expected


@pytest.mark.parametrize(
    "host", ["Portal.vn", "www.portal.vn", "*.Tinh.vn", "portal.vn:80", "tỉnh.vn", "[::1]", "a b", ""]
)
def test_a_record_holds_hosts_in_their_one_spelling(host: str) -> None:
    """A host that is spelled in another way would never be found: every page of the portal would be refused."""
    with pytest.raises(InvalidSite, match="site s: "):
        Site(id="s", hosts=(host,))


@pytest.mark.parametrize(("policy", "allowed"), [("allow", True), ("refuse", False)])
def test_a_page_without_an_origin_of_its_own_is_the_sites_to_judge(policy: str, allowed: bool) -> None:
    site = msgspec.convert({"id": "s", "hosts": ["portal.vn"], "null_origin": policy}, Site)
    assert origin_allowed(site, "null") is allowed
    for other in ("Null", "null ", " null", "nul"):
        assert not origin_allowed(site, other)
