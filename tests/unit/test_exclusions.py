"""Pages that a site does not count: patterns as an administrator types them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.addresses import TAILS
from visitstats.core.errors import HitRejected, InvalidSite
from visitstats.core.exclusions import MAX_PATTERN_CHARS, ExcludedPaths
from visitstats.core.sites import Site


def excluded(pattern: str, tail: str) -> bool:
    return bool(ExcludedPaths((pattern,)).pattern_of(f"https://portal.vn{tail}"))


@pytest.mark.parametrize(
    ("pattern", "tails"),
    [
        (
            "/admin/*",
            "/admin /admin/ /Admin/tin/sua /admin/index.php?op=1 //admin/x /x/../admin/y /%61dmin/z /admin/x#y",
        ),
        ("/admin", "/admin /ADMIN/ /admin?x=1"),
        ("*/preview/*", "/tin/preview/5 /preview /a/b/preview/c"),
        ("/wp-*.php", "/wp-login.php /WP-cron.php?x"),
        ("/*?preview=true", "/?p=9&preview=true /tin/5?preview=TRUE&x=1 /?preview=true"),
        ("?preview=*", "/?p=9&preview=1 /a?preview=x"),
        ("/tin?nv=*&op=edit*", "/tin?op=editor&nv=news /tin/?x=1&nv=n&op=edit"),
        ("/quản-trị/*", "/qu%E1%BA%A3n-tr%E1%BB%8B/a /Quản-Trị"),
        ("/", "/ /index.php /?utm_source=zalo"),
    ],
)
def test_a_pattern_takes_in_the_pages_that_it_means(pattern: str, tails: str) -> None:
    assert [tail for tail in tails.split() if not excluded(pattern, tail)] == []


@pytest.mark.parametrize(
    ("pattern", "tails"),
    [
        ("/admin/*", "/administration /tin/admin/x / /admin2 /a?x=/admin/"),
        ("/admin", "/admin/x /a/admin"),
        ("/wp-*.php", "/wp-login.phpx /x/wp-login.php"),
        ("/*?preview=true", "/?p=9 /?preview=false /?xpreview=true /preview=true"),
        ("/tin?nv=*&op=edit*", "/tin?nv=n /tin?op=edit /khac?nv=n&op=edit"),
        ("/", "/tin"),
    ],
)
def test_and_no_others(pattern: str, tails: str) -> None:
    assert [tail for tail in tails.split() if excluded(pattern, tail)] == []


@pytest.mark.parametrize(
    "pattern", ["", "admin/*", "https://portal.vn/admin", "/*", "*", "/" + "a" * MAX_PATTERN_CHARS, "/\ud800"]
)
def test_a_pattern_that_is_none_is_refused_when_it_is_saved(pattern: str) -> None:
    with pytest.raises(InvalidSite, match=r"site s: .*excluded path"):
        Site(id="s", hosts=("portal.vn",), excluded_paths=(pattern,))


@pytest.mark.parametrize("network", ["10.1.2.3/16", "10.0.0.0/33", "nix", ""])
def test_a_network_that_is_none_is_refused_when_it_is_saved(network: str) -> None:
    with pytest.raises(InvalidSite, match="site s: "):
        Site(id="s", hosts=("portal.vn",), excluded_networks=(network,))


@given(TAILS, st.lists(st.sampled_from(["/admin/*", "*/x*/y", "/*?p=*", "/tin/*/sua"]), min_size=1, max_size=3))
def test_any_address_is_judged(tail: str, patterns: list[str]) -> None:
    rules = ExcludedPaths(patterns)
    try:
        found = rules.pattern_of("https://portal.vn/" + tail)
    except HitRejected as refused:
        found = refused.reason
    assert found in {"", *patterns, "bad-url", "bad-text"}
