"""The directory of sites as a worker sees it, and the salts of their days. Both are kept on disk as well, for a start
without the store."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from visitstats.core.counting import SALT_LIFE_MS, Salted, salted
from visitstats.core.errors import InvalidSite, StoreDamaged, StoreUnavailable, VisitstatsError
from visitstats.core.exclusions import ExcludedPaths
from visitstats.core.keys import NO_ALIASES, KeyRules
from visitstats.core.periods import Calendar, Day
from visitstats.core.sites import Site
from visitstats.store.records import Records
from visitstats.system.files import write_file
from visitstats.system.networks import Networks
from visitstats.system.patterns import linear_pattern

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0

_encode = msgspec.json.Encoder().encode


class KeptSalt(msgspec.Struct, frozen=True):
    """A salt as it is kept on disk, with the moment at which it must be deleted."""

    site: str
    day: str
    expires_ms: int
    salt: bytes


_decode_sites = msgspec.json.Decoder(list[Site]).decode
_decode_salts = msgspec.json.Decoder(list[KeptSalt]).decode
_decode_aliases = msgspec.json.Decoder(dict[str, dict[str, str]]).decode
_UNKNOWN = b"?"
"""The version of aliases that were read from the disk: no version in the store equals it."""


class LiveSite:
    """A site's record with everything that a worker derives from it."""

    __slots__ = (
        "aliases", "calendar", "changed", "excluded_networks", "excluded_paths", "key_rules", "offices", "salts",
        "site",
    )  # fmt: skip

    def __init__(self, site: Site, aliases: Mapping[bytes, str] = NO_ALIASES, changed: bytes = b"") -> None:
        """Raises InvalidSite for rewrite rules that cannot be applied here."""
        self.site = site
        self.aliases = aliases
        self.changed = changed
        """Differs after each change that people make, by which counts may have fallen."""
        self.key_rules = KeyRules(site, linear_pattern, aliases)
        self.calendar = Calendar(site.timezone, site.week_start)
        self.offices = Networks(site.office_networks)
        self.excluded_networks = Networks(site.excluded_networks)
        self.excluded_paths = ExcludedPaths(site.excluded_paths)
        self.salts: dict[str, Salted] = {}
        """Date → the day's salt, ready to make tokens with."""


class Journalled(Protocol):
    """What the directory asks and tells the journal of its worker (`ingest.positions`)."""

    @property
    def has_all(self) -> bool:
        """Whether the store has everything that is journalled, as far as is known. After a loss aliases are put back
        only then: those that were made by a journalled merge come back with it, and with its record."""
        ...

    def recheck(self) -> None:
        """Have the store compared with the journal before anything more is committed."""
        ...


class _NoJournal:
    has_all = True

    def recheck(self) -> None:
        pass


NO_JOURNAL: Journalled = _NoJournal()
"""For a worker without a journal."""


class SiteDirectory:
    """All sites. Changes in the store are seen within `REFRESH_SECONDS`. `draw_salt` returns 32 random bytes. `on_loss`
    is called with the sites that are known here when the store turns out to have lost everything, before they are put
    back."""

    def __init__(
        self,
        records: Records,
        directory: Path,
        draw_salt: Callable[[], bytes],
        journalled: Journalled = NO_JOURNAL,
        on_loss: Callable[[list[LiveSite]], None] = lambda sites: None,
    ) -> None:
        self._records = records
        self._journalled = journalled
        self._on_loss = on_loss
        self._directory = directory
        self._draw_salt = draw_salt
        self._live: dict[str, LiveSite] = {}
        self._aliases: dict[str, Mapping[bytes, str]] = {}
        self._alias_versions: dict[str, bytes] = {}
        self._version: bytes | None = None
        self._salts: dict[tuple[str, str], KeptSalt] = {}
        self._fetching: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._looked = -REFRESH_SECONDS
        self._blind = False
        """Whether the last look into the store failed."""
        self._lost: dict[str, Mapping[bytes, str]] = {}
        """Site → the aliases known here, while the store has lost everything."""

    def get(self, site_id: str) -> LiveSite | None:
        """Return a site that is known here."""
        return self._live.get(site_id)

    def all(self) -> list[LiveSite]:
        """Return every site that is known here."""
        return list(self._live.values())

    async def find(self, site_id: str) -> LiveSite | None:
        """Return a site; one that is not known here yet is looked up in the store, once a second at most.

        Raises StoreUnavailable when it could not be looked up: that is not the same as "there is no such site".
        """
        live = self._live.get(site_id)
        now = asyncio.get_running_loop().time()
        if live is None and now - self._looked >= REFRESH_SECONDS:
            self._looked = now
            await self.refresh()
            live = self._live.get(site_id)
        if live is None and self._blind:
            raise StoreUnavailable("the sites cannot be read just now")
        return live

    async def refresh(self, version: bytes | None = None) -> None:
        """Read the sites if they have changed; `version` is their version in the store, if it was just read. A store
        that does not answer leaves everything as it is."""
        try:
            if version is None:
                version = await self._records.sites_version()
            self._blind = False
            if version and self._lost and self._journalled.has_all:
                for site_id in list(self._lost):
                    await self._records.changes.keep_aliases(site_id, self._lost[site_id])
                    del self._lost[site_id]
                version = await self._records.sites_version()
            if version == self._version:
                return
            if not version and self._live:
                # Every change of a site sets the version: if it is gone, the store has lost everything.
                log.error("the store has lost its sites; they are put back as they are known here")
                self._on_loss(self.all())
                self._journalled.recheck()
                self._lost |= {live.site.id: live.aliases for live in self.all() if live.aliases}
                for live in self.all():
                    await self._records.put_site(live.site)
                version = await self._records.sites_version()
            sites, damaged = await self._records.listing()
            # A site whose record cannot be read any more goes on as it was.
            sites |= {name: known.site for name in damaged if (known := self._live.get(name))}
            changed = await self._read_aliases(sites)
        except StoreUnavailable as error:
            log.debug("the sites cannot be read: %s", error)
            self._blind = True
            return
        self._take(sites)
        self._version = version
        self._keep("sites.json", _encode(list(sites.values())))
        if changed:
            self._keep_aliases()

    def load(self, now_ms: int) -> None:
        """Read what was kept on disk: the sites, and the salts that are not past their life."""
        try:
            sites = _decode_sites((self._directory / "sites.json").read_bytes())
            self._load_aliases()
            self._take({site.id: site for site in sites})
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError, VisitstatsError) as error:
            log.warning("the kept sites cannot be read: %s", error)
        try:
            salts = _decode_salts((self._directory / "salts.json").read_bytes())
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError, VisitstatsError) as error:
            log.warning("the kept salts cannot be read: %s", error)
            return
        for kept in salts:
            if kept.expires_ms > now_ms:
                self._remember(kept)

    async def salt(self, live: LiveSite, day: Day) -> None:
        """Make sure that the salt of a site-day is known here (rule 2). Raises StoreUnavailable when it is not, and the
        store cannot be asked."""
        if day.date in live.salts:
            return
        name = (live.site.id, day.date)
        task = self._fetching.get(name)
        if task is None:
            task = self._fetching[name] = asyncio.create_task(self._fetch(live, day))
            task.add_done_callback(lambda _: self._fetching.pop(name, None))
        await asyncio.shield(task)

    async def prepare_salts(self, now_ms: int) -> None:
        """Fetch the salts of today and tomorrow before they are needed, and drop those that are past their life."""
        for name, kept in list(self._salts.items()):
            if kept.expires_ms <= now_ms:
                del self._salts[name]
                if live := self._live.get(kept.site):
                    live.salts.pop(kept.day, None)
        for live in self.all():
            today = live.calendar.day_at(now_ms)
            await self.salt(live, today)
            await self.salt(live, live.calendar.day_named(today.tomorrow))
        self._keep_salts()

    async def _fetch(self, live: LiveSite, day: Day) -> None:
        salt = await self._records.salt(live.site.id, day, self._draw_salt())
        self._remember(KeptSalt(live.site.id, day.date, day.end_ms + SALT_LIFE_MS, salt))
        self._keep_salts()

    def _remember(self, kept: KeptSalt) -> None:
        self._salts[kept.site, kept.day] = kept
        if live := self._live.get(kept.site):
            live.salts[kept.day] = salted(kept.salt)

    def _take(self, sites: dict[str, Site]) -> None:
        live = {}
        for site_id, site in sites.items():
            old = self._live.get(site_id)
            try:
                aliases = self._aliases.get(site_id, NO_ALIASES)
                changed = self._alias_versions.get(site_id, b"")
                same = old is not None and old.site == site and old.aliases is aliases and old.changed == changed
                live[site_id] = old if old is not None and same else LiveSite(site, aliases, changed)
            except InvalidSite as error:
                # The machine that saved it could apply the rules. Keys by other rules would split the counts.
                log.error("%s; the site stays as it was", error)
                if old is not None:
                    live[site_id] = old
        self._live = live
        for kept in self._salts.values():
            self._remember(kept)

    # Aliases -------------------------------------------------------------------------------------------------------

    async def _read_aliases(self, sites: dict[str, Site]) -> bool:
        """Read the aliases that have changed, and say whether there were any. Raises StoreUnavailable."""
        versions = await self._records.changes.alias_versions()
        changed = [site for site in sites if versions.get(site) != self._alias_versions.get(site)]
        for site in changed:
            # The version is read first, so that a change in between is read once more.
            read: Mapping[bytes, str]
            try:
                read = await self._records.changes.aliases(site)
            except StoreDamaged as error:
                log.error("the aliases of site %s cannot be read; they stay as they were: %s", site, error)
                read = self._aliases.get(site, NO_ALIASES)
            found = {**self._lost.get(site, NO_ALIASES), **read}
            self._aliases[site] = found or NO_ALIASES
            if site in versions:
                self._alias_versions[site] = versions[site]
            else:
                del self._alias_versions[site]
        return bool(changed)

    def _keep_aliases(self) -> None:
        kept = {site: {alias.hex(): key for alias, key in found.items()} for site, found in self._aliases.items()}
        self._keep("aliases.json", _encode({site: found for site, found in kept.items() if found}))

    def _load_aliases(self) -> None:
        try:
            kept = _decode_aliases((self._directory / "aliases.json").read_bytes())
            self._aliases = {
                site: {bytes.fromhex(alias): key for alias, key in found.items()} for site, found in kept.items()
            }
        except FileNotFoundError:
            return
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            # Nothing is lost: the scripts resolve aliases, too.
            log.warning("the kept aliases cannot be read: %s", error)
        self._alias_versions = dict.fromkeys(self._aliases, _UNKNOWN)

    # On disk -------------------------------------------------------------------------------------------------------

    def _keep_salts(self) -> None:
        self._keep("salts.json", _encode(list(self._salts.values())))

    def _keep(self, name: str, data: bytes) -> None:
        # Small and rare (a change of a site, a new day): written at once, in this thread.
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(self._directory / name, data)
        except OSError as error:
            log.error("%s cannot be kept in the data folder: %s", name, error)
