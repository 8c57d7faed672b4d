"""The read side: the last snapshot of every site, at most a second old, in memory. Snapshots are also kept on disk, so
that a worker can start without the store."""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from visitstats.core.bounded import Bounded
from visitstats.core.counting import QUARTER_MS
from visitstats.core.errors import StoreUnavailable
from visitstats.core.history import Peak
from visitstats.core.numbers import UNKNOWN, History, Numbers, sum_up
from visitstats.core.periods import Day
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads
from visitstats.system.files import write_file

log = logging.getLogger(__name__)

FRESH_MS = 1000
"""A snapshot that is older is read anew, unless the store does not answer."""
HEALING_MS = 10_000
"""How long shown numbers are kept when lower ones arrive."""
CHANGING_MS = 2000
"""How long numbers may fall after a person's change: numbers read before the change may be published after it."""
MOST_ARTICLES = 40_000
"""Articles of all sites whose views are remembered for answers without the store: 200 bytes each."""

MOST_PEAKS = 4 * 24 * 7
"""For how many quarter hours the peak is remembered while the store is away."""
HISTORY_MS = 600_000
"""An older history of a site is read anew. Late counts for a day before last week may take this long to show."""

_encode = msgspec.json.Encoder().encode
T = TypeVar("T")


class Snapshot(msgspec.Struct, frozen=True):
    """The numbers of a site at one moment, ready to be sent."""

    numbers: Numbers
    at_ms: int
    head: bytes
    """The JSON object without its last brace, so that a hit's own numbers can follow."""
    etag: bytes
    """The ETag, which depends on the numbers only and not on the time."""
    box: str
    """What the numbers count: visits or views; empty when that is not known."""


class Kept(msgspec.Struct, frozen=True):
    """A snapshot as it is kept on disk."""

    numbers: Numbers
    at_ms: int


_decode_kept = msgspec.json.Decoder(dict[str, Kept]).decode


class Watch(Protocol):
    """The part of the write side that the read side needs (`ingest.positions`)."""

    @property
    def writer(self) -> str: ...

    @property
    def applied(self) -> dict[str, int]:
        """The sequence up to which a site's records are known to be in the store."""
        ...

    def note_mark(self, site: str, sequence: int, total: int, expected: int) -> None:
        """Take note of a watermark."""
        ...


class _Answer(msgspec.Struct, Generic[T], frozen=True):
    """A value that was read beside the counts of a site, and how long it is fresh."""

    scope: str
    value: T | None
    at_ms: int
    life_ms: int


class Beside(Generic[T]):
    """A value that is shown for a site and is not in the answer to a commit, so that no hit waits for it. It is read
    separately: at most once in `life_ms` while it is asked for, and once a second when the store does not answer.

    A value that was read in one scope (such as a day) is not valid in another.
    """

    def __init__(
        self, read: Callable[[LiveSite], Awaitable[T]], scope: Callable[[LiveSite], str], clock: Callable[[], int],
        life_ms: int,
    ) -> None:  # fmt: skip
        self._read = read
        self._scope = scope
        self._clock = clock
        self._life_ms = life_ms
        self._answers: dict[str, _Answer[T]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}

    def get(self, live: LiveSite) -> T | None:
        """Return the last known value, or None; start reading it anew when it is not fresh."""
        answer, scope = self._answers.get(live.site.id), self._scope(live)
        known = answer is not None and answer.scope == scope
        fresh = answer is not None and known and 0 <= self._clock() - answer.at_ms < answer.life_ms
        if not fresh and live.site.id not in self._reading:
            task = self._reading[live.site.id] = asyncio.create_task(self._read_anew(live, scope))
            task.add_done_callback(lambda _: self._reading.pop(live.site.id, None))
        return answer.value if answer is not None and known else None

    def expire(self, site_id: str) -> None:
        """Have the value of a site read anew; until then the known one is shown."""
        answer = self._answers.get(site_id)
        if answer is not None:
            self._answers[site_id] = msgspec.structs.replace(answer, life_ms=0)

    async def wait(self, live: LiveSite) -> None:
        """Wait for a fresh value, for a second at most."""
        self.get(live)
        task = self._reading.get(live.site.id)
        if task is not None:
            await asyncio.wait({task}, timeout=FRESH_MS / 1000)

    async def _read_anew(self, live: LiveSite, scope: str) -> None:
        now, value, life_ms = self._clock(), self._last(live, scope), FRESH_MS
        try:
            value, life_ms = await self._read(live), self._life_ms
        except StoreUnavailable as error:
            log.debug("site %s: what is shown beside its counts cannot be read: %s", live.site.id, error)
        finally:  # even after a bug, so that the next commit does not ask again at once
            self._answers[live.site.id] = _Answer(scope, value, now, life_ms)

    def _last(self, live: LiveSite, scope: str) -> T | None:
        answer = self._answers.get(live.site.id)
        return answer.value if answer is not None and answer.scope == scope else None


class Stats:
    """The snapshots of all sites. `clock` gives the time in milliseconds; `watch` takes the watermarks, by which it
    notices that the store has less than was applied."""

    def __init__(self, reads: Reads, clock: Callable[[], int], directory: Path, slot: int, watch: Watch) -> None:
        self._reads = reads
        self._clock = clock
        self._directory = directory
        self._file = directory / f"numbers-{slot:02d}.json"
        self._watch = watch
        self._snapshots: dict[str, Snapshot] = {}
        self._reading: dict[str, asyncio.Task[Snapshot]] = {}
        self._search_engines = Beside(self._read_search_engines, self._date, clock, FRESH_MS)
        self._history = Beside(self._read_history, lambda live: live.site.box, clock, HISTORY_MS)
        self._views: Bounded[bytes, int] = Bounded(MOST_ARTICLES)
        """Site and article id, concatenated → views."""
        self._kept: dict[str, Kept] = {}
        self._peaks: dict[str, dict[int, Peak]] = {}
        """By site and quarter hour since the epoch: the highest number online, until it is stored."""
        self.changed = False
        """Whether there is a snapshot that is not on the disk."""
        self._least: dict[str, int] = {}
        self._oldest_ms = 0
        self._changed: dict[str, tuple[bytes, int]] = {}
        """By site: the last change by a person that was noticed (`LiveSite.changed`), and when."""

    def show_no_less(self, totals: dict[str, int]) -> None:
        """Keep showing the last snapshot of a site whose total is below this one: the store has lost counts."""
        self._least = totals

    def load(self) -> None:
        """Read the snapshots that any worker has kept; the newest snapshot of each site wins."""
        for site_id, kept in read_kept(self._directory).items():
            if site_id not in self._kept or kept.at_ms > self._kept[site_id].at_ms:
                self._kept[site_id] = kept

    def keep(self) -> None:
        """Write the snapshots to the disk, so that they outlive the process. Blocks; raises OSError."""
        self.changed = False
        data = self._kept | {
            site_id: Kept(snapshot.numbers, snapshot.at_ms) for site_id, snapshot in list(self._snapshots.items())
        }
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(self._file, _encode(data))

    def borrow(self) -> None:
        """Take over newer snapshots that other workers of this machine have kept. While the store is away, every worker
        has its own last snapshot, and a reader must not see numbers fall from one answer to the next. Blocks."""
        self.load()
        for site_id, kept in self._kept.items():
            mine = self._snapshots.get(site_id)
            if mine is not None and kept.at_ms > mine.at_ms:
                del self._snapshots[site_id]

    def publish(self, live: LiveSite, day: Day, online: int, counts: list[int], at_ms: int) -> Snapshot:
        """Make a snapshot from the counts of a site's box on a day, which were read or committed at `at_ms`, and show
        it from now on."""
        if online:
            self.note_peak(live.site.id, online, at_ms)
        engines = self._search_engines.get(live) if live.site.show_search_engines else None
        known, noticed_ms = self._changed.get(live.site.id, (live.changed, -CHANGING_MS))
        if known != live.changed:
            noticed_ms = at_ms
            self._history.expire(live.site.id)
        self._changed[live.site.id] = (live.changed, noticed_ms)
        was_changed = at_ms - noticed_ms < CHANGING_MS
        numbers = sum_up(day, online, counts, self._history.get(live), engines)
        if self._least and (numbers.total or 0) < self._least.get(live.site.id, 0):
            return self.last(live)
        shown = self.last(live)
        fallen = (numbers.total or 0) < (shown.numbers.total or 0) and shown.box in ("", live.site.box)
        if fallen and not was_changed and 0 <= at_ms - shown.at_ms < HEALING_MS:
            # Unless a person changed it, a total falls only while a store that came back older catches up with the
            # journals. The shown snapshot stays until that is done.
            return shown
        snapshot = _snapshot(live, numbers, at_ms, live.site.box)
        self._snapshots[live.site.id] = snapshot
        self.changed = True
        return snapshot

    def last(self, live: LiveSite) -> Snapshot:
        """Return the last snapshot, however old; its numbers are None when nothing is known (rule 10)."""
        snapshot = self._snapshots.get(live.site.id)
        if snapshot is None:
            kept = self._kept.get(live.site.id)
            snapshot = _snapshot(live, kept.numbers, kept.at_ms) if kept else _snapshot(live, UNKNOWN, self._clock())
        return snapshot

    def last_known(self, live: LiveSite) -> Snapshot:
        """Return the last snapshot for an answer without the store, and remember how old it is."""
        snapshot = self.last(live)
        if snapshot.numbers != UNKNOWN:
            self._oldest_ms = min(snapshot.at_ms, self._oldest_ms or snapshot.at_ms)
        return snapshot

    def take_oldest(self) -> int:
        """Return the time in milliseconds of the oldest snapshot that was shown without the store since the last call;
        0 when there was none."""
        oldest, self._oldest_ms = self._oldest_ms, 0
        return oldest

    def fresh(self, live: LiveSite) -> Snapshot | None:
        """Return the snapshot if it is fresh enough to be shown without a read."""
        snapshot = self._snapshots.get(live.site.id)
        known, _ = self._changed.get(live.site.id, (live.changed, 0))
        if snapshot is not None and known == live.changed and -FRESH_MS < self._clock() - snapshot.at_ms < FRESH_MS:
            return snapshot
        return None

    async def current(self, live: LiveSite) -> Snapshot:
        """Return a fresh snapshot, or the last one when the store does not answer. Concurrent callers share a read."""
        snapshot = self.fresh(live)
        if snapshot is not None:
            return snapshot
        task = self._reading.get(live.site.id)
        if task is None:
            task = self._reading[live.site.id] = asyncio.create_task(self._read(live))
            task.add_done_callback(lambda _: self._reading.pop(live.site.id, None))
        # A caller that is cancelled must not cancel the read of the others.
        return await asyncio.shield(task)

    async def read_both(self, live: LiveSite) -> tuple[Numbers, Numbers]:
        """Read the numbers of a site now, as visits and as views. Raises StoreUnavailable."""
        now = self._clock()
        day = live.calendar.day_at(now)
        counts = await self._reads.counts(live.site.id, day, now)
        return sum_up(day, counts.online, counts.visits), sum_up(day, counts.online, counts.views)

    # Peaks -----------------------------------------------------------------------------------------------------------

    def note_peak(self, site_id: str, online: int, at_ms: int) -> None:
        """Remember the number online at a moment if it is the highest of its quarter hour."""
        peaks = self._peaks.get(site_id)
        if peaks is None:
            peaks = self._peaks[site_id] = {}
        quarter = at_ms // QUARTER_MS
        known = peaks.get(quarter)
        if known is None or online > known.online:
            peaks[quarter] = Peak(online, at_ms)
            if len(peaks) > MOST_PEAKS:
                del peaks[min(peaks)]

    def take_peaks(self, site_id: str) -> list[Peak]:
        """Return the peaks of a site that were noted since the last call."""
        return list(self._peaks.pop(site_id, {}).values())

    # Beside the counts -----------------------------------------------------------------------------------------------

    def _beside(self, live: LiveSite) -> "tuple[Beside[History] | Beside[int], ...]":
        return (self._history, self._search_engines) if live.site.show_search_engines else (self._history,)

    def _date(self, live: LiveSite) -> str:
        return live.calendar.day_at(self._clock()).date

    async def _read_search_engines(self, live: LiveSite) -> int:
        return await self._reads.search_engines(live.site.id, live.calendar.day_at(self._clock()))

    async def _read_history(self, live: LiveSite) -> History:
        return await self._reads.history(live.site.id, live.site.box)

    # Articles --------------------------------------------------------------------------------------------------------

    def remember_views(self, site_id: str, articles: Iterable[tuple[bytes, int]]) -> None:
        """Remember the views of articles (negative: not known) for answers while the store is away."""
        site = site_id.encode()
        self._views.update([(site + article, n) for article, n in articles])

    def last_views(self, site_id: str, article: bytes) -> int | None:
        """Return the last known views of an article, or None."""
        views = self._views.get(site_id.encode() + article)
        return views if views is not None and views >= 0 else None

    async def _read(self, live: LiveSite) -> Snapshot:
        now, before = self._clock(), self._snapshots.get(live.site.id)
        day = live.calendar.day_at(now)
        applied = self._watch.applied.get(live.site.id, 0)
        try:
            await asyncio.gather(*(each.wait(live) for each in self._beside(live)))
            counts = await asyncio.wait_for(
                self._reads.counts(live.site.id, day, now, self._watch.writer), FRESH_MS / 1000
            )
        except (StoreUnavailable, TimeoutError):
            return self.last_known(live)
        if counts.mark.sequence < applied:
            self._watch.note_mark(live.site.id, counts.mark.sequence, counts.mark.total, applied)
            # These numbers are older than the shown ones; healing will bring better ones.
            return self.last(live)
        if (newer := self._snapshots.get(live.site.id)) is not before and newer is not None:
            # A commit was answered meanwhile, and this read may be from before it. Shown numbers must not fall.
            return newer
        shown = counts.views if live.site.box == "views" else counts.visits
        return self.publish(live, day, counts.online, shown, now)


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


def _snapshot(live: LiveSite, numbers: Numbers, at_ms: int, box: str = "") -> Snapshot:
    named = msgspec.structs.asdict(numbers)
    if not live.site.show_search_engines:
        del named["search_engines"]
    shown = _encode(named)[1:-1]
    head = b'{"site":%b,%b,"at":%b' % (_encode(live.site.id), shown, _encode(live.calendar.iso(at_ms)))
    return Snapshot(numbers, at_ms, head, b'W/"%x"' % zlib.crc32(shown), box)
