"""Every key that is written can be read back by its name: `visitstats verify` knows all of them, and no other."""

from __future__ import annotations

import inspect
import re
from datetime import datetime

import pytest

from visitstats.core.counting import HOUR_MS
from visitstats.store import keys

SITE, DAY, YESTERDAY, HALF_HOUR, END_MS = "portal-1", "2026-11-24", "2026-11-23", 997_000, 1_795_539_600_000
ARGUMENTS = {
    "site": SITE,
    "day": DAY,
    "end_ms": END_MS,
    "half_hour": HALF_HOUR,
    "hour": 14,
    "month": "2026-11",
    "year": "2026",
    "task": "pack",
    "nonce": "0123456789abcdef",
    "change": "036a821d",
}
OTHERS = (
    "sketches",
    "of_commit",
    "of_change",
    "of_amounts",
    "of_facts",
    "of_note",
    "of_closing",
    "of_prune",
    "of_import",
    "of_seal",
    "count_at",
    "quarter_of",
)
WORDS: dict[str, str | int] = {
    "SITE": SITE,
    "DATE": DAY,
    "HALFHOUR": HALF_HOUR,
    "PART": 0,
    "HOUR": 14,
    "MONTH": "2026-11",
    "YEAR": "2026",
    "TASK": "pack",
    "LAYER": "corrections",
    "NONCE": "0123456789abcdef",
    "CHANGE": "036a821d",
}
"""An example of each part of a name."""
NAMES = {
    "SCHEMA": "vs:schema",
    "SITES": "vs:sites",
    "SITES_VERSION": "vs:sites:version",
    "SITES_REMOVED": "vs:sites:removed",
    "SITES_ALIASES": "vs:sites:aliases",
    "TOKENS": "vs:tokens",
    "TOKENS_USED": "vs:tokens:used",
    "refusals": "vs:refusals:2026-11-24",
    "HOSTS": "vs:hosts",
    "TASKS": "vs:tasks",
    "ran": "vs:ran:2026",
    "lease": "vs:lease:pack",
    "salt": "vs:{portal-1}:salt:2026-11-24",
    "marks": "vs:{portal-1}:marks",
    "redo": "vs:{portal-1}:redo",
    "seen": "vs:{portal-1}:seen:2026-11-24",
    "hit_ids": "vs:{portal-1}:hits:997000",
    "online": "vs:{portal-1}:online",
    "counts": "vs:{portal-1}:counts",
    "days": "vs:{portal-1}:days:2026-11",
    "hours": "vs:{portal-1}:hours:2026-11-24",
    "ids": "vs:{portal-1}:ids",
    "touched": "vs:{portal-1}:touched",
    "articles": "vs:{portal-1}:articles",
    "articles_of_day": "vs:{portal-1}:articles:2026-11-24",
    "tiles": "vs:{portal-1}:tiles:2026-11",
    "packed": "vs:{portal-1}:packed",
    "pruned": "vs:{portal-1}:pruned:036a821d",
    "packing": "vs:{portal-1}:packing:2026-11:0123456789abcdef",
    "names": "vs:{portal-1}:names",
    "claims": "vs:{portal-1}:claims:2026-11-24",
    "taken": "vs:{portal-1}:taken:2026-11-24",
    "base": "vs:{portal-1}:base",
    "aliases": "vs:{portal-1}:aliases",
    "changes": "vs:{portal-1}:changes",
    "order_of_changes": "vs:{portal-1}:changes:order",
    "changes_of_articles": "vs:{portal-1}:changes:articles",
    "set_by": "vs:{portal-1}:changes:set",
    "amounts": "vs:{portal-1}:amounts",
    "layer": "vs:{portal-1}:layer:corrections",
    "layer_days": "vs:{portal-1}:layer:corrections:2026-11",
    "imports": "vs:{portal-1}:imports",
    "import_parts": "vs:{portal-1}:import:036a821d",
    "closed": "vs:{portal-1}:closed",
    "frozen": "vs:{portal-1}:closed:2026-11",
    "hour_sketch": "vs:{portal-1}:unique:2026-11-24:h14",
    "sketch": "vs:{portal-1}:unique:2026-11-24:0",
    "uniques": "vs:{portal-1}:uniques:2026",
    "ignored": "vs:{portal-1}:ignored:2026-11",
    "peaks": "vs:{portal-1}:peaks:2026",
}
SKETCHES = [f"vs:{{portal-1}}:unique:2026-11-24:{part}" for part in range(8)]


def spelled() -> dict[str, str]:
    """What the functions of the module make, by their names, and its constants."""
    found: dict[str, str] = {}
    for name, made in vars(keys).items():
        if name.isupper() and isinstance(made, str) and made.startswith("vs:"):
            found[name] = made
        if isinstance(made, keys.Kind) and not name.startswith("_"):
            found[name] = made(*(WORDS[part] for part in made.parts))
            continue
        ours = inspect.isfunction(made) and made.__module__ == keys.__name__
        if not ours or name in ("parse", "of_site", *OTHERS) or name.startswith("_"):
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


@pytest.mark.parametrize("key", dict.fromkeys([*spelled().values(), *SKETCHES]))
def test_a_key_is_known_by_its_name(key: str) -> None:
    found = keys.parse(key)
    assert found is not None, f"{key} has no row in KINDS"
    assert found.site == (SITE if "{" in key else "")
    assert found.kind.of_site == bool(found.site)
    assert all(word in key for word in found.words)


def test_no_row_is_left_over_and_none_is_there_twice() -> None:
    kinds = [found.kind.word for key in spelled().values() if (found := keys.parse(key))]
    assert sorted(kinds) == sorted(kind.word for kind in keys.KINDS)


def test_a_batch_names_its_keys_in_the_order_in_which_the_script_takes_them() -> None:
    names = keys.of_commit(SITE, DAY, YESTERDAY, 14, HALF_HOUR)
    assert names == [
        keys.marks(SITE),
        keys.seen(SITE, DAY),
        keys.seen(SITE, YESTERDAY),
        keys.hit_ids(SITE, HALF_HOUR),
        keys.hit_ids(SITE, HALF_HOUR - 1),
        keys.hit_ids(SITE, HALF_HOUR + 1),
        keys.online(SITE),
        keys.counts(SITE),
        keys.days(SITE, "2026-11"),
        keys.articles(SITE),
        keys.articles_of_day(SITE, DAY),
        keys.names(SITE),
        keys.aliases(SITE),
        keys.hours(SITE, DAY),
        keys.ignored(SITE, "2026-11"),
        keys.claims(SITE, DAY),
        keys.taken(SITE, DAY),
        keys.ids(SITE),
        keys.touched(SITE),
        keys.hour_sketch(SITE, DAY, 14),
        *keys.sketches(SITE, DAY),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2026-11-24", ("vs:{portal-1}:days:2026-11", "visits:24")),
        ("2026-11", ("vs:{portal-1}:days:2026-11", "visits")),
        ("2026", ("vs:{portal-1}:counts", "visits:2026")),
        ("all", ("vs:{portal-1}:counts", "visits:all")),
        ("base", ("vs:{portal-1}:counts", "visits:base")),
    ],
)
def test_a_dated_count_has_one_place(name: str, expected: tuple[str, str]) -> None:
    assert keys.count_at(SITE, "visits", name) == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-01-01T00:00:00+00:00", (2026, 0)),
        ("2026-01-01T00:14:59+00:00", (2026, 0)),
        ("2026-01-01T07:15:00+07:00", (2026, 1)),
        ("2025-12-31T23:59:59+00:00", (2025, 365 * 96 - 1)),
        ("2024-12-31T23:45:00+00:00", (2024, 366 * 96 - 1)),
    ],
)
def test_quarter_hours_are_counted_from_the_beginning_of_the_year_in_utc(
    moment: str, expected: tuple[int, int]
) -> None:
    assert keys.quarter_of(int(datetime.fromisoformat(moment).timestamp() * 1000)) == expected


def test_a_change_names_its_keys_in_the_order_in_which_the_script_takes_them() -> None:
    record = (keys.marks, keys.changes, keys.order_of_changes, keys.changes_of_articles)
    made = (
        *record, keys.aliases, keys.articles, keys.base, keys.names, keys.counts, keys.ids, keys.touched, keys.amounts,
    )  # fmt: skip
    assert keys.of_change(SITE) == [*(name(SITE) for name in made), keys.redo(SITE)]
    named = (*record, keys.names, keys.counts, keys.touched, keys.set_by)
    assert keys.of_facts(SITE) == [*(name(SITE) for name in named), keys.redo(SITE)]
    closed = [*(name(SITE) for name in record), keys.closed(SITE), keys.frozen(SITE, "2026-11"), keys.redo(SITE)]
    assert keys.of_closing(SITE, "2026-11") == closed


@pytest.mark.parametrize(
    ("place", "last"),
    [
        ("2026-11-24", ("days:2026-11", "layer:corrections:2026-11", "articles:2026-11-24")),
        ("2026-11", ("days:2026-11", "layer:corrections:2026-11", "articles")),
        ("2026", ("counts", "layer:corrections", "articles")),
        ("", ("counts", "layer:corrections", "articles")),
    ],
)
def test_amounts_name_the_keys_of_their_place_last(place: str, last: tuple[str, ...]) -> None:
    record = (keys.marks, keys.changes, keys.order_of_changes, keys.changes_of_articles)
    made = (
        *record, keys.aliases, keys.articles, keys.names, keys.counts, keys.ids, keys.touched, keys.amounts,
    )  # fmt: skip
    assert keys.of_amounts(SITE, "corrections", place) == [
        *(name(SITE) for name in made), keys.layer(SITE, "corrections"), keys.closed(SITE),
        *(f"vs:{{{SITE}}}:{name}" for name in last), keys.redo(SITE),
    ]  # fmt: skip


def test_an_import_names_its_parts_where_amounts_name_closed_months_and_itself_at_the_end() -> None:
    amounts = keys.of_amounts(SITE, "imports", "2026-11-24")
    amounts[12] = keys.import_parts(SITE, "0a1b2c3d")
    assert keys.of_import(SITE, "0a1b2c3d", "2026-11-24") == [*amounts[:-1], keys.imports(SITE), keys.redo(SITE)]


def test_a_seal_names_its_keys_in_the_order_in_which_the_script_takes_them() -> None:
    month, nonce = "2026-02", "0123456789abcdef"
    days = ["2026-02-01", "2026-02-02"]
    assert keys.of_seal(SITE, month, nonce, keys.days(SITE, month), days) == [
        keys.packing(SITE, month, nonce),
        keys.tiles(SITE, month),
        keys.packed(SITE),
        keys.days(SITE, month),
        *(keys.articles_of_day(SITE, day) for day in days),
        keys.redo(SITE),
    ]


def test_tiles_that_are_being_written_outlive_what_may_still_seal_them() -> None:
    lives = {kind.word: kind.life_ms or 0 for kind in keys.KINDS}
    assert lives["packing"] > lives["redo"]


def test_a_ledger_is_in_one_hash_slot_of_a_cluster() -> None:
    """All keys of a script must have one hash tag, and nothing of the installation may have a site's."""
    everything = [*keys.of_commit(SITE, DAY, YESTERDAY, 14, HALF_HOUR), *keys.of_change(SITE), *SKETCHES]
    assert {re.findall(r"\{(.*?)\}", name)[0] for name in everything} == {SITE}
    assert all(name.count("{") == 1 for name in everything)


def test_what_is_kept_of_a_visitor_has_an_end() -> None:
    """Rule 2: no trail beyond the salt's 48 hours; what decides about hits lives as long as the journal and an hour."""
    lives = {kind.word: kind.life_ms for kind in keys.KINDS}
    assert lives["salt"] == 48 * HOUR_MS
    assert lives["redo"] == 24 * HOUR_MS
    assert lives["seen"] == 25 * HOUR_MS
    assert lives["taken"] == 25 * HOUR_MS
    assert lives["hits"] == 25 * HOUR_MS + 30 * 60 * 1000
    assert keys.salt(SITE, DAY, END_MS).expires_at == (END_MS + 48 * HOUR_MS) // 1000


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vs:",
        "vs:visits",
        "vs:{portal}:",
        "vs:{portal}:days:2026-1",
        "vs:{portal:who}:counts",
        "vs:{portal}:salt:24-11-2026",
        "vs:{portal}:unique:2026-11-24:8",
        "vs:{portal}:hits:",
        "vs:{portal}:tiles:2026",
        "vs:{portal}:packing:2026-10:",
        "vs:{portal}:schema",
        "vs:{Portal}:counts",
        "vs:{portal}:writer:abc",
        "other:{portal}:counts",
        "vs:sites\n",
        "vs:{portal}:counts\n",
    ],
)
def test_keys_that_are_not_ours_are_not_parsed(name: str) -> None:
    assert keys.parse(name) is None


def test_the_keys_of_a_site_are_asked_for_by_a_pattern_without_surprises() -> None:
    """A site's id holds nothing that SCAN takes for a wildcard."""
    assert keys.of_site("a-1") == "vs:{a-1}:*"
    assert keys.of_site("") == "vs:*"
