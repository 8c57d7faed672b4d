"""Rule 7 of keys: an alias stands for another key, whatever made it."""

from __future__ import annotations

import pytest

from visitstats.core.keys import KeyRules, Step, article_id
from visitstats.core.sites import Site
from visitstats.system.patterns import linear_pattern

MOVED = KeyRules(
    Site(id="moved", hosts=("portal.vn",), rules=((r"^/tin/(\d+)$", r"tin:\1"),)),
    linear_pattern,
    {article_id("tin:5"): "/moi/5", article_id("/cu"): "/moi/5"},
)


@pytest.mark.parametrize(
    ("url", "explicit", "own"),
    [("https://portal.vn/tin/5?fbclid=x", "", "tin:5"), ("http://www.portal.vn/cu/", "", "/cu"),
     ("https://portal.vn/a", "tin:5", "tin:5"), ("https://portal.vn/moi/5", "", "/moi/5")],
)  # fmt: skip
def test_an_alias_stands_for_the_other_key_by_whatever_rule_its_own_was_made(url: str, explicit: str, own: str) -> None:
    assert MOVED.own_key(url, explicit=explicit) == own
    assert MOVED.key(url, explicit=explicit) == "/moi/5"
    assert MOVED.key("https://portal.vn/tin/6") == "tin:6"


def test_an_explanation_ends_with_the_alias_where_a_site_has_any() -> None:
    explained = MOVED.explain("https://portal.vn/tin/5")
    assert explained.key == "/moi/5"
    assert explained.steps[-1] == Step("alias", "tin:5", "/moi/5", "merged into this one")
    other = MOVED.explain("https://portal.vn/a").steps[-1]
    assert (other.rule, other.changed, other.note) == ("alias", False, "no alias")
    refused = MOVED.explain("https://elsewhere.vn/a")
    assert (refused.key, refused.reason, refused.steps[-1].rule) == (None, "host", "host")
    without = KeyRules(Site(id="s", hosts=("portal.vn",)), linear_pattern)
    assert "alias" not in [step.rule for step in without.explain("https://portal.vn/a").steps]
