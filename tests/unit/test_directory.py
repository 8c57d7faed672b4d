"""What a worker does with the records of sites that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from visitstats.core.sites import Site
from visitstats.directory import SiteDirectory

FINE = Site(id="fine", hosts=("portal.vn",), rules=((r"^/tin/(\d+)", r"tin:\1"),))
OTHER = Site(id="other", hosts=("other.vn",))
CHANGED = msgspec.structs.replace(FINE, rules=(("(", "x"),))
"""As a machine with another library for patterns might have saved it."""


class Kept:
    """The records of a store."""

    def __init__(self, *sites: Site) -> None:
        self._version = 0
        self.put(*sites)

    def put(self, *sites: Site) -> None:
        self._version += 1
        self._sites = {site.id: site for site in sites}

    async def sites_version(self) -> bytes:
        return b"%d" % self._version

    async def sites(self) -> dict[str, Site]:
        return self._sites


def directory(kept: Kept, folder: Path) -> SiteDirectory:
    return SiteDirectory(cast(Any, kept), folder, lambda: b"s" * 32)


async def test_a_change_that_cannot_be_applied_here_leaves_the_site_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other rules, or none, would give articles other keys and split their counts."""
    kept = Kept(FINE, OTHER)
    sites = directory(kept, tmp_path)
    await sites.refresh()
    before = sites.get("fine")
    kept.put(CHANGED, msgspec.structs.replace(OTHER, name="Mới"))
    await sites.refresh()
    assert sites.get("fine") is before
    other = sites.get("other")
    assert other is not None
    assert other.site.name == "Mới", "one bad record does not hold up the others"
    assert "site fine: rule 1: missing ): (" in caplog.text


async def test_a_site_that_was_never_applied_here_is_not_served_with_other_rules(tmp_path: Path) -> None:
    sites = directory(Kept(CHANGED, OTHER), tmp_path)
    await sites.refresh()
    assert [live.site.id for live in sites.all()] == ["other"]


async def test_a_site_that_has_not_changed_stays_the_same_object(tmp_path: Path) -> None:
    """Caches of keys hang on it."""
    kept = Kept(FINE, OTHER)
    sites = directory(kept, tmp_path)
    await sites.refresh()
    before = sites.get("fine"), sites.get("other")
    kept.put(FINE, msgspec.structs.replace(OTHER, ignore_case=True))
    await sites.refresh()
    assert sites.get("fine") is before[0]
    assert sites.get("other") is not before[1]


async def test_kept_sites_that_are_damaged_do_not_keep_a_worker_from_starting(tmp_path: Path) -> None:
    (tmp_path / "sites.json").write_bytes(b'[{"id":"x","hosts":["WWW.x.vn"]}]')
    sites = directory(Kept(OTHER), tmp_path)
    sites.load(0)
    assert sites.all() == []
    await sites.refresh()
    assert [live.site.id for live in sites.all()] == ["other"]
