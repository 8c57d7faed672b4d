"""The read side: the last snapshot of every site, from memory, at most a second old; on disk for a start without a
store."""

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from visitstats.core import counting
from visitstats.core.bounded import Bounded
from visitstats.core.counting import UNKNOWN, Numbers
from visitstats.core.errors import StoreUnavailable
from visitstats.files import write_file
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads

log = logging.getLogger(__name__)

FRESH_MS = 1000
"""A snapshot that is older is read anew, unless the store does not answer."""
HEALING_MS = 10_000
"""How long numbers that were shown outlive lower ones."""
MOST_ARTICLES = 10_000
"""Articles of a site whose views are remembered for answers without the store."""

_encode = msgspec.json.Encoder().encode


class Snapshot(msgspec.Struct, frozen=True):
    """The numbers of a site at one moment, ready to be sent."""

    numbers: Numbers
    at_ms: int
    head: bytes
    """The JSON object without its last brace, so that a hit's own numbers can follow."""
    etag: bytes
    """The same for the same numbers, whatever the moment."""
    box: str
    """What the numbers count: visits or views; empty when that is not known."""
    search_engines: int | None = None
    """What search engines have read today, for a site that shows it."""


class Kept(msgspec.Struct, frozen=True):
    """A snapshot as it is kept on disk."""

    numbers: Numbers
    at_ms: int
    search_engines: int | None = None


_decode_kept = msgspec.json.Decoder(dict[str, Kept]).decode


class _SearchEngines(msgspec.Struct, frozen=True):
    """What search engines had read on a day, at a moment."""

    day: str
    at_ms: int
    pages: int | None


class Watch(Protocol):
    """What the read side has to know of the write side (`ingest.positions`)."""

    @property
    def writer(self) -> str: ...

    @property
    def applied(self) -> dict[str, int]:
        """The sequence up to which a site's records are known to be in the store."""
        ...

    def look(self, site: str, sequence: int, total: int, expected: int) -> None:
        """Take note of a watermark."""
        ...


class Stats:
    """The snapshots of all sites. `clock` gives the moment in milliseconds; `watch` is told when the store has less
    than was applied."""

    def __init__(self, reads: Reads, clock: Callable[[], int], directory: Path, slot: int, watch: Watch) -> None:
        self._reads = reads
        self._clock = clock
        self._directory = directory
        self._file = directory / f"numbers-{slot:02d}.json"
        self._watch = watch
        self._snapshots: dict[str, Snapshot] = {}
        self._reading: dict[str, asyncio.Task[Snapshot]] = {}
        self._search_engines: dict[str, _SearchEngines] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._views: dict[str, Bounded[bytes, int]] = {}
        self._kept: dict[str, Kept] = {}
        self.changed = False
        """Whether there is a snapshot that is not on the disk."""
        self.lost: dict[str, int] = {}
        """Sites of which the store has lost counts: the total that was shown last. Less than that is not shown
        (`losses`)."""

    def load(self) -> None:
        """Read what any worker kept before; the newest snapshot of each site wins."""
        for site_id, kept in read_kept(self._directory).items():
            if site_id not in self._kept or kept.at_ms > self._kept[site_id].at_ms:
                self._kept[site_id] = kept

    def keep(self) -> None:
        """Write the snapshots to the disk, so that they outlive the process. Blocks; raises OSError."""
        self.changed = False
        data = self._kept | {
            site_id: Kept(snapshot.numbers, snapshot.at_ms, snapshot.search_engines)
            for site_id, snapshot in list(self._snapshots.items())
        }
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(self._file, _encode(data))

    def borrow(self) -> None:
        """Show what another worker of this machine has kept, where that is newer: while the store is away every worker
        has a last snapshot of its own, and a reader must not see numbers fall from one answer to the next. Blocks."""
        self.load()
        for site_id, kept in self._kept.items():
            mine = self._snapshots.get(site_id)
            if mine is not None and kept.at_ms > mine.at_ms:
                del self._snapshots[site_id]

    def publish(self, live: LiveSite, online: int, counts: list[int], at_ms: int) -> Snapshot:
        """Make the snapshot of counts of the site's box that were read or committed at a moment, and show it from now
        on."""
        numbers = counting.numbers(online, counts)
        if self.lost and (numbers.total or 0) < self.lost.get(live.site.id, 0):
            return self.last(live)
        shown = self.last(live)
        fallen = (numbers.total or 0) < (shown.numbers.total or 0) and shown.box in ("", live.site.box)
        if fallen and 0 <= at_ms - shown.at_ms < HEALING_MS:
            # A total falls only while a store that came back older is brought up to the journals again: what was shown
            # stays until that is done.
            return shown
        snapshot = _snapshot(live, numbers, at_ms, live.site.box, self._of_search_engines(live))
        self._snapshots[live.site.id] = snapshot
        self.changed = True
        return snapshot

    def last(self, live: LiveSite) -> Snapshot:
        """Return the last snapshot, however old; its numbers are None when nothing is known (rule 10)."""
        snapshot = self._snapshots.get(live.site.id)
        if snapshot is None:
            kept = self._kept.get(live.site.id)
            snapshot = (
                _snapshot(live, kept.numbers, kept.at_ms, search_engines=kept.search_engines)
                if kept
                else _snapshot(live, UNKNOWN, self._clock())
            )
        return snapshot

    def fresh(self, live: LiveSite) -> Snapshot | None:
        """Return the snapshot if it is fresh enough to be shown as it is."""
        snapshot = self._snapshots.get(live.site.id)
        if snapshot is not None and -FRESH_MS < self._clock() - snapshot.at_ms < FRESH_MS:
            return snapshot
        return None

    async def current(self, live: LiveSite) -> Snapshot:
        """Return a fresh snapshot, or the last one when the store does not answer. Many callers, one read."""
        snapshot = self.fresh(live)
        if snapshot is not None:
            return snapshot
        task = self._reading.get(live.site.id)
        if task is None:
            task = self._reading[live.site.id] = asyncio.create_task(self._read(live))
            task.add_done_callback(lambda _: self._reading.pop(live.site.id, None))
        # A caller who goes away must not take the read from the others.
        return await asyncio.shield(task)

    async def read_both(self, live: LiveSite) -> tuple[Numbers, Numbers]:
        """Read the numbers of a site now, as visits and as views. Raises StoreUnavailable."""
        now = self._clock()
        counts = await self._reads.counts(live.site.id, live.calendar.day_at(now), now)
        return counting.numbers(counts.online, counts.visits), counting.numbers(counts.online, counts.views)

    # Search engines --------------------------------------------------------------------------------------------------

    def _of_search_engines(self, live: LiveSite) -> int | None:
        """What is known of today. A commit does not wait for it: it is read anew beside, once a second at most."""
        if not live.site.show_search_engines:
            return None
        now, known = self._clock(), self._search_engines.get(live.site.id)
        today = live.calendar.day_at(now).date
        if known is None or known.day != today or not 0 <= now - known.at_ms < FRESH_MS:
            self._ask_search_engines(live)
        return known.pages if known is not None and known.day == today else None

    def _ask_search_engines(self, live: LiveSite) -> "asyncio.Task[None]":
        task = self._asking.get(live.site.id)
        if task is None:
            task = self._asking[live.site.id] = asyncio.create_task(self._read_search_engines(live))
            task.add_done_callback(lambda _: self._asking.pop(live.site.id, None))
        return task

    async def _read_search_engines(self, live: LiveSite) -> None:
        now = self._clock()
        day = live.calendar.day_at(now)
        try:
            pages = await asyncio.wait_for(self._reads.search_engines(live.site.id, day), FRESH_MS / 1000)
        except (StoreUnavailable, TimeoutError):
            return
        self._search_engines[live.site.id] = _SearchEngines(day.date, now, pages)

    # Articles --------------------------------------------------------------------------------------------------------

    def remember_views(self, site_id: str, articles: Iterable[tuple[bytes, int]]) -> None:
        """Remember the views of articles (negative: not known) for answers while the store is away."""
        known = self._views.get(site_id)
        if known is None:
            known = self._views[site_id] = Bounded(MOST_ARTICLES)
        known.update(articles)

    def last_views(self, site_id: str, article: bytes) -> int | None:
        """Return the views of an article that were known last, None for none."""
        known = self._views.get(site_id)
        views = known.get(article) if known is not None else None
        return views if views is not None and views >= 0 else None

    async def _read(self, live: LiveSite) -> Snapshot:
        now, before = self._clock(), self._snapshots.get(live.site.id)
        applied = self._watch.applied.get(live.site.id, 0)
        try:
            if live.site.show_search_engines:
                await self._ask_search_engines(live)
            counts = await asyncio.wait_for(
                self._reads.counts(live.site.id, live.calendar.day_at(now), now, self._watch.writer), FRESH_MS / 1000
            )
        except (StoreUnavailable, TimeoutError):
            return self.last(live)
        if counts.mark.sequence < applied:
            self._watch.look(live.site.id, counts.mark.sequence, counts.mark.total, applied)
            # These numbers are older than those that were shown: healing will bring better ones.
            return self.last(live)
        if (newer := self._snapshots.get(live.site.id)) is not before and newer is not None:
            # A commit was answered meanwhile; what was read may be from before it. Nobody is shown less than before.
            return newer
        shown = counts.views if live.site.box == "views" else counts.visits
        return self.publish(live, counts.online, shown, now)


def read_kept(directory: Path) -> dict[str, Kept]:
    """Return the newest snapshot of each site that any worker has kept in a folder."""
    newest: dict[str, Kept] = {}
    for path in directory.glob("numbers-*.json"):
        try:
            found = _decode_kept(path.read_bytes())
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            log.warning("the kept numbers in %s cannot be read: %s", path.name, error)
            continue
        for site_id, kept in found.items():
            if site_id not in newest or kept.at_ms > newest[site_id].at_ms:
                newest[site_id] = kept
    return newest


def _snapshot(
    live: LiveSite, numbers: Numbers, at_ms: int, box: str = "", search_engines: int | None = None
) -> Snapshot:
    named: dict[str, object] = {"site": live.site.id, **msgspec.structs.asdict(numbers)}
    shown = repr(numbers)
    if live.site.show_search_engines:
        named["search_engines"] = search_engines
        shown += repr(search_engines)
    body = _encode({**named, "at": live.calendar.iso(at_ms)})
    etag = b'W/"%x"' % zlib.crc32(shown.encode())
    return Snapshot(numbers, at_ms, body[:-1], etag, box, search_engines)
