"""Addresses for tests: a short way to their keys, and text that is likely to hit a rule."""

from __future__ import annotations

from functools import lru_cache

import pytest
from hypothesis import strategies as st

from visitstats.core.errors import HitRejected
from visitstats.core.keys import KeyRules
from visitstats.core.sites import Site
from visitstats.system.patterns import linear_pattern


@lru_cache
def rules_of(site: Site) -> KeyRules:
    return KeyRules(site, linear_pattern)


def article_key(site: Site, url: str, *, explicit: str = "", canonical: str = "") -> str:
    """The key of a page. The explanation must say the same, so that every test of keys is one of explanations."""
    rules = rules_of(site)
    explained = rules.explain(url, explicit=explicit, canonical=canonical)
    if explained.key is None:
        with pytest.raises(HitRejected) as refused:
            rules.key(url, explicit=explicit, canonical=canonical)
        assert (explained.reason, explained.detail) == (refused.value.reason, refused.value.detail)
        raise refused.value
    key = rules.key(url, explicit=explicit, canonical=canonical)
    assert (explained.key, explained.reason) == (key, "")
    assert [step.before for step in explained.steps] == [url, *(step.after for step in explained.steps[:-1])]
    assert explained.steps[-1].after == key
    return key


# Separators, escapes, the names that rules know, Vietnamese in both forms.
# fmt: off
PIECES = st.sampled_from([
    "/", "//", ".", "..", "%2e", "%2E%2e", "%2F", "%252F", "%25", "%", "%%", "%4", "%ff", "%C3", "%E1%BB", "%CC%B8",
    "=", "&", "&amp;", "+", "%2B", "%20", " ", ";", "%3B", ";jsessionid=1F", ";JSESSIONID", "?", "#", "\\", "%5C", "\n",
    "index.html", "INDEX.PHP", "default.aspx", "a", "A", "Ă", "đ", "xã", "xa\u0303", "\u0338", "\u037e", "\u212a",
    "\u0130", "\u1e9e", "\u03a3", "\u017f", "id=1", "ID=2", "newsid=", "NewsId=12", "listname=T",
    "utm_source=zalo", "fbclid=x", "~", "!", "'", "(", ")", "*", ",", ":", "@", "$", "[", "]", "{", "|",
    "\u200b", "\u202e", "\0", "#/", "#!/tin?id=5", "vi/", "news/", "Tin/so-ket-2642", ".html", "portal/pages/",
    "2023-01-30/", "-468686.aspx", "Lists/", "ItemID=70", "ListName=T&", "/-/", "asset_publisher/x/content/", "web/x/",
    "!ut/p/", "cur_id=d0e4", "amp", "print", ".amp", "p=954", "~0123456789abcdef0123456789abcdef",
]) | st.text(max_size=4)
# fmt: on
LONG = st.builds(lambda piece, times: piece * times, PIECES, st.integers(1, 300))
TAILS = st.lists(st.one_of(PIECES, PIECES, PIECES, LONG), max_size=24).map(lambda pieces: "".join(pieces)[:4000])
