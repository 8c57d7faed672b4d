"""A portal is known by its host, however pages and people spell it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.addresses import PIECES
from visitstats.core.errors import HitRejected, InvalidSite
from visitstats.core.hosts import fold_host
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


@pytest.mark.parametrize("host", ["Portal.vn", "www.portal.vn", "portal.vn:80", "tỉnh.vn", "[::1]", "a b", ""])
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
