"""Finds the dated counts of a site: a few fields of the hashes of years, of months and their days."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from visitstats.core.numbers import counters_of
from visitstats.core.periods import Day
from visitstats.store import keys

_pack = msgspec.msgpack.Encoder().encode


class Dated(NamedTuple):
    """Where the counts of a day's numbers are: for each key the fields that are asked for."""

    keys: tuple[str, ...]
    fields: tuple[tuple[str, ...], ...]
    packed: bytes
    """The fields as `lua/commit` takes them: msgpack."""
    order: tuple[int, ...]
    """The place of each count of `core.numbers.counters_of` among the fields; several kinds follow one after the
    other."""

    def counts(self, found: Sequence[Sequence[bytes | None]]) -> list[int]:
        """Read what was found in the fields of each key. Raises ValueError for what is no number."""
        flat = [int(n or 0) for each in found for n in each]
        return [flat[place] for place in self.order]


def dated_of(site: str, day: Day, *kinds: str) -> Dated:
    """Return where the visits or views (`kinds`) of a day's numbers are."""
    places = [keys.count_at(site, kind, name) for kind in kinds for name in counters_of(day)]
    wanted: dict[str, list[str]] = {}
    for key, field in dict.fromkeys(places):
        wanted.setdefault(key, []).append(field)
    flat = {place: n for n, place in enumerate((key, field) for key, fields in wanted.items() for field in fields)}
    fields = tuple(map(tuple, wanted.values()))
    return Dated(tuple(wanted), fields, _pack(fields), tuple(flat[place] for place in places))
