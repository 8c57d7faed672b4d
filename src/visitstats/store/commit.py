"""The commit scripts and their typed faces: the only way by which a hit gets into the store.

`Committer.commit` takes batches in the order of their sequence, runs the audience ledger first (it decides which visit
a hit belongs to), then the articles ledger. Either answers `seen` for a batch that it has, and `gap` when one before is
missing.
"""

from collections import deque
from collections.abc import AsyncIterator
from importlib.resources import files
from operator import or_
from typing import Any, NamedTuple

import msgspec

from visitstats.core import counting
from visitstats.core.batch import Batch, Decision, encode_decision
from visitstats.core.errors import StoreUnavailable
from visitstats.core.periods import Day
from visitstats.core.wire import column
from visitstats.store import keys
from visitstats.store.client import Call, ScriptLine

_pack = msgspec.msgpack.Encoder().encode

LEAST_LIFE_S = 3600
"""A batch that is applied late writes keys that may be past their time; they live on until its successors are
applied."""
READ_GRACE_MS = 7 * 3600 * 1000

SCRIPTS = ("audience", "articles", "alive", "baseline", "merge", "undo")
SHEBANG = b"#!lua\n"
"""Has a server that is out of memory refuse a script whole."""
AT_ONCE, PUT_DOWN, FINISH = b"", b"put down", b"finish"
"""Whether a script writes, puts down what it would write, or finishes that: the last argument of each
(lua/ledger.lua)."""

OTHER = -1
KEPT_DECISIONS = 16
"""Of so many batches the ledgers remember what they decided (audience.lua, articles.lua)."""
BETWEEN = KEPT_DECISIONS // 2
"""Batches of a replay that may be in the audience ledger and not in the other yet, twice: those whose articles travel
with the audience of the next ones. In a trip are twice as many scripts, which hold the server for some milliseconds."""


class Gap(msgspec.Struct, frozen=True):
    """The ledger's watermark is behind the batch's predecessor: go back to `watermark` + 1."""

    watermark: int


class Refused(msgspec.Struct, frozen=True):
    """The script of this batch failed on the server, before it wrote anything."""

    error: str


class Conflict(Refused, frozen=True):
    """What was decided about this batch cannot be repeated, because one of its hits was counted meanwhile: decide
    anew."""


class Committed(msgspec.Struct, frozen=True):
    """What the two ledgers answered for one batch, and the site's counts after it."""

    fresh: bool
    """False when the batch had been applied before."""
    whole: bool
    """Whether the rest of this is all that was decided, just now or (when the answer of then was lost) before. Of
    batches that the ledgers do not remember any more, and of those that were decided by an outcome, it is not."""
    slots: bytes
    """A byte per hit: 255 for a beacon that was delivered before."""
    started: int
    articles: tuple[int, ...]
    """For each article of the batch its views of all time, or OTHER."""
    added: tuple[int, ...]
    """For each article the views that it got by this batch, negative when they went to "(other)"."""
    nameless: tuple[int, ...]
    """Places of articles that the dictionary does not know: their entries must be sent again."""
    online: int
    visits: list[int]
    views: list[int]
    """Both in the order of `counting.counters_of` the day that was asked for."""
    marks: bytes = b""
    """As in `Decision`."""

    @property
    def outcome(self) -> bytes:
        """What is kept of it beside the journal (`visitstats.outcomes`), empty for nothing."""
        if not self.whole:
            return b""
        return encode_decision(Decision(self.slots, self.started, self.added, self.marks))


class Heartbeats(msgspec.Struct, frozen=True):
    """Heartbeats of one site-day: columns of the same length."""

    site: str
    day: Day
    tokens: list[bytes]
    old_tokens: list[bytes]
    times: list[int]


class Numbering(msgspec.Struct, frozen=True):
    """Which counts the answer to a batch holds: those of the day that it is now."""

    day: Day
    now_ms: int


class Work(NamedTuple):
    """A batch to commit: where it stands in its writer's sequence, and what was decided about it before (None:
    decide)."""

    sequence: int
    previous: int
    batch: Batch
    numbering: Numbering
    decision: Decision | None = None
    late: bool = False
    """Whether it is decided behind batches that came after it."""


def online_score(now_ms: int) -> int:
    """Return the lowest presence score that counts as online at a moment (rule 4)."""
    return (now_ms - counting.ONLINE_MS + 1) * counting.SLOTS


def load_scripts() -> dict[str, bytes]:
    """Read the scripts that are part of the package, each behind `ledger.lua`."""
    folder = files("visitstats.store") / "lua"
    before = (folder / "ledger.lua").read_bytes()
    found = {name: (folder / f"{name}.lua").read_bytes() for name in SCRIPTS}
    return {name: SHEBANG + before + text.removeprefix(SHEBANG) for name, text in found.items()}


class Committer:
    """Commits batches of one writer (a journal slot's 128-bit id, as hex)."""

    def __init__(self, url: str, writer: str) -> None:
        self._line = ScriptLine(url, load_scripts())
        self.writer = writer

    async def ready(self) -> int:
        """Connect, if need be; return a number that is another after each new connection. Raises StoreUnavailable."""
        return await self._line.ready()

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def commit(self, work: list[Work]) -> list[Committed | Gap | Refused]:
        """Commit batches of different sites, in two round trips.

        Raises StoreUnavailable when the connection failed; each batch then is applied, half applied or not, and must be
        committed again.
        """
        audience = await self._run([self._audience(item) for item in work])
        results: list[Committed | Gap | Refused | None] = [_trouble(reply) for reply in audience]
        ready = [n for n, result in enumerate(results) if result is None]
        articles = await self._run([self._articles(work[n], audience[n][1]) for n in ready]) if ready else []
        for n, reply in zip(ready, articles, strict=True):
            results[n] = _trouble(reply) or _committed(work[n], audience[n], reply)
        return [result for result in results if result is not None]

    async def commit_in_order(self, work: list[Work]) -> AsyncIterator[tuple[Work, Committed | Gap | Refused]]:
        """Commit batches of any sites one after the other, as a replay does: some in a round trip, in which the
        articles of some travel with the audience of the next. After a batch that is refused nothing more of its site
        is sent: the audience ledger remembers only so many decisions that the articles ledger still wants.

        Raises StoreUnavailable when the connection failed; what was not yielded then is applied, half applied or not.
        """
        left = deque(work)
        half: list[tuple[Work, Any]] = []
        stopped: set[str] = set()
        while left or half:
            begun: list[Work] = []
            while left and len(begun) < BETWEEN:
                item = left.popleft()
                if item.batch.site in stopped:
                    yield item, Refused("one before it was refused")
                else:
                    begun.append(item)
            calls = [self._articles(item, audience[1]) for item, audience in half]
            replies = await self._run([*calls, *map(self._audience, begun)])
            for (item, audience), reply in zip(half, replies, strict=False):
                if trouble := _trouble(reply):
                    stopped.add(item.batch.site)
                yield item, trouble or _committed(item, audience, reply)
            audiences, half = replies[len(half) :], []
            for item, audience in zip(begun, audiences, strict=True):
                if trouble := _trouble(audience):
                    stopped.add(item.batch.site)
                    yield item, trouble
                else:
                    half.append((item, audience))

    async def beat(self, heartbeats: list[Heartbeats]) -> None:
        """Prolong presences (rule 4). Raises StoreUnavailable; then the heartbeats are lost, which the next ones
        mend."""
        calls: list[Call] = []
        for beat in heartbeats:
            day = beat.day
            seen = keys.seen(beat.site, day.date, day.end_ms)
            before = keys.seen(beat.site, day.yesterday, day.start_ms)
            columns = _pack(
                (
                    counting.VISIT_GAP_MS,
                    counting.CARRIED_SLOT,
                    counting.SLOTS,
                    counting.ONLINE_MS,
                    column(beat.tokens),
                    column(beat.old_tokens),
                    beat.times,
                )
            )
            calls.append(
                (
                    "alive",
                    [seen.name, before.name, keys.audience_redo(beat.site)],
                    [columns, seen.expires_at, AT_ONCE],
                )
            )
        for reply in await self._line.run(calls):
            if isinstance(reply, Exception):
                raise StoreUnavailable(f"the store refused heartbeats: {reply}")

    async def _run(self, calls: list[Call]) -> list[Any]:
        """Run commit scripts in one round trip: in one step or, where the server needs it, in two."""
        await self._line.ready()
        if not self._line.two_steps:
            return await self._line.run([(name, names, [*values, AT_ONCE]) for name, names, values in calls])
        # The same call again executes what the first has put down, and answers the numbers after it.
        steps = [(name, names, [*values, PUT_DOWN]) for name, names, values in calls for _ in range(2)]
        replies = await self._line.run(steps)
        return [_joined(*each) for each in zip(calls, replies[::2], replies[1::2], strict=True)]

    def _audience(self, work: Work) -> Call:
        batch, numbering, decision = work.batch, work.numbering, work.decision
        site, today, soon = batch.site, numbering.day, numbering.now_ms // 1000 + LEAST_LIFE_S
        seen = keys.seen(site, batch.day, batch.end_ms)
        hits = keys.hit_ids(site, batch.window)
        sketches = keys.sketches(site, batch.day, batch.end_ms)
        ignored = keys.ignored(site, batch.day, batch.end_ms)
        expire = (keys.WATERMARK_LIFE_S, *(max(soon, key.expires_at) for key in (seen, hits, sketches[0], ignored)))
        return (
            "audience",
            [
                keys.audience_watermark(site, self.writer),
                seen.name,
                keys.seen(site, batch.yesterday, batch.end_ms).name,
                hits.name,
                keys.hit_ids(site, batch.window - 1).name,
                keys.visits(site),
                ignored.name,
                keys.hit_ids(site, batch.window + 1).name,
                keys.seen(site, today.date, today.end_ms).name,
                keys.seen(site, today.yesterday, today.end_ms).name,
                keys.orphans(site, batch.day, batch.end_ms).name,
                *(sketch.name for sketch in sketches),
                keys.audience_redo(site),
            ],
            [
                work.sequence,
                work.previous,
                batch.audience,
                _pack(expire),
                _pack(counting.counters_of(today)),
                online_score(numbering.now_ms),
                decision.slots if decision else b"",
                decision.started if decision else b"",
                decision.marks if decision else b"",
                b"late" if work.late else b"",
            ],
        )

    def _articles(self, work: Work, slots: bytes) -> Call:
        batch, numbering, decision = work.batch, work.numbering, work.decision
        site, soon = batch.site, numbering.now_ms // 1000 + LEAST_LIFE_S
        day = keys.top_day(site, batch.day, batch.end_ms)
        week = keys.top_week(site, batch.week, batch.end_ms)
        half_hours = sorted(set(slots) - {counting.DUPLICATE})
        read_until = (batch.window * counting.SLOT_MS + READ_GRACE_MS) // 1000
        expire = (
            keys.WATERMARK_LIFE_S,
            *(max(soon, moment) for moment in (day.expires_at, week.expires_at, read_until)),
        )
        return (
            "articles",
            [
                keys.articles_watermark(site, self.writer),
                keys.top_all(site),
                day.name,
                week.name,
                keys.top_month(site, batch.month),
                keys.views(site),
                keys.names(site),
                keys.aliases(site),
                keys.orphan_readings(site, batch.day),
                *(keys.read(site, batch.day, slot) for slot in half_hours),
                keys.articles_redo(site),
            ],
            [
                work.sequence,
                work.previous,
                batch.articles,
                _pack(expire),
                _pack(half_hours),
                slots,
                _pack(counting.counters_of(numbering.day)),
                _pack(decision.added) if decision else b"",
                decision.marks if decision else b"",
                b"late" if work.late else b"",
            ],
        )


def _joined(call: Call, put_down: Any, done: Any) -> Any:
    """Join the replies of the two steps: what was decided, with the numbers that came of it."""
    if isinstance(put_down, Exception) or put_down[0] != b"ok" or isinstance(done, Exception):
        return done if isinstance(done, Exception) and not isinstance(put_down, Exception) else put_down
    decided = 4 if call[0] == "audience" else 3 + 2 * put_down[1]
    return put_down[:decided] + done[decided:]


def _trouble(reply: Any) -> Gap | Refused | None:
    if isinstance(reply, Exception):
        return Refused(str(reply))
    if reply[0] == b"gap":
        return Gap(int(reply[1]))
    return Conflict("one of its hits was counted meanwhile") if reply[0] == b"known" else None


_WHOLE = (b"ok", b"kept")


def _committed(work: Work, audience: list[Any], articles: list[Any]) -> Committed:
    count = articles[1]
    found = articles[2 : 2 + count]
    whole = work.decision is None and audience[0] in _WHOLE and articles[0] in _WHOLE
    return Committed(
        fresh=articles[0] == b"ok",
        whole=whole,
        slots=audience[1],
        started=audience[2],
        articles=tuple(-2 - n if n < OTHER else n for n in found),
        nameless=tuple(place for place, n in enumerate(found) if n < OTHER),
        online=audience[4],
        visits=audience[5:],
        added=tuple(articles[2 + count : 2 + 2 * count]),
        views=articles[3 + 2 * count :],
        marks=bytes(map(or_, audience[3], articles[2 + 2 * count])) if whole else b"",
    )
