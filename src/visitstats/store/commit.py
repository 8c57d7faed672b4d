"""The scripts and their typed faces: the only way by which a hit or a change of a person's gets into the store.

A ledger has each record of a writer once: the script answers `seen` for one that it has, and `gap` when one before is
missing. So a record may be sent as often as one likes, by whoever has read it in a journal.
"""

from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from visitstats.core import counting, entries, limits
from visitstats.core.batch import OTHER_ID, OTHER_KEY, Batch, ChangeRecord, Record, State
from visitstats.core.entries import Entry
from visitstats.core.entries import encode as encode_entry
from visitstats.core.periods import Day
from visitstats.store import keys
from visitstats.store.change_records import MOST_CHANGES, MOST_OF_ARTICLE, of_record
from visitstats.store.counts import Dated, dated_of
from visitstats.store.line import Call, ScriptLine

_pack = msgspec.msgpack.Encoder().encode

LEAST_LIFE_S = 3600
"""A batch that is applied late makes keys that may be past their time; they live on until its successors are
applied."""
SCRIPTS = {
    "commit": ("claims", "places", "commit/read", "commit/articles", "commit/decide", "commit/write"),
    "change": ("record", "claims", "change"),
    "amounts": ("record", "layers", "amounts"),
    "import": ("record", "claims", "layers", "import"),
    "facts": ("record", "claims", "facts"),
    "closing": ("record", "closing"),
    "note": ("record", "note"),
    "prune": ("record", "prune"),
    "seal": ("seal",),
    "number": ("number",),
}
"""Each script's files, behind `ledger.lua`."""
SHEBANG = b"#!lua\n"
"""Has a server that is out of memory refuse a script whole."""
AT_ONCE, PUT_DOWN, FINISH = b"", b"put down", b"finish"
"""Whether a script writes, puts down what it would write, or finishes that: the last argument of each
(lua/ledger.lua)."""
OTHER = -1
MOST_DAYS = 2000
"""Sites and half hours of which the names of the keys are remembered: 2 KB each."""


class Gap(msgspec.Struct, frozen=True):
    """The ledger's watermark is behind the record's predecessor: go back to the record after `watermark`."""

    watermark: int


class Refused(msgspec.Struct, frozen=True):
    """The script of this record failed on the server, before it wrote anything; or what it answered is no number."""

    error: str


class Committed(msgspec.Struct, frozen=True):
    """What the ledger answered for one batch, and the site's counts after it."""

    fresh: bool
    """False when the batch had been applied before: then who was a duplicate, and what it added, is not known."""
    duplicates: bytes
    """A byte per event, 1 for a hit that was delivered before; empty when that is not known."""
    started: int
    """Visits that the batch started."""
    articles: tuple[int, ...]
    """For each article of the batch its views of all time, or OTHER."""
    added: tuple[int, ...]
    """For each article the views that it got by this batch, negative when they went to "(other)"."""
    nameless: tuple[int, ...]
    """Places of articles that the dictionary does not know: their entries must be sent again."""
    online: int
    counts: list[int]
    """Of the site's box, in the order of `core.numbers.counters_of` the day that was asked for."""
    states: tuple[State, ...] = ()
    """For each article what is to be done about it; empty when that is not known."""
    capped: tuple[int, int, int] = (0, 0, 0)
    """What was not kept, because the day has too many: visitors who were not told apart (their hits), readings, and hit
    ids."""

    def is_duplicate(self, place: int) -> bool:
        """Whether the hit at a place of the batch was delivered before."""
        return self.duplicates[place : place + 1] == b"\1"


class Changed(msgspec.Struct, frozen=True):
    """What the ledger answered for a change. Empty words: it had the record before, and what became of it is in the
    site's list of changes."""

    word: str
    """ok, refused, or empty."""
    reason: str = ""
    detail: str = ""
    record: bytes = b""

    @property
    def fresh(self) -> bool:
        """Whether the ledger did not have the record before."""
        return bool(self.word)


Result = Committed | Changed | Gap | Refused


class Numbering(msgspec.Struct, frozen=True):
    """Which counts the answer to a batch holds: those of the day that it is now, of visits or of views."""

    day: Day
    now_ms: int
    box_views: bool = False


class Work(NamedTuple):
    """A record to commit: whose it is, and where it stands in the writer's sequence."""

    writer: str
    sequence: int
    previous: int
    record: Record
    numbering: Numbering


def load_scripts() -> dict[str, bytes]:
    """Read the scripts that are part of the package, each behind the constants of the rules and `ledger.lua`."""
    folder = files("visitstats.store") / "lua"
    scripts = {}
    for name, parts in SCRIPTS.items():
        texts = [(folder / f"{part}.lua").read_bytes().removeprefix(SHEBANG) for part in ("ledger", *parts)]
        scripts[name] = SHEBANG + _constants() + b"".join(texts)
    return scripts | {"probe": (folder / "probe.lua").read_bytes()}


def _constants() -> bytes:
    numbers = {
        "GAP": counting.VISIT_GAP_MS,
        "HALF_HOUR": counting.HALF_HOUR_MS,
        "CARRIED": counting.CARRIED,
        "ONLINE": counting.ONLINE_MS,
        "RING": counting.RING,
        "HEAD": counting.PRESENCE_HEAD,
        "READING": 1 + counting.READING_BYTES,
        "MOST_READINGS": counting.MOST_READINGS,
        "DECIDING_MS": keys.DECIDING_MS,
        "UNIQUES_LIFE_MS": keys.UNIQUES_LIFE_MS,
        "CLAIMS_LIFE_MS": keys.CLAIMS_LIFE_MS,
        "AGREEING": entries.AGREEING,
        "AGREEING_S": entries.AGREEING_MS // 1000,
        "CHANGING": entries.CHANGING,
        "CHANGING_S": entries.CHANGING_MS // 1000,
        "MOST_VOICES": entries.MOST_VOICES,
        "MOST_CLAIMS": entries.MOST_CLAIMS,
        "MOST_CLAIM_BYTES": entries.MOST_CLAIM_BYTES,
        "MOST_CLAIMED": entries.MOST_CLAIMED,
        "MOST_ENTRY_TEXT": entries.MOST_TEXT_BYTES,
        "PLACES_AN_HOUR": limits.PLACES_AN_HOUR,
        "MOST_PLACES": limits.MOST_PLACES,
        "RESERVE_FROM": limits.RESERVE_FROM,
        "RESERVE_SHARE": limits.RESERVE_SHARE,
        "READINGS_A_VISITOR": limits.READINGS_A_VISITOR,
        "IDS_A_VISITOR": limits.IDS_A_VISITOR,
        "HOURS_LIFE_MS": keys.HOURS_LIFE_MS,
        "SKETCHES": keys.SKETCHES,
        "MOST_TOUCHED": keys.MOST_TOUCHED,
        "MOST_CHANGES": MOST_CHANGES,
        "MOST_OF_ARTICLE": MOST_OF_ARTICLE,
        "LEAST_LIFE": LEAST_LIFE_S,
    }
    texts = {"OTHER_ID": OTHER_ID, "OTHER_ENTRY": encode_entry(Entry(OTHER_KEY))}
    values = {
        **{name: str(number) for name, number in numbers.items()},
        **{name: '"' + "".join(f"\\{byte:03d}" for byte in text) + '"' for name, text in texts.items()},
    }
    return f"local {', '.join(values)} = {', '.join(values.values())}\n".encode()


class Committer:
    """One connection on which records are committed, of whichever writer."""

    def __init__(self, url: str) -> None:
        self._line = ScriptLine(url, load_scripts())
        self._days: dict[tuple[str, str, int, int], list[str]] = {}
        self._asked: dict[tuple[str, str, str, bool], Dated] = {}

    async def ready(self) -> int:
        """Connect, if need be; return a number that is another after each new connection. Raises StoreUnavailable."""
        return await self._line.ready()

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def probe(self) -> None:
        """Ask whether the store takes writes, without writing. Raises StoreUnavailable, and StoreRefuses when it does
        not."""
        await self._line.ready()
        await self._line.run([("probe", [], [])])

    async def commit(self, work: list[Work]) -> list[Result]:
        """Commit records in their order, in one round trip.

        Raises StoreUnavailable when the connection failed; each record then is applied or not, and must be committed
        again.
        """
        await self._line.ready()
        steps = [(self._call(item), self._steps(item.record)) for item in work]
        replies = iter(
            await self._line.run(
                [(name, names, [*values, step]) for (name, names, values), each in steps for step in each]
            )
        )
        said = [_joined([next(replies) for _ in each]) for _, each in steps]
        return [
            _result(item, reply, self._answer(item.record.site, item.numbering))
            for item, reply in zip(work, said, strict=True)
        ]

    def _steps(self, record: Record) -> tuple[bytes, ...]:
        """How often a record's script is called: whether its writes have to be put down first (lua/ledger.lua)."""
        if isinstance(record, ChangeRecord):
            return PUT_DOWN, FINISH  # everywhere: it may take back what was there, and it is rare
        # The same call again executes what the first has put down, and answers the numbers after it.
        return (PUT_DOWN, PUT_DOWN) if self._line.two_steps else (AT_ONCE,)

    def _call(self, work: Work) -> Call:
        record = work.record
        head: list[bytes | str | int] = [work.writer, work.sequence, work.previous, record.total]
        if isinstance(record, ChangeRecord):
            script, names = of_record(record)
            return script, names, [*head, record.kind, record.body]
        numbering = work.numbering
        hour, asked = record.hour, self._answer(record.site, numbering)
        return "commit", [*self._keys(record, hour), *asked.keys, keys.redo(record.site)], [
            *head, record.body, numbering.now_ms // 1000 + LEAST_LIFE_S, asked.packed, hour,
        ]  # fmt: skip

    def _keys(self, batch: Batch, hour: int) -> list[str]:
        """The names of a batch's keys: made once for a site, day, hour and half hour, not for each batch."""
        name = (batch.site, batch.day, hour, batch.half_hour)
        found = self._days.get(name)
        if found is None:
            if len(self._days) >= MOST_DAYS:
                self._days.clear()
            found = self._days[name] = keys.of_commit(batch.site, batch.day, batch.yesterday, hour, batch.half_hour)
        return found

    def _answer(self, site: str, numbering: Numbering) -> Dated:
        day = numbering.day
        name = (site, day.date, day.week[0], numbering.box_views)
        found = self._asked.get(name)
        if found is None:
            if len(self._asked) >= MOST_DAYS:
                self._asked.clear()
            found = self._asked[name] = dated_of(site, day, "views" if numbering.box_views else "visits")
        return found


def _joined(replies: list[Any]) -> Any:
    """Join the replies of a record's steps: what was decided, with the numbers that came of it."""
    first, last = replies[0], replies[-1]
    if len(replies) == 1 or isinstance(first, Exception) or first[0] != b"ok":
        return first
    if isinstance(last, Exception):
        return last
    return first if last == 0 else [*first[:-2], *last[-2:]]


def _result(work: Work, reply: Any, asked: Dated) -> Result:
    if isinstance(reply, Exception):
        return Refused(str(reply))
    word = reply[0]
    if word == b"gap":
        return Gap(int(reply[1]))
    if isinstance(work.record, ChangeRecord):
        if word == b"ok":
            return Changed("ok", record=reply[1])
        return Changed("refused", reply[1].decode(), reply[2].decode()) if word == b"refused" else Changed("")
    _, duplicates, started, found, added, states, capped, ring, counts = reply
    try:
        numbers = asked.counts(counts)
    except ValueError as error:
        # Of another day than the batch's: the record is in the ledger, and cannot be answered. Only its site waits.
        return Refused(f"a count of site {work.record.site} is no number: {error}")
    return Committed(
        fresh=word == b"ok",
        duplicates=duplicates,
        started=started,
        articles=tuple(found) if min(found, default=0) >= OTHER else tuple(-2 - n if n < OTHER else n for n in found),
        nameless=tuple(place for place, n in enumerate(found) if n < OTHER),
        added=tuple(added),
        states=tuple(map(State, states)),
        capped=tuple(capped),
        online=counting.online_in(ring, work.numbering.now_ms),
        counts=numbers,
    )
