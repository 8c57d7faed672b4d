"""The scripts and their typed faces: the only way in which hits and people's changes get into the store.

A ledger takes each record of a writer once: the script answers `seen` for a record that the ledger has, and `gap` when
an earlier one is missing. So a record may be sent as often as one likes, by any process that has read it in a journal.
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
"""A batch that is applied late may make keys that would expire at once; they get this long, until the batches behind it
are applied."""
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
"""Makes a server that is out of memory refuse a script as a whole."""
AT_ONCE, PUT_DOWN, FINISH = b"", b"put down", b"finish"
"""Whether a script writes, puts down what it would write, or finishes that: the last argument of each
(lua/ledger.lua)."""
OTHER = -1
MOST_DAYS = 2000
"""For how many sites and half hours the names of the keys are remembered: 2 KB each."""


class Gap(msgspec.Struct, frozen=True):
    """The ledger's watermark is behind the record's predecessor: go back to the record after `watermark`."""

    watermark: int


class Refused(msgspec.Struct, frozen=True):
    """The script of this record failed on the server before it wrote anything, or its answer is not a number."""

    error: str


class Committed(msgspec.Struct, frozen=True):
    """What the ledger answered for one batch, and the site's counts after it."""

    fresh: bool
    """False when the batch had been applied before: then it is not known which hits were duplicates, and what the batch
    added."""
    duplicates: bytes
    """A byte per event, 1 for a hit that was delivered before; empty when that is not known."""
    started: int
    """Visits that the batch started."""
    articles: tuple[int, ...]
    """The views of all time of each article of the batch, or OTHER."""
    added: tuple[int, ...]
    """The views that each article got by this batch; negative when they went to "(other)"."""
    nameless: tuple[int, ...]
    """Places of articles that the dictionary does not know: their entries must be sent again."""
    online: int
    counts: list[int]
    """The counts of the site's box, in the order of `core.numbers.counters_of` for the day that was asked for."""
    states: tuple[State, ...] = ()
    """The `core.batch.State` of each article; empty when that is not known."""
    capped: tuple[int, int, int] = (0, 0, 0)
    """What was not kept because the day already has its most: hits of visitors who were not told apart, readings, and
    hit ids."""

    def is_duplicate(self, place: int) -> bool:
        """Whether the hit at a place of the batch was delivered before."""
        return self.duplicates[place : place + 1] == b"\1"


class Changed(msgspec.Struct, frozen=True):
    """What the ledger answered for a change. `word` is empty when it had the record before: then the site's list of
    changes says what became of it."""

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
    """Which counts the answer to a batch holds: visits or views, of which day."""

    day: Day
    now_ms: int
    box_views: bool = False


class Work(NamedTuple):
    """A record to commit, with its writer and its place in the writer's sequence."""

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
    """One connection on which records of any writer are committed."""

    def __init__(self, url: str) -> None:
        self._line = ScriptLine(url, load_scripts())
        self._days: dict[tuple[str, str, int, int], list[str]] = {}
        self._asked: dict[tuple[str, str, str, bool], Dated] = {}

    async def ready(self) -> int:
        """Connect if necessary; return a number that changes with each new connection. Raises StoreUnavailable."""
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
        """The last argument of each call of a record's script: one call, or two where its writes have to be put down
        first (lua/ledger.lua)."""
        if isinstance(record, ChangeRecord):
            if record.kind == "stage" and not self._line.two_steps:
                return (AT_ONCE,)  # it is put where nothing looks at it before it is begun, and there may be thousands
            return PUT_DOWN, FINISH  # on every server: a change may take counts back, and it is rare
        # The second call executes the redo record and returns the resulting counts.
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
        """The names of a batch's keys. They are made once for each site, day, hour and half hour, not for each
        batch."""
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
    """Join the replies of a record's two steps: the decisions of the first, the counts of the second."""
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
        # A count of another day than the batch's is damaged: the record is in the ledger, but has no answer. Only its
        # site waits.
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
