"""Every key that is written can be read back by its name: `visitstats verify` knows all of them, and no other."""

from __future__ import annotations

import inspect
import re

import pytest

from visitstats.store import keys

SITE, DAY, YESTERDAY, HALF_HOUR, END_MS = "portal-1", "2026-11-24", "2026-11-23", 997_000, 1_795_539_600_000
ARGUMENTS = {
    "site": SITE,
    "day": DAY,
    "end_ms": END_MS,
    "half_hour": HALF_HOUR,
    "job": "close-days",
    "month": "2026-10",
    "nonce": "0123456789abcdef",
}
LISTS = ("sketches", "of_commit", "of_change", "of_seal")
NAMES = {
    "SCHEMA": "vs:schema",
    "SITES": "vs:sites",
    "SITES_VERSION": "vs:sites:version",
    "SITES_ALIASES": "vs:sites:aliases",
    "TOKENS": "vs:tokens",
    "HOSTS": "vs:hosts",
    "salt": "vs:{portal-1}:salt:2026-11-24",
    "marks": "vs:{portal-1}:marks",
    "redo": "vs:{portal-1}:redo",
    "seen": "vs:{portal-1}:seen:2026-11-24",
    "hit_ids": "vs:{portal-1}:hits:997000",
    "online": "vs:{portal-1}:online",
    "visits": "vs:{portal-1}:visits",
    "views": "vs:{portal-1}:views",
    "articles": "vs:{portal-1}:articles",
    "articles_of_day": "vs:{portal-1}:articles:2026-11-24",
    "ids": "vs:{portal-1}:ids",
    "tiles": "vs:{portal-1}:tiles:2026-10",
    "packed": "vs:{portal-1}:packed",
    "packing": "vs:{portal-1}:packing:2026-10:0123456789abcdef",
    "names": "vs:{portal-1}:names",
    "claims": "vs:{portal-1}:claims:2026-11-24",
    "taken": "vs:{portal-1}:taken:2026-11-24",
    "base": "vs:{portal-1}:base",
    "aliases": "vs:{portal-1}:aliases",
    "changes": "vs:{portal-1}:changes",
    "uniques": "vs:{portal-1}:uniques",
    "ignored": "vs:{portal-1}:ignored:2026-11-24",
    "peaks": "vs:{portal-1}:peaks",
    "lease": "vs:{portal-1}:lease:close-days",
}
SKETCHES = [f"vs:{{portal-1}}:unique:2026-11-24:{part}" for part in range(8)]


def spelled() -> dict[str, str]:
    """What the functions of the module make, by their names, and its constants."""
    found: dict[str, str] = {}
    for name, made in vars(keys).items():
        if name.isupper() and isinstance(made, str) and made.startswith("vs:"):
            found[name] = made
        ours = inspect.isfunction(made) and made.__module__ == keys.__name__
        if not ours or name in ("parse", "of_site", *LISTS) or name.startswith("_"):
            continue
        parameters = inspect.signature(made).parameters
        missing = parameters.keys() - ARGUMENTS.keys()
        assert not missing, f"{name} takes {missing}: give an example here"
        key = made(**{parameter: ARGUMENTS[parameter] for parameter in parameters})
        found[name] = key.name if isinstance(key, keys.Expiring) else key
    return found


def test_the_names_are_frozen() -> None:
    """Later versions find them again."""
    assert spelled() == NAMES
    assert keys.sketches(SITE, DAY) == SKETCHES


@pytest.mark.parametrize("key", [*spelled().values(), *SKETCHES])
def test_a_key_is_known_by_its_name(key: str) -> None:
    found = keys.parse(key)
    assert found is not None, f"{key} has no row in KINDS"
    assert found.site == (SITE if "{" in key else "")
    assert found.kind.of_site == bool(found.site)
    assert all(word in key for word in found.words)


def test_no_row_is_left_over_and_none_is_there_twice() -> None:
    kinds = [found.kind.word for key in [*spelled().values(), SKETCHES[0]] if (found := keys.parse(key))]
    assert sorted(kinds) == sorted(kind.word for kind in keys.KINDS)


def test_a_batch_names_its_keys_in_the_order_in_which_the_script_takes_them() -> None:
    names = keys.of_commit(SITE, DAY, YESTERDAY, HALF_HOUR, box_views=False)
    assert names == [
        keys.marks(SITE),
        keys.seen(SITE, DAY),
        keys.seen(SITE, YESTERDAY),
        keys.hit_ids(SITE, HALF_HOUR),
        keys.hit_ids(SITE, HALF_HOUR - 1),
        keys.hit_ids(SITE, HALF_HOUR + 1),
        keys.online(SITE),
        keys.visits(SITE),
        keys.views(SITE),
        keys.articles(SITE),
        keys.articles_of_day(SITE, DAY),
        keys.names(SITE),
        keys.aliases(SITE),
        keys.ignored(SITE, DAY),
        keys.visits(SITE),
        keys.claims(SITE, DAY),
        keys.taken(SITE, DAY),
        *keys.sketches(SITE, DAY),
        keys.redo(SITE),
    ]
    of_views = keys.of_commit(SITE, DAY, YESTERDAY, HALF_HOUR, box_views=True)
    assert [(a, b) for a, b in zip(names, of_views, strict=True) if a != b] == [(keys.visits(SITE), keys.views(SITE))]


def test_a_change_names_its_keys_in_the_order_in_which_the_script_takes_them() -> None:
    made = (keys.marks, keys.aliases, keys.changes, keys.articles, keys.base, keys.names, keys.visits, keys.views)
    assert keys.of_change(SITE) == [*(name(SITE) for name in made), keys.redo(SITE)]


def test_a_seal_names_its_keys_in_the_order_in_which_the_script_takes_them() -> None:
    month, nonce = "2026-02", "0123456789abcdef"
    days = ["2026-02-01", "2026-02-02"]
    assert keys.of_seal(SITE, month, nonce, keys.views(SITE), days) == [
        keys.packing(SITE, month, nonce),
        keys.tiles(SITE, month),
        keys.packed(SITE),
        keys.views(SITE),
        *(keys.articles_of_day(SITE, day) for day in days),
        keys.redo(SITE),
    ]


def test_tiles_that_are_being_written_outlive_what_may_still_seal_them() -> None:
    lives = {kind.word: kind.life_ms or 0 for kind in keys.KINDS}
    assert lives["packing"] > lives["redo"]


def test_a_ledger_is_in_one_hash_slot_of_a_cluster() -> None:
    """All keys of a script must have one hash tag, and nothing of the installation may have a site's."""
    everything = [*keys.of_commit(SITE, DAY, YESTERDAY, HALF_HOUR, box_views=True), *keys.of_change(SITE), *SKETCHES]
    assert {re.findall(r"\{(.*?)\}", name)[0] for name in everything} == {SITE}
    assert all(name.count("{") == 1 for name in everything)


def test_what_is_kept_of_a_visitor_has_an_end() -> None:
    """Rule 2: no trail beyond the salt's 48 hours; what decides about hits lives as long as the journal and an hour."""
    lives = {kind.word: kind.life_ms for kind in keys.KINDS}
    assert lives["salt"] == 48 * keys.HOUR_MS
    assert lives["redo"] == 24 * keys.HOUR_MS
    assert lives["seen"] == 25 * keys.HOUR_MS
    assert lives["taken"] == 25 * keys.HOUR_MS
    assert lives["hits"] == 25 * keys.HOUR_MS + 30 * 60 * 1000
    assert keys.salt(SITE, DAY, END_MS).expires_at == (END_MS + 48 * keys.HOUR_MS) // 1000


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vs:",
        "vs:visits",
        "vs:{portal}:",
        "vs:{portal}:visits:2",
        "vs:{portal:who}:visits",
        "vs:{portal}:salt:24-11-2026",
        "vs:{portal}:unique:2026-11-24:8",
        "vs:{portal}:hits:",
        "vs:{portal}:tiles:2026",
        "vs:{portal}:packing:2026-10:",
        "vs:{portal}:schema",
        "vs:{Portal}:visits",
        "vs:{portal}:writer:abc",
        "other:{portal}:visits",
        "vs:sites\n",
        "vs:{portal}:visits\n",
    ],
)
def test_what_nobody_writes_is_not_known(name: str) -> None:
    assert keys.parse(name) is None


def test_the_keys_of_a_site_are_asked_for_by_a_pattern_without_surprises() -> None:
    """A site's id holds nothing that SCAN takes for a wildcard."""
    assert keys.of_site("a-1") == "vs:{a-1}:*"
    assert keys.of_site("") == "vs:*"
