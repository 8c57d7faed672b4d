"""Several hosts on one store: each notes which hits of the others the store has, so that a loss is noticed even if the
host that could repair it is dead.

A host's journal is its own. When the store comes back older, each living host replays what it has; the hits that a dead
one had acknowledged are missing, and nothing in the store shows it. So once a second one process of each host looks at
the watermarks of the writers whose slots are not in its journal folder, and notes the highest that it has seen, with
the number of hits up to there:

    hosts/lock          flock of the process that does it
    hosts/noted.json    writer → its host, site → watermark: never lowered
    hosts/lacking.json  host → hits that the store lacks, for the other processes; exists only while it lacks any

As long as the store has less than was noted, `readyz`, the metric `visitstats_store_lacks_hits`, `visitstats verify`
and one line of the log say so. It ends by itself when the store has caught up: the host is back, or a copy of its
folder was applied (docs/reliability.md).
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from visitstats.core.errors import StoreUnavailable
from visitstats.journal.reader import slots_of
from visitstats.journal.slot import try_lock
from visitstats.store.reads import NO_MARK, Mark, Marks
from visitstats.store.writers import Writers
from visitstats.system.files import write_file

log = logging.getLogger(__name__)

FOLDER, NOTED, LACKING = "hosts", "noted.json", "lacking.json"


class Noted(msgspec.Struct):
    """What was seen of a writer on another host."""

    host: str = ""
    sites: dict[str, Mark] = {}


class Lack(NamedTuple):
    """The records of a writer that a ledger lacks."""

    site: str
    writer: str
    host: str
    noted: Mark
    has: Mark

    @property
    def hits(self) -> int:
        """How many hits; 0 for heartbeats or changes alone."""
        return max(self.noted.total - self.has.total, 0)


_encode = msgspec.json.Encoder().encode
_decode_noted = msgspec.json.Decoder(dict[str, Noted]).decode
_decode_lacking = msgspec.json.Decoder(dict[str, int]).decode


def read_noted(data_dir: Path) -> dict[str, Noted]:
    """Return what this host has noted about the writers on other hosts. A damaged note is made anew."""
    try:
        return _decode_noted((data_dir / FOLDER / NOTED).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        log.error("what was noted of other hosts cannot be read: %s", error)
        return {}


def lacking(noted: Mapping[str, Noted], marks: Marks) -> Iterator[Lack]:
    """Yield what the store lacks according to its watermarks; sites without watermarks are left out."""
    for writer, each in noted.items():
        for site, mark in each.sites.items():
            if site in marks and (has := marks[site].get(writer, NO_MARK)).sequence < mark.sequence:
                yield Lack(site, writer, each.host, mark, has)


class Hosts:
    """Watches the other hosts for a worker. `name` is the name of this host, `writer` the worker's own id, `sites`
    returns the ids of all sites."""

    def __init__(
        self, data_dir: Path, writers: Writers, writer: str, name: str, sites: Callable[[], Iterable[str]]
    ) -> None:
        self._data_dir = data_dir
        self._folder = data_dir / FOLDER
        self._writers = writers
        self._writer = writer
        self._name = name
        self._sites = sites
        self._lock: int | None = None
        self._joined = False
        self._many = -1
        """Writers that were known at the last look."""
        self._ours: set[str] = {writer}
        self._noted: dict[str, Noted] = {}
        self._marks: Marks = {}
        self._told = 0
        """How many missing hits were logged."""
        self.lacks: dict[str, int] = {}
        """Host → how many hits of it the store had, and lacks now."""

    async def close(self) -> None:
        """Release what it holds."""
        await self._writers.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def look(self) -> None:
        """Look at the watermarks, or, if another process of this host does that, read what it has found. To be called
        once a second. Raises OSError."""
        leads = self._leads()
        try:
            if not self._joined:
                await self._writers.join({self._writer: self._name})
                self._joined = True
            if leads:
                await self._watch()
        except StoreUnavailable as error:
            log.debug("the watermarks of other hosts cannot be read: %s", error)

    def _leads(self) -> bool:
        """Take the lock if it is free; else read what the process that holds it has found. This runs in the event
        loop's thread, because handing it to another one would take longer."""
        if self._lock is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = try_lock(self._folder)
            if self._lock is not None:
                self._noted = read_noted(self._data_dir)
            try:
                self.lacks = _decode_lacking((self._folder / LACKING).read_bytes())
            except FileNotFoundError:
                self.lacks = {}
            except (UnicodeDecodeError, msgspec.MsgspecError) as error:
                log.error("what the store lacks of other hosts cannot be read: %s", error)
        return self._lock is not None

    async def _watch(self) -> None:
        if await self._writers.many() != self._many:
            await self._meet()
        if not self._noted:  # no other host is known
            if self.lacks:
                await self._tell([])
            return
        moved = await self._writers.moved(sorted({*self._sites(), *self._noted_sites()}))
        if not moved:
            return
        self._marks |= moved
        changed = False
        for site, marks in moved.items():
            for writer, mark in marks.items():
                if writer not in self._ours:
                    noted = self._noted.setdefault(writer, Noted())
                    if mark.sequence > noted.sites.get(site, NO_MARK).sequence:
                        noted.sites[site] = mark
                        changed = True
        if changed:
            await asyncio.to_thread(write_file, self._folder / NOTED, _encode(self._noted))
        await self._tell(list(lacking(self._noted, self._marks)))

    def _noted_sites(self) -> set[str]:
        return {site for noted in self._noted.values() for site in noted.sites}

    async def _meet(self) -> None:
        """Read which writers there are, and put back those that the store has forgotten."""
        slots = await asyncio.to_thread(slots_of, self._data_dir / "journal")
        self._ours = {self._writer, *(slot.writer for slot in slots if slot.writer)}
        hosts = await self._writers.hosts()
        missing = {writer: noted.host for writer, noted in self._noted.items() if noted.host and writer not in hosts}
        missing |= {writer: self._name for writer in self._ours if hosts.get(writer) != self._name}
        if missing:
            await self._writers.join(missing)
            hosts |= missing
        for writer, host in hosts.items():
            if writer not in self._ours:
                self._noted.setdefault(writer, Noted()).host = host
        for writer in self._ours & self._noted.keys():
            del self._noted[writer]  # its slot is on this host now, and the replay notices what is missing
        self._many = len(hosts)

    async def _tell(self, found: list[Lack]) -> None:
        by_host: Counter[str] = Counter()
        by_writer: Counter[str] = Counter()
        for each in found:
            by_host[each.host or "?"] += each.hits
            by_writer[f"{each.writer[:8]} of host {each.host or '?'}"] += each.hits
        lacks = {host: hits for host, hits in by_host.items() if hits}
        if lacks != self.lacks:
            await asyncio.to_thread(self._keep, lacks)
        self.lacks = lacks
        missing = sum(lacks.values())
        if missing > self._told:
            log.error(
                "the store lacks hits that it had: %s; start that host's service, or apply a copy of its data folder "
                "(docs/reliability.md)",
                ", ".join(f"{hits} of writer {writer}" for writer, hits in by_writer.items() if hits),
            )
            self._told = missing
        elif not missing and self._told:
            log.warning("the store has all hits of the other hosts again")
            self._told = 0

    def _keep(self, lacks: dict[str, int]) -> None:
        path = self._folder / LACKING
        if lacks:
            write_file(path, _encode(lacks))
        else:
            path.unlink(missing_ok=True)
