"""The rules of one's own that docs/keys.md proposes do what it says, each beside its preset."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.addresses import article_key
from visitstats.core.sites import Site

TEXT = (Path(__file__).parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
PROPOSALS = TEXT.partition("\n## What the presets do not know\n")[2].partition("\n## ")[0].split("\n**")[1:]
"""Each with the command that sets it up, and a table of addresses and keys."""


def proposal(name: str) -> Site:
    [text] = [each for each in PROPOSALS if each.startswith(name)]
    rules = tuple((pattern, template) for pattern, template in re.findall(r"--rule '(.+) => (.+)'", text))
    [preset] = re.findall(r"--preset ([a-z]+)", text)
    assert rules
    return Site(id="s", hosts=("portal.vn",), preset=(preset,), rules=rules, hash_routes="--hash-routes" in text)


def rows() -> list[tuple[str, str, str]]:
    return [
        (each.partition("**")[0], address, key)
        for each in PROPOSALS
        for address, key in re.findall(r"^\| `(/[^`]*)` \| `([^`]*)` \|$", each, re.MULTILINE)
    ]


@pytest.mark.parametrize(("name", "address", "key"), rows())
def test_a_proposed_rule_makes_the_keys_of_its_table(name: str, address: str, key: str) -> None:
    assert article_key(proposal(name), f"https://portal.vn{address}") == key


def test_every_proposal_has_a_table() -> None:
    assert len(PROPOSALS) == 4
    assert len({name for name, _, _ in rows()}) == len(PROPOSALS)


@pytest.mark.parametrize(
    ("name", "tails"),
    [
        ("NukeViet with the module left out", "/Tin/a-1.html /Tin/a-2.html /about/ke-hoach-1.html /tag/covid-1/ /Tin/"),
        (
            "NukeViet with rewriting off",
            "/?language=vi&nv=news&op=Tin/a-2 /?language=vi&nv=news&op=Tin/page-2 /?language=vi&nv=news&op=Khac/page-2 "
            "/?language=vi&nv=news&op=tag/covid-2 /?language=en&nv=news&op=Tin/a-2 /?language=vi&nv=about&op=a-2 "
            "/?language=vi&nv=download&op=Tai/ke-hoach-2 /?language=vi&nv=news&op=groups/tin-2 /?language=vi&nv=news "
            "/?language=vi&nv=news&op=Tin/page-2&q=a",
        ),
        ("NukeViet below a folder", "/congthongtin/vi/news/Tin/a-1.html /congthongtin/vi/news/Tin/a-2.html /cong-2"),
        (
            "SharePoint's start.aspx",
            "/_layouts/15/start.aspx#/Pages/a.aspx /_layouts/15/start.aspx#/Pages/b.aspx "
            "/sub/_layouts/15/start.aspx#/Pages/a.aspx /_layouts/15/start.aspx",
        ),
    ],
)
def test_a_proposed_rule_joins_no_two_articles(name: str, tails: str) -> None:
    addresses = tails.split()
    assert len({article_key(proposal(name), f"https://portal.vn{tail}") for tail in addresses}) == len(addresses)
