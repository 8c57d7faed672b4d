"""Reads a site's history: its hours, and its days of any years. A year is one round trip of 64 commands, of some 10 µs
each; nothing is written."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import msgspec
from redis.asyncio import Redis

from visitstats.core.counting import HOUR_MS, NOTES, NUMBERS_BASELINE, QUARTER_MS
from visitstats.core.errors import StoreUnavailable
from visitstats.core.history import NOT_CORRECTED, Corrected, Known, Peak, Row
from visitstats.core.periods import ALL_TIME, Calendar, Day
from visitstats.store import keys
from visitstats.store.client import translated

UNKNOWN_HOUR = "x"
"""The name of counts of a day whose hour is not known, because they are from before hours were kept."""
KINDS = ("visits", "views", "hits")


class SiteHistory:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def first_day(self, site_id: str) -> str:
        """Return the first date on which something was counted; empty when nothing was."""
        with translated():
            fields: list[Any] = await self._client.hkeys(keys.counts(site_id))
        years = sorted(name for kind, name in (field.decode().split(":") for field in fields if b":" in field))
        for year in filter(str.isdigit, years):
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for month in _months_of(year):
                        pipe.hkeys(keys.days(site_id, month))
                    found = await pipe.execute()
            for month, names in zip(_months_of(year), found, strict=True):
                days = sorted(name.rpartition(b":")[2].decode() for name in names if b":" in name)
                if days:
                    return f"{month}-{days[0]}"
        return ""

    async def first_counted(self, site_id: str) -> str:
        """Return the first date on which something was counted here, and not imported; empty when nothing was."""
        for year in await self._years_with(keys.counts(site_id)):
            months = list(_months_of(year))
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for month in months:
                        pipe.hgetall(keys.days(site_id, month))
                        pipe.hgetall(keys.layer_days(site_id, keys.IMPORTS, month))
                    found = await pipe.execute()
            for month, raw, brought in zip(months, found[::2], found[1::2], strict=True):
                counts, imported = _texts(raw), _texts(brought)
                days = sorted(
                    name.partition(":")[2]
                    for name, n in counts.items()
                    if name.partition(":")[0] in KINDS and ":" in name and _whole(n) != _whole(imported.get(name))
                )
                if days:
                    return f"{month}-{days[0]}"
        return ""

    async def undated(self, site_id: str) -> dict[str, Corrected]:
        """Return what was imported for months and years as a whole, and for none of their days, by month or year."""
        with translated():
            raw: Any = await self._client.hgetall(keys.layer(site_id, keys.IMPORTS))
        of_years, found = _texts(raw), dict[str, Corrected]()
        for year in sorted({name.partition(":")[2] for name in of_years} - {ALL_TIME}):
            months = list(_months_of(year))
            with translated():
                async with self._client.pipeline(transaction=False) as pipe:
                    for month in months:
                        pipe.hgetall(keys.layer_days(site_id, keys.IMPORTS, month))
                    pages = [_texts(page) for page in await pipe.execute()]
            rest = {kind: _whole(of_years.get(f"{kind}:{year}")) for kind in KINDS[:2]}
            for month, page in zip(months, pages, strict=True):
                undated = []
                for kind in KINDS[:2]:
                    whole = _whole(page.get(kind))
                    rest[kind] -= whole
                    undated.append(whole - sum(_whole(n) for name, n in page.items() if name.startswith(f"{kind}:")))
                if any(undated):
                    found[month] = Corrected(*undated)
            if any(rest.values()):
                found[year] = Corrected(*rest.values())
        return found

    async def _years_with(self, name: str) -> list[str]:
        with translated():
            fields: list[Any] = await self._client.hkeys(name)
        return sorted({year for field in fields if (year := field.decode().partition(":")[2]).isdigit()})

    async def baseline(self, site_id: str) -> tuple[int, int]:
        """Return the site's baselines of visits and views, which are a part of its totals."""
        with translated():
            found: list[Any] = await self._client.hmget(
                keys.counts(site_id), [f"{kind}:{NUMBERS_BASELINE}" for kind in ("visits", "views")]
            )
        visits, views = (int(n or 0) for n in found)
        return visits, views

    async def days(self, site_id: str, calendar: Calendar, first: str, last: str, now_ms: int) -> list[Row]:
        """Return the rows of the days from one date to another, both of them included."""
        found: list[Row] = []
        for year in range(int(first[:4]), int(last[:4]) + 1):
            found += await self._year(
                site_id, calendar, max(first, f"{year}-01-01"), min(last, f"{year}-12-31"), now_ms
            )
        return found

    async def hours(self, site_id: str, day: Day, now_ms: int) -> list[Row]:
        """Return the rows of a day's hours, without those that are still to come. A last row has what was counted in an
        unknown hour, if anything was. Nothing when the hours of the day are not kept."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.hours(site_id, day.date))
                [raw] = await pipe.execute()
            bits = await self._bits(_years(day.start_ms, day.end_ms))
        fields = _texts(raw)
        if not fields and now_ms >= day.end_ms:
            return []  # of a day that runs, there may just have been nobody yet
        ran = dict(zip(_years(day.start_ms, day.end_ms), bits, strict=True))
        rows = []
        for hour in [*map(str, range(day.hours)), UNKNOWN_HOUR]:
            counts = [fields.get(f"{kind}:{hour}") for kind in KINDS]
            ignored = {name.split(":")[2]: n for name, n in fields.items() if name.startswith(f"ignored:{hour}:")}
            if hour == UNKNOWN_HOUR:
                if any(counts) or ignored:
                    rows.append(_row(f"{day.date}T{hour}", "partly", counts, None, None, ignored))
                continue
            start = day.start_ms + int(hour) * HOUR_MS
            if start > now_ms:
                continue
            known = _known(ran, start, min(start + HOUR_MS, day.end_ms), now_ms, any(counts))
            rows.append(
                _row(
                    f"{day.date}T{int(hour):02}", known, counts, fields.get(f"uniques:{hour}"),
                    fields.get(f"peak:{hour}"), ignored,
                )
            )  # fmt: skip
        return rows

    async def _year(self, site_id: str, calendar: Calendar, first: str, last: str, now_ms: int) -> list[Row]:
        months = [month for month in _months_of(first[:4]) if first[:7] <= month <= last[:7]]
        days = [calendar.day_named(each) for each in _dates(first, last)]
        years = _years(days[0].start_ms, days[-1].end_ms)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.uniques(site_id, first[:4]))
                pipe.hgetall(keys.peaks(site_id, first[:4]))
                for month in months:
                    pipe.hgetall(keys.days(site_id, month))
                    pipe.hgetall(keys.ignored(site_id, month))
                    for layer in keys.LAYERS:
                        pipe.hgetall(keys.layer_days(site_id, layer, month))
                uniques, peaks, *pages = await pipe.execute()
            bits = await self._bits(years)
        ran, estimates, highest = dict(zip(years, bits, strict=True)), _texts(uniques), _texts(peaks)
        counts, ignored, corrected, imported = (
            {month: _texts(page) for month, page in zip(months, pages[n::4], strict=True)} for n in range(4)
        )
        rows = []
        for day in days:
            if day.start_ms > now_ms:
                break
            number, of_month = day.date[8:], counts[day.month]
            found = [of_month.get(f"{kind}:{number}") for kind in KINDS]
            reasons = {
                name.partition(":")[2]: n for name, n in ignored[day.month].items() if name.startswith(f"{number}:")
            }
            brought = _amounts_of(imported[day.month], number)
            # On a day that has only imported numbers, the service has received nothing.
            own = [n for n, of_import in zip(found, (brought.visits, brought.views, 0), strict=True)
                   if _whole(n) != of_import]  # fmt: skip
            known = _known(ran, day.start_ms, day.end_ms, now_ms, bool(own) or bool(reasons))
            by_hand = _amounts_of(corrected[day.month], number)
            row = _row(day.date, known, found, estimates.get(day.date), highest.get(day.date), reasons)
            if (by_hand, brought) != (NOT_CORRECTED, NOT_CORRECTED):
                row = msgspec.structs.replace(row, corrected=by_hand, imported=brought)
            rows.append(row)
        return rows

    async def _bits(self, years: list[int]) -> list[bytes]:
        found: list[Any] = await self._client.mget([keys.ran(year) for year in years])
        return [each or b"" for each in found]


def _amounts_of(layer: dict[str, str], number: str) -> Corrected:
    return Corrected(*(_whole(layer.get(f"{kind}:{number}")) for kind in KINDS[:2]))


def _known(ran: dict[int, bytes], start_ms: int, end_ms: int, now_ms: int, counted: bool) -> Known:
    """Whether a service ran from one moment to another, or up to now. Where hits were `counted`, one ran at least for a
    part of the time."""
    quarters = -(-(min(end_ms, now_ms + 1) - start_ms) // QUARTER_MS)
    year, first = keys.quarter_of(start_ms)
    # A day may lie in two years (UTC): then its second part is at the beginning of the next year's bits.
    next_year, last = keys.quarter_of(start_ms + (quarters - 1) * QUARTER_MS)
    rest = 0 if next_year == year else last + 1
    running = _ones(ran[year], first, quarters - rest) + (_ones(ran[next_year], 0, rest) if rest else 0)
    if running == quarters:
        return "yes"
    return "partly" if running or counted else "no"


def _ones(bits: bytes, first: int, many: int) -> int:
    """How many of the `many` bits from `first` on are set (numbered as SETBIT does)."""
    piece = bits[first // 8 : (first + many + 7) // 8]
    skipped, kept = first % 8, 8 * len(piece)
    number = int.from_bytes(piece, "big") & ((1 << kept) - 1 >> skipped)
    return (number >> max(kept - skipped - many, 0)).bit_count()


def _row(
    name: str, known: Known, counts: list[str | None], uniques: str | None, peak: str | None, ignored: dict[str, str]
) -> Row:
    try:
        visits, views, hits = (_count(n, known) for n in counts)
        if hits is None or (hits == 0 and (visits or views)):
            hits = None  # from before hits were kept
        return Row(
            name,
            known,
            visits,
            views,
            hits,
            int(uniques) if uniques else None,
            Peak(*map(int, peak.split(" "))) if peak else None,
            {reason: int(n) for reason, n in sorted(ignored.items()) if reason not in NOTES},
        )
    except (TypeError, ValueError) as error:
        raise StoreUnavailable(f"a count of {name} is no number: {error}") from error


def _count(text: str | None, known: Known) -> int | None:
    if text is None:
        return None if known == "no" else 0
    return int(text)


def _whole(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError as error:
        raise StoreUnavailable(f"a correction is no number: {error}") from error


def _texts(page: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in page.items()}


def _months_of(year: str) -> list[str]:
    return [f"{year}-{month:02}" for month in range(1, 13)]


def _dates(first: str, last: str) -> Iterator[str]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return ((start + timedelta(days=n)).isoformat() for n in range((end - start).days + 1))


def _years(start_ms: int, end_ms: int) -> list[int]:
    return list(range(keys.quarter_of(start_ms)[0], keys.quarter_of(end_ms)[0] + 1))
