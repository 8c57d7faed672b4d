"""Losses: a store that is empty although the data folder shows that it had counts.

The journal brings back what it keeps (a day, by default), and the sites are put back from what a worker has kept on
disk; older counts are gone unless a backup is restored. Without this module, the box would say 3 where it said 152.400
yesterday, without any explanation. So the numbers that were shown last are written down the moment that the loss is
seen. As long as a site has less than that, it shows the last good numbers with their moment (rule 10), and the log, the
metric `visitstats_store_lost`, `/readyz` and `visitstats doctor` say so.

The note ends when the counts are back (a restored backup, a journal that had everything), or when an operator removes
the file: then counting goes on from what is there.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from visitstats.core.errors import StoreUnavailable
from visitstats.journal.reader import slots_of
from visitstats.reading.snapshots import Stats, read_kept
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.store.records import Records
from visitstats.system.files import write_file

log = logging.getLogger(__name__)

FILE = "store-lost.json"


class Loss(msgspec.Struct, frozen=True):
    """What the store had before it lost everything."""

    at_ms: int
    """When it was seen."""
    totals: dict[str, int]
    """Site → the total that was shown last."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Loss).decode


def read_loss(folder: Path) -> Loss | None:
    """Return what is still missing, None for nothing. A damaged note still says that something is missing, but not
    what."""
    try:
        return _decode((folder / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError):
        return Loss(0, {})


def note_loss(folder: Path, totals: dict[str, int], at_ms: int) -> Loss:
    """Write down what is missing; where a number is noted already, the higher one stays. Raises OSError."""
    known = read_loss(folder)
    if known is not None:
        totals = {site: max(totals.get(site, 0), known.totals.get(site, 0)) for site in {*totals, *known.totals}}
        at_ms = known.at_ms or at_ms
    loss = Loss(at_ms, totals)
    _write(folder, loss)
    return loss


def settle_loss(folder: Path, back: set[str]) -> None:
    """Take sites off the note whose counts are back. Raises OSError."""
    known = read_loss(folder)
    if known is None or not back & known.totals.keys():
        return
    totals = {site: total for site, total in known.totals.items() if site not in back}
    if totals:
        _write(folder, Loss(known.at_ms, totals))
    else:
        (folder / FILE).unlink(missing_ok=True)


async def look_for_loss(records: Records, data_dir: Path, now_ms: int) -> str:
    """Find out, at the start of the service, whether the store has lost counts that this data folder knows of, and
    write that down. Return one line for the operator, empty when all is well. Raises StoreUnavailable and OSError."""
    folder = data_dir / "last"
    if await records.sites_version() or await records.sites():
        loss = read_loss(folder)
        if loss is None:
            return ""
        return f"the store still lacks counts that it has lost ({_list(loss.totals)}); see docs/reliability.md"
    totals = {site: kept.numbers.total for site, kept in read_kept(folder).items() if kept.numbers.total}
    records_kept = sum(1 for slot in slots_of(data_dir / "journal") for _ in slot.fresh())
    if not totals and not records_kept:
        return ""
    if totals:
        note_loss(folder, totals, now_ms)
    return (
        f"the store is EMPTY, but this data folder knows better: shown last were {_list(totals) or 'no totals'}. "
        f"The journal's {records_kept} records are counted again; for what is older, "
        "restore a backup (docs/reliability.md)"
    )


class LossWatch:
    """Watches for losses in a worker. `clock` gives the moment in milliseconds."""

    def __init__(self, folder: Path, stats: Stats, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._stats = stats
        self._clock = clock
        self._missing: dict[str, int] = {}
        self.sites = 0
        """The number of sites whose counts are missing."""

    def load(self) -> None:
        """Read which counts are missing; from now on, no lower total of these sites is shown."""
        loss = read_loss(self._folder)
        self._missing = loss.totals if loss else {}
        self._stats.show_no_less(self._missing)
        self.sites = max(len(loss.totals), 1) if loss else 0

    async def check(self, sites: SiteDirectory) -> None:
        """Check which counts are back."""
        self.load()
        back: set[str] = set()
        for site, total in self._missing.items():
            live = sites.get(site)
            if live is None:
                continue
            try:
                visits, views = await self._stats.read_both(live)
            except StoreUnavailable:
                return
            shown = views if live.site.box == "views" else visits
            if (shown.total or 0) >= total:
                back.add(site)
        if back:
            log.warning("the counts of %s are back", ", ".join(sorted(back)))
            settle_loss(self._folder, back)
            self.load()

    def note(self, sites: list[LiveSite]) -> None:
        """Write down the last shown totals of these sites, because the store has lost everything."""
        shown = {live.site.id: self._stats.last(live).numbers.total for live in sites}
        totals = {site: total for site, total in shown.items() if total}
        if not totals:
            return
        try:
            note_loss(self._folder, totals, self._clock())
        except OSError as error:
            log.error("the loss cannot be written down: %s", error)
        self.load()
        log.error("the store is EMPTY; shown last were %s. The journal is counted again", _list(totals))


def _list(totals: dict[str, int]) -> str:
    return ", ".join(f"{site} {total}" for site, total in sorted(totals.items())[:20])


def _write(folder: Path, loss: Loss) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(folder / FILE, _encode(loss))
