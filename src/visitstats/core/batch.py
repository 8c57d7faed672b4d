"""A batch: the hits of one site-day that are committed together, as the journal keeps it and the scripts take it.

The layout of `Batch`, `audience` and `articles` is frozen: a journal written by this version is replayed by a later
one. `tests/unit/test_batch.py` pins it.
"""

from hashlib import blake2b

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


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Batch).decode


def decode(payload: bytes) -> Batch:
    """Read a batch back from the journal; raises msgspec.DecodeError for anything else."""
    try:
        return _decode(payload)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def hit_id_digest(hit_id: str) -> bytes:
    """Return what is kept of a hit id: 8 bytes, whatever its length."""
    return blake2b(hit_id.encode(), digest_size=8, person=b"vs-hit-id").digest()


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
