"""What the journal keeps and the store takes: batches of hits, and changes that people make.

A batch holds the hits and heartbeats of one site-day in the order of their moments. The layout of `Batch`, its `body`
and `ChangeRecord` is frozen: a journal written by this version is replayed by a later one. `tests/unit/test_batch.py`
pins it.
"""

from enum import IntEnum
from hashlib import blake2b

import msgspec

from visitstats.core import counting
from visitstats.core.keys import article_id
from visitstats.core.periods import Day
from visitstats.core.sites import Site
from visitstats.core.wire import column, text

OTHER_KEY = "(other)"
"""The article for which hits beyond the site's cap on articles are counted (hostile-inputs row 13)."""
OTHER_ID = article_id(OTHER_KEY)
HEARTBEAT = -1
"""Stands for the article of a heartbeat, which has none."""


class Said(IntEnum):
    """Who says something about an article."""

    STRANGER = 0
    TRUSTED = 1
    """A reader in a network that has no limits: an office of the site's, this machine."""
    SIGNED = 2
    """The portal, by its signature."""


class State(IntEnum):
    """What the commit script answers about an article: whether beacons still have to say more about it."""

    SETTLED = 0
    """The store knows what the last beacon of the batch says about it; workers need not send it again."""
    OPEN = 1
    """What further networks say about it still matters."""
    NO_PLACE = 2
    """It was counted as "(other)", because its network has brought too many new articles in this hour."""
    RESERVED = 3
    """It was counted as "(other)", because the site's last places need a second network or a signature."""


_pack = msgspec.msgpack.Encoder().encode


class Batch(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """One site-day's hits, ready for the commit script. A replay needs nothing else, whatever the site's settings are
    by then."""

    site: str
    previous: int
    """The sequence of this writer's previous record for the site, 0 for none: it shows whether a record is missing."""
    total: int
    """How many hits the writer has journalled for the site, including this record: it shows how many a store lacks."""
    at_ms: int
    """The moment of the first event: a replay applies the records of all writers in this order."""
    day: str
    yesterday: str
    size: int
    """How many hits; heartbeats and ignored beacons travel beside them."""
    body: bytes
    """What `lua/commit` takes: msgpack of the columns that `Gathering.close` writes."""

    @property
    def hour(self) -> int:
        """The hour of the day in which its hits came, counted from the day's midnight. A batch of ignored beacons alone
        may be closed after its day has ended; then it is the nearest hour. The body begins with the day's bounds
        (`Gathering.close`)."""
        at = 1 if self.body[0] < 0xDC else 3  # behind the head of a short array, or of a longer one
        start, end = (int.from_bytes(self.body[n : n + 8], "big") for n in (at + 1, at + 10))
        return (max(start, min(self.at_ms, end - 1)) - start) // counting.HOUR_MS

    @property
    def half_hour(self) -> int:
        """The half hour since the epoch in which the first event was received; hit ids are remembered by it."""
        return self.at_ms // counting.HALF_HOUR_MS


class ChangeRecord(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A change that a person made: a record among the batches, so that it is applied once, and again after a loss."""

    site: str
    previous: int
    total: int
    at_ms: int
    """When it was journalled. After a loss, too, everything that was counted before this moment is applied first."""
    kind: str
    """What the script calls this kind of change: merge, undo, baseline …"""
    body: bytes
    """What `change.lua` takes for this kind (`store.changes`)."""


Record = Batch | ChangeRecord

encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def decode(payload: bytes) -> Record:
    """Read a record back from the journal; raises msgspec.DecodeError for anything else."""
    try:
        return _decoder.decode(payload)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


_HIT_ID = blake2b(digest_size=8, person=b"vs-hit-id")


def hit_id_digest(hit_id: str) -> bytes:
    """Return the 8 bytes that are kept of a hit id, whatever its length."""
    digest = _HIT_ID.copy()
    digest.update(hit_id.encode())
    return digest.digest()


class Gathering:
    """The hits and heartbeats of one site-day that wait for the next commit, in the order in which they were
    received."""

    __slots__ = (
        "_articles", "_carried", "_day", "_entries", "_hit_ids", "_ids", "_readings", "_site", "_times", "_tokens",
        "_uniques", "_which", "hits", "ignored",
    )  # fmt: skip

    def __init__(self, site: Site, day: Day) -> None:
        self._site = site
        self._day = day
        self._tokens: list[bytes] = []
        self._times: list[int] = []
        self._hit_ids: list[bytes] = []
        self._uniques: list[bytes] = []
        self._carried: list[tuple[int, bytes]] = []
        self._ids: list[bytes] = []
        self._articles: dict[bytes, int] = {}
        self._which: list[int] = []
        self._readings: list[bytes] = []
        self._entries: list[tuple[int, int, int, bytes, bytes]] = []
        self.hits = 0
        """How many of its events are hits."""
        self.ignored: dict[str, int] = {}
        """Beacons that were not counted, by reason (rule 8); they travel with the hits."""

    def __len__(self) -> int:
        """How many events it holds: hits and heartbeats."""
        return len(self._tokens)

    @property
    def site(self) -> Site:
        return self._site

    @property
    def day(self) -> Day:
        return self._day

    def add(
        self,
        moment_ms: int,
        token: bytes,
        unique: bytes,
        old_token: bytes,
        hit_id: bytes,
        article: bytes,
        entry: bytes,
        network: bytes = b"",
        said: Said = Said.STRANGER,
        signed: bytes = b"",
    ) -> int:
        """Add a hit and return its place in the batch.

        `old_token` is the visitor's token of the day before (empty when too long ago to matter), `hit_id` the digest of
        the hit id (empty for none), `entry` what the beacon says of the article when that may matter (else empty), and
        `network` who says it (`entries.CLAIM_NETWORK_BYTES`; empty for one that has no voice and no limit); `signed`
        what of it the portal has signed.
        """
        place = len(self._tokens)
        self._tokens.append(token)
        self._times.append(moment_ms - self._day.start_ms)
        self._hit_ids.append(hit_id)
        self._uniques.append(unique)
        if old_token:
            self._carried.append((place, old_token))
        number = self._articles.get(article)
        if number is None:
            number = self._articles[article] = len(self._ids)
            self._ids.append(article)
        self._which.append(number)
        self._readings.append(counting.reading(token, article))
        if signed:
            self._entries.append((number, place, int(Said.SIGNED), network, signed))
        if entry:
            self._entries.append((number, place, int(said), network, entry))
        self.hits += 1
        return place

    def beat(self, moment_ms: int, token: bytes, old_token: bytes) -> None:
        """Add a heartbeat (rule 4)."""
        if old_token:
            self._carried.append((len(self._tokens), old_token))
        self._tokens.append(token)
        self._times.append(moment_ms - self._day.start_ms)
        self._hit_ids.append(b"")
        self._uniques.append(b"")
        self._which.append(HEARTBEAT)
        self._readings.append(b"")

    def article_of(self, place: int) -> int:
        """Return the place of a hit's article among the batch's articles."""
        return self._which[place]

    @property
    def article_ids(self) -> list[bytes]:
        return self._ids

    def number_of(self, article: bytes) -> int | None:
        """Return the place of an article among the batch's articles, None when it is not there."""
        return self._articles.get(article)

    def close(self, previous: int, total: int, now_ms: int) -> Batch:
        """Make the batch. `previous` is the sequence of the same writer's previous record for the site, `total` how
        many hits were journalled up to and with that record. `now_ms` stands in for the first event's moment when only
        ignored beacons are in it."""
        day, site = self._day, self._site
        body = _pack(
            (
                day.start_ms,
                day.end_ms,
                column(self._tokens),
                self._times,
                self._which,
                column(self._hit_ids),
                column(self._uniques),
                column(self._readings, counting.READING_BYTES) if site.views == "per-visit" else (),
                [(place, text(old)) for place, old in self._carried],
                column(self._ids),
                [
                    (number, place, said, text(network), text(entry))
                    for number, place, said, network, entry in self._entries
                ],
                site.max_articles,
                day.counters,
                list(self.ignored.items()),
                site.max_visitors,
            )
        )
        return Batch(
            site=site.id,
            previous=previous,
            total=total + self.hits,
            at_ms=day.start_ms + self._times[0] if self._times else now_ms,
            day=day.date,
            yesterday=day.yesterday,
            size=self.hits,
            body=body,
        )
