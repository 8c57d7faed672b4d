"""Answers requests that wait for a record: with what the ledger said of it, or that it is in the journal."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from time import perf_counter

from visitstats.core.batch import OTHER_ID, Batch, ChangeRecord, State
from visitstats.core.counting import CAPPED, IDS_CAPPED, READINGS_CAPPED
from visitstats.core.periods import Day
from visitstats.ingest.known import Known
from visitstats.ingest.waiting import Outcome, Waiting, WaitingChange
from visitstats.metrics import Metrics
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import SiteDirectory
from visitstats.store.change_records import describe
from visitstats.store.commit import Changed, Committed, Result, Work

log = logging.getLogger(__name__)

CAPS = {State.NO_PLACE: "network", State.RESERVED: "reserve"}
"""State of an article that was counted as "(other)" → the reason in the metric; for any other state, the site is
full."""
SCRIPT_NOTES = (CAPPED, READINGS_CAPPED, IDS_CAPPED)
"""What each number of `Committed.capped` counts."""


class Answering:
    """The requests that wait, by the sequences of their records. `clock` gives the moment in milliseconds; `announce`
    tells all workers that the aliases of a site have changed."""

    def __init__(
        self,
        stats: Stats,
        known: Known,
        metrics: Metrics,
        sites: SiteDirectory,
        clock: Callable[[], int],
        announce: Callable[[str], Awaitable[None]],
    ) -> None:
        self._stats = stats
        self._known = known
        self._metrics = metrics
        self._sites = sites
        self._clock = clock
        self._announce = announce
        self._waiting: dict[int, Waiting | WaitingChange] = {}
        self._changed: dict[str, list[tuple[WaitingChange, Changed]]] = {}
        """Sites with a change that is not announced to all workers yet, and the requests that wait for it: once a
        person is told that a change is made, every worker shows it."""

    def expect(self, sequence: int, waiting: Waiting | WaitingChange) -> None:
        """Add a request that waits for a record."""
        self._waiting[sequence] = waiting

    def waits(self, up_to: int) -> bool:
        """Whether any request waits for a record up to a sequence."""
        return bool(self._waiting) and next(iter(self._waiting)) <= up_to

    def applied(self, item: Work, result: Result) -> None:
        """Take note of what the ledger said of a record of ours, and answer the requests that wait for it."""
        waiting = self._waiting.get(item.sequence)  # removed last, so that a failure here is answered, too
        if isinstance(result, Committed) and isinstance(item.record, Batch):
            self._committed(item.record, item.numbering.day, result, waiting if isinstance(waiting, Waiting) else None)
        elif isinstance(result, Changed):
            self.changed(item, result, waiting if isinstance(waiting, WaitingChange) else None)
        self._waiting.pop(item.sequence, None)

    def changed(self, item: Work, result: Changed, waiting: WaitingChange | None = None) -> None:
        """Take note of what the ledger said of a change, of ours or of another writer. It is to be announced."""
        site = item.record.site
        announced = self._changed.setdefault(site, [])
        if waiting is not None:
            announced.append((waiting, result))
        elif result.word == "refused" and isinstance(item.record, ChangeRecord):
            # No request waits: the change was made again after a loss, or its request did not wait for the store.
            log.warning("site %s: a change was not made (%s): %s", site, result.reason, describe(item.record))

    @property
    def announces(self) -> bool:
        """Whether there are changes to be announced."""
        return bool(self._changed)

    async def announce(self) -> None:
        """Have all workers read the aliases of a site anew, and answer the requests that wait for that. Raises
        StoreUnavailable."""
        site = next(iter(self._changed))
        made = self._changed.pop(site)
        try:
            await self._announce(site)
        except BaseException:
            self._changed.setdefault(site, [])
            raise
        finally:
            _answer(made)

    def from_journal(self, up_to: int | None) -> None:
        """Answer the requests that wait for a record up to a sequence, or for any: it is in the journal."""
        if up_to is None:
            for made in self._changed.values():
                _answer(made)
        for sequence in list(self._waiting):
            if up_to is not None and sequence > up_to:
                return
            self._from_journal(self._waiting.pop(sequence))

    def refused(self, sequence: int) -> None:
        """Answer the requests that wait for a record which the store refuses. Only its site waits until it is
        accepted."""
        waiting = self._waiting.pop(sequence, None)
        if waiting is not None:
            self._from_journal(waiting)

    def _from_journal(self, waiting: Waiting | WaitingChange) -> None:
        if waiting.future.done():
            return
        if isinstance(waiting, WaitingChange):
            waiting.future.set_result(None)
        else:
            self._metrics.pending.inc(waiting.hits)
            self._answer_hits(waiting, Outcome(None, self._stats.last_known(waiting.live)))

    def _committed(self, batch: Batch, day: Day, result: Committed, waiting: Waiting | None) -> None:
        if result.fresh:
            self._metrics.visits_began(batch.site, result.started)
        live = waiting.live if waiting is not None else self._sites.get(batch.site)
        if live is None:
            return
        snapshot = self._stats.publish(live, day, result.online, result.counts, self._clock())
        if waiting is not None:
            self._known.learn(waiting, result)
            self._note_capped(waiting, result)
            for note, hits in zip(SCRIPT_NOTES, result.capped, strict=True):
                if hits:
                    self._metrics.noted.labels(batch.site, note).inc(hits)
            if not waiting.future.done():
                self._answer_hits(waiting, Outcome(result, snapshot))
        elif result.nameless:
            self._known.forget_all()

    def _answer_hits(self, waiting: Waiting, outcome: Outcome) -> None:
        waiting.future.set_result(outcome)
        if waiting.since:
            self._metrics.acknowledged(perf_counter() - waiting.since)

    def _note_capped(self, waiting: Waiting, result: Committed) -> None:
        other = waiting.number_of(OTHER_ID)
        by_minute = 0 if other is None else result.added[other]
        if by_minute or min(result.added, default=0) < 0:
            capped = Counter(minute=by_minute)
            for views, state in zip(result.added, result.states, strict=False):
                if views < 0:
                    capped[CAPS.get(state, "site")] -= views
            self._metrics.views_capped(waiting.site.id, capped)


def _answer(made: list[tuple[WaitingChange, Changed]]) -> None:
    """Answer the requests that wait for changes which the ledger has decided."""
    for waiting, result in made:
        if not waiting.future.done():
            waiting.future.set_result(result)
    made.clear()
