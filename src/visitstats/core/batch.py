"""A batch: the hits of one site-day that are committed together, as the journal keeps it and the scripts take it.

The layout of `Batch`, `audience` and `articles` is frozen: a journal written by this version is replayed by a later
one. `tests/unit/test_batch.py` pins it.
"""

from hashlib import blake2b
from itertools import repeat

import msgspec

from visitstats.core import counting
from visitstats.core.keys import article_id
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.core.wire import column, text

OTHER_KEY = "(other)"
"""The article that takes the hits of articles beyond the site's cap (design section 6, bad-inputs row 13)."""
OTHER_ID = article_id(OTHER_KEY)

_pack = msgspec.msgpack.Encoder().encode


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """One site-day's hits, ready for the commit scripts. A replay needs nothing else, whatever the site's settings are
    by then."""

    site: str
    day: str
    yesterday: str
    week: str
    """The first date of the day's week."""
    month: str
    end_ms: int
    """The end of the day; from it every expiry is counted."""
    window: int
    """The half hour since the epoch in which the first hit was received; hit ids are remembered by it."""
    previous: int
    """The sequence of this writer's batch before for the site, 0 for none: a gap after it tells that something is
    missing."""
    size: int
    audience: bytes
    """What `audience.lua` takes: msgpack of the columns below."""
    articles: bytes
    """What `articles.lua` takes: msgpack of the columns below."""

    @property
    def received_ms(self) -> int:
        """The beginning of the half hour in which the first hit was received."""
        return self.window * counting.SLOT_MS


STARTED, COUNTED = 1, 2


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """What the store decided about a batch: an outcome, to be repeated word for word."""

    slots: bytes
    """A byte per hit: the half hour in which its visit began, or DUPLICATE."""
    started: int
    """Visits that the batch started."""
    added: tuple[int, ...]
    """For each article, in the order of the batch, the views it got; negative when they went to "(other)"."""
    marks: bytes = b""
    """A byte per hit: STARTED when it started its visit, COUNTED when it was counted as a view, or both. Empty when
    that is not known (outcomes of the first version)."""


class _Reduced(Batch, frozen=True, array_like=True):
    """A batch without readings; its outcome is in the same record, so that the two can never part."""

    decision: Decision | None = None


encode_decision = msgspec.msgpack.Encoder().encode
_decode_decision = msgspec.msgpack.Decoder(Decision).decode

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Batch).decode
_decode_reduced = msgspec.msgpack.Decoder(_Reduced).decode


def decode(payload: bytes) -> Batch:
    """Read a batch back from the journal; raises msgspec.DecodeError for anything else."""
    try:
        return _decode(payload)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def decode_decision(payload: bytes) -> Decision:
    """Read an outcome back; raises msgspec.DecodeError for anything else."""
    return _decode_decision(payload)


# Tokens and ids are msgpack strings that are no text (core.wire): read undecoded.
_Raws = list[msgspec.Raw]
_audience_columns = msgspec.msgpack.Decoder(
    tuple[int, int, int, int, int, int, _Raws, list[int], _Raws, _Raws, msgspec.Raw, msgspec.Raw, msgspec.Raw]
).decode
_articles_columns = msgspec.msgpack.Decoder(
    tuple[_Raws, list[int], _Raws, bool, msgspec.Raw, int, msgspec.Raw, msgspec.Raw, msgspec.Raw]
).decode


def reduce(payload: bytes, outcome: bytes) -> bytes:
    """Rewrite a batch and its outcome into one record that says who was here and what was read, but not who read what.

    It replays to the same counts. Gone are the hit ids and the readings, and with them what a beacon that is delivered
    again, or an article that is opened again in the same visit, would be known by. What cannot be reduced (an outcome
    that does not fit) is returned as it is.
    """
    kept, decision = _decode_reduced(payload), decided(payload, outcome)
    if decision is None or kept.decision is not None:
        return payload
    *numbers, tokens, times, _, uniques, _, counters, ignored = _audience_columns(kept.audience)
    last: dict[bytes, tuple[int, int]] = {}
    starters: set[tuple[bytes, int]] = set()
    for token, time, slot, mark in zip(tokens, times, decision.slots, decision.marks or repeat(0), strict=False):
        if slot != counting.DUPLICATE and time >= last.get(bytes(token), (0, 0))[0]:
            last[bytes(token)] = (time, slot)
        if mark & STARTED:
            # Also a beacon that was counted elsewhere may have started its visit here (lua/audience.lua).
            began = (time - numbers[0]) // numbers[2] if slot == counting.DUPLICATE else slot
            starters.add((bytes(token), began))
    people = sorted(last)
    audience = (
        *numbers,
        [msgspec.Raw(token) for token in people],
        [last[token][0] for token in people],
        column([b""] * len(people)),
        uniques,
        (),
        counters,
        ignored,
    )
    ids, _, _, every_load, entries, cap, other, other_entry, names = _articles_columns(kept.articles)
    articles = (ids, (), (), every_load, entries, cap, other, other_entry, names)
    slots = bytes(last[token][1] for token in people)
    marks = bytes(STARTED if (token, last[token][1]) in starters else 0 for token in people) if decision.marks else b""
    return encode(
        msgspec.structs.replace(
            kept,
            size=len(people),
            audience=_pack(audience),
            articles=_pack(articles),
            decision=Decision(slots, decision.started, decision.added, marks),
        )
    )


def decided(payload: bytes, outcome: bytes) -> Decision | None:
    """Return what was decided about a batch of the journal: what its record says itself when it was reduced, else its
    outcome (empty for none); None when it has to be decided again. Raises msgspec.DecodeError for what is no batch."""
    kept = _decode_reduced(payload)
    if kept.decision is not None or not outcome:
        return kept.decision
    try:
        decision = decode_decision(outcome)
    except msgspec.DecodeError:
        return None
    fits = (
        len(decision.slots) == kept.size
        and len(decision.marks) in (0, kept.size)
        and len(decision.added) == len(_articles_columns(kept.articles)[0])
    )
    return decision if fits else None


_HIT_ID = blake2b(digest_size=8, person=b"vs-hit-id")


def hit_id_digest(hit_id: str) -> bytes:
    """Return what is kept of a hit id: 8 bytes, whatever its length."""
    digest = _HIT_ID.copy()
    digest.update(hit_id.encode())
    return digest.digest()


class Gathering:
    """The hits of one site-day that wait for the next commit, in the order in which they were received."""

    __slots__ = (
        "_articles", "_carried", "_day", "_entries", "_hit_ids", "_ids", "_readings", "_site", "_times", "_tokens",
        "_uniques", "_which", "ignored",
    )  # fmt: skip

    def __init__(self, site: Site, day: Day) -> None:
        self._site = site
        self._day = day
        self._tokens: list[bytes] = []
        self._times: list[int] = []
        self._hit_ids: list[bytes] = []
        self._uniques: set[bytes] = set()
        self._carried: list[tuple[int, bytes]] = []
        self._ids: list[bytes] = []
        self._articles: dict[bytes, int] = {}
        self._which: list[int] = []
        self._readings: list[bytes] = []
        self._entries: dict[int, bytes] = {}
        self.ignored: dict[str, int] = {}
        """Beacons that were not counted, by reason (rule 8); they travel with the hits."""

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def site(self) -> Site:
        return self._site

    @property
    def day(self) -> Day:
        return self._day

    def add(
        self, moment_ms: int, token: bytes, unique: bytes, old_token: bytes, hit_id: bytes, article: bytes, entry: bytes
    ) -> int:
        """Add a hit and return its place in the batch.

        `old_token` is the visitor's token of the day before (empty when too long ago to matter), `hit_id` the digest of
        the hit id (empty for none), `entry` the article's dictionary entry when the store may not have it (else empty).
        """
        place = len(self._tokens)
        self._tokens.append(token)
        self._times.append(moment_ms)
        self._hit_ids.append(hit_id)
        self._uniques.add(unique)
        if old_token:
            self._carried.append((place, old_token))
        number = self._articles.get(article)
        if number is None:
            number = self._articles[article] = len(self._ids)
            self._ids.append(article)
        self._which.append(number)
        self._readings.append(counting.reading(token, article))
        if entry:
            self._entries[number] = entry
        return place

    def article_of(self, place: int) -> int:
        """Return the place of a hit's article among the batch's articles."""
        return self._which[place]

    @property
    def article_ids(self) -> list[bytes]:
        return self._ids

    def number_of(self, article: bytes) -> int | None:
        """Return the place of an article among the batch's articles, None when it is not there."""
        return self._articles.get(article)

    def close(self, previous: int, now_ms: int) -> Batch:
        """Make the batch. `now_ms` stands in for the first hit's moment when only ignored beacons are in it."""
        day, site = self._day, self._site
        audience = _pack(
            (
                day.start_ms,
                counting.VISIT_GAP_MS,
                counting.SLOT_MS,
                counting.CARRIED_SLOT,
                counting.SLOTS,
                counting.ONLINE_MS,
                column(self._tokens),
                self._times,
                column(self._hit_ids),
                column(list(self._uniques)),
                [(place, text(old)) for place, old in self._carried],
                day.counters,
                list(self.ignored.items()),
            )
        )
        articles = _pack(
            (
                column(self._ids),
                self._which,
                column(self._readings),
                site.views == "every-load",
                [(number, text(entry)) for number, entry in self._entries.items()],
                site.max_articles,
                text(OTHER_ID),
                text(_pack((OTHER_KEY,))),
                day.counters,
            )
        )
        first = self._times[0] if self._times else now_ms
        return Batch(
            site=site.id,
            day=day.date,
            yesterday=day.yesterday,
            week=day.week[0],
            month=day.month,
            end_ms=day.end_ms,
            window=first // counting.SLOT_MS,
            previous=previous,
            size=len(self._tokens),
            audience=audience,
            articles=articles,
        )
