"""Every key that is written can be read back by its name: `visitstats verify` knows all of them, and no other."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from visitstats.store import keys

ARGUMENTS = {
    "site": "portal-1",
    "day": "2026-11-24",
    "end_ms": 1_795_539_600_000,
    "window": 997_000,
    "job": "close-days",
}


def spelled() -> Iterator[tuple[str, str]]:
    """What the functions of the module make, by their names, and its constants."""
    for name, made in vars(keys).items():
        if name.isupper() and isinstance(made, str) and made.startswith("vs:"):
            yield name, made
        ours = inspect.isfunction(made) and made.__module__ == keys.__name__
        if not ours or name in ("parse", "of_site", "of_commit", "of_change") or name.startswith("_"):
            continue
        parameters = inspect.signature(made).parameters
        missing = parameters.keys() - ARGUMENTS.keys()
        assert not missing, f"{name} takes {missing}: give an example here"
        key = made(**{parameter: ARGUMENTS[parameter] for parameter in parameters})
        for each in key if isinstance(key, list) else [key.name if isinstance(key, keys.Expiring) else key]:
            yield name, each


@pytest.mark.parametrize(("name", "key"), list(spelled()))
def test_a_key_is_known_by_its_name(name: str, key: str) -> None:
    found = keys.parse(key)
    assert found is not None, f"{key} has no row in KINDS"
    assert found.site == ("portal-1" if "{" in key else "")


def test_no_row_is_left_over() -> None:
    kinds = [found.kind for _, key in spelled() if (found := keys.parse(key))]
    assert [kind for kind in keys.KINDS if kind not in kinds] == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vs:",
        "vs:visits",
        "vs:{portal}:",
        "vs:{portal}:visit",
        "vs:{portal}:visits:2",
        "vs:{portal:who}:visits",
        "vs:{portal}:top:all",
        "vs:{portal}:salt:24-11-2026",
        "vs:{portal}:unique:2026-11-24:8",
        "vs:{portal}:articles:2026-11",
        "vs:{Portal}:visits",
        "vs:{portal}:writer:abc",
        "vs:{portal}:sites",
        "other:{portal}:visits",
        "vs:sites\n",
    ],
)
def test_what_nobody_writes_is_not_known(name: str) -> None:
    assert keys.parse(name) is None


def test_the_keys_of_a_site_are_asked_for_by_a_pattern_without_surprises() -> None:
    """A site's id holds nothing that SCAN takes for a wildcard."""
    assert keys.of_site("a-1") == "vs:{a-1}:*"
    assert keys.of_site("") == "vs:*"
