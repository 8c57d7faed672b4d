"""What a worker does with the records of sites that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.sites.directory import SiteDirectory
from visitstats.store.records import Sites

FINE = Site(id="fine", hosts=("portal.vn",), rules=((r"^/tin/(\d+)", r"tin:\1"),))
OTHER = Site(id="other", hosts=("other.vn",))
CHANGED = msgspec.structs.replace(FINE, rules=(("(", "x"),))
"""As a machine with another library for patterns might have saved it."""


class Kept:
    """The records of a store, with the aliases of its sites."""

    def __init__(self, *sites: Site) -> None:
        self._version = 0
        self.changes = self
        self.all_aliases: dict[str, dict[bytes, str]] = {}
        self.versions: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.put(*sites)

    def put(self, *sites: Site) -> None:
        self._version += 1
        self._sites = {site.id: site for site in sites}

    async def sites_version(self) -> bytes:
        return b"%d" % self._version

    async def listing(self) -> Sites:
        return Sites(dict(self._sites), frozenset())

    def merge(self, site: str, source: str, target: str) -> None:
        self._version += 1
        self.versions[site] = b"%d" % self._version
        self.all_aliases.setdefault(site, {})[article_id(source)] = target

    async def alias_versions(self) -> dict[str, bytes]:
        return dict(self.versions)

    async def aliases(self, site: str) -> dict[bytes, str]:
        self.asked.append(site)
        return dict(self.all_aliases.get(site, {}))


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


def key_of(sites: SiteDirectory, path: str) -> str:
    live = sites.get("other")
    assert live is not None
    return live.key_rules.key(f"https://other.vn{path}")


async def test_an_alias_is_known_after_a_look_and_makes_its_site_another_object(tmp_path: Path) -> None:
    """Caches of keys hang on the object. Sites whose aliases have not changed keep theirs, and are not read again."""
    kept = Kept(FINE, OTHER)
    sites = directory(kept, tmp_path)
    await sites.refresh()
    before = sites.get("fine"), sites.get("other")
    assert key_of(sites, "/old") == "/old"
    kept.merge("other", "/old", "/new")
    await sites.refresh()
    assert key_of(sites, "/old") == "/new"
    assert sites.get("fine") is before[0]
    assert sites.get("other") is not before[1]
    assert kept.asked == ["other"]
    del kept.all_aliases["other"][article_id("/old")]
    kept.merge("other", "/x", "/y")
    await sites.refresh()
    assert key_of(sites, "/old") == "/old"


async def test_aliases_outlive_a_start_without_the_store_and_are_read_again_with_it(tmp_path: Path) -> None:
    kept = Kept(OTHER)
    kept.merge("other", "/old", "/new")
    await directory(kept, tmp_path).refresh()
    again = directory(kept, tmp_path)
    again.load(0)
    assert key_of(again, "/old") == "/new"
    kept.versions, kept.all_aliases = {}, {}  # the store came back older than the merge
    await again.refresh()
    assert key_of(again, "/old") == "/old"


async def test_kept_aliases_that_are_damaged_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(OTHER)
    await directory(kept, tmp_path).refresh()
    for damaged in (b"{", b'{"other":{"xyz":"/new"}}', b"\xff"):
        (tmp_path / "aliases.json").write_bytes(damaged)
        sites = directory(kept, tmp_path)
        sites.load(0)
        assert key_of(sites, "/old") == "/old"
    assert caplog.text.count("the kept aliases cannot be read") == 3
