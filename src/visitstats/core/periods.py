"""Rule 6: today, week, month and year are calendar periods in the site's zone.

A moment is an integer of milliseconds since the Unix epoch, everywhere in the project. A day is the stretch between two
local midnights, 23 to 25 hours long where clocks change. A period is never zeroed: it is a name under which dated
counts are kept, and a new period is simply a new name.
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

ALL_TIME = "all"


class Day(msgspec.Struct, frozen=True):
    """One day of a site. `start_ms` ≤ moment < `end_ms` for every moment that belongs to it."""

    date: str
    """ISO date, as 2026-11-24; it is also the name under which the day's counts are kept."""
    start_ms: int
    end_ms: int
    yesterday: str
    tomorrow: str
    week: tuple[str, ...]
    """The dates of the whole week that holds this day, the first day of the week first."""
    last_week: tuple[str, ...]
    """The dates of the week before, in the same way."""
    month: str
    """As 2026-11: months always carry their year."""
    last_month: str
    year: str

    @property
    def hours(self) -> int:
        """How many hours it has, counted from its midnight: 24, or 23 or 25 where clocks change."""
        return -(-(self.end_ms - self.start_ms) // 3_600_000)

    @property
    def counters(self) -> tuple[str, str, str, str]:
        """The names under which a count of this day is added: day, month, year, all."""
        return (self.date, self.month, self.year, ALL_TIME)


class Calendar:
    """The days of one site: a zone and the weekday on which weeks begin (ISO, 1 is Monday)."""

    def __init__(self, timezone: str, week_start: int = 1) -> None:
        self._zone = ZoneInfo(timezone)
        self._week_start = week_start
        self._day: Day | None = None

    def day_at(self, moment_ms: int) -> Day:
        """Return the day of a moment. The last day is remembered: asking again within it costs two comparisons."""
        day = self._day
        if day is None or not day.start_ms <= moment_ms < day.end_ms:
            day = self._find(moment_ms)
            self._day = day
        return day

    def date_at(self, moment_ms: int) -> str:
        """Return the date of a moment, without making the whole day: 1 to 4 µs instead of 60 where each moment is of
        another day."""
        clock = datetime.fromtimestamp(moment_ms / 1000, self._zone)
        local = clock.date()
        if 3 <= clock.hour < 21:
            return local.isoformat()  # no clocks are changed by three hours: midnight is far
        if self._midnight(local) <= moment_ms < self._midnight(local + timedelta(days=1)):
            return local.isoformat()
        return self._find(moment_ms).date  # clocks went back across midnight

    def day_named(self, name: str) -> Day:
        """Return the day with this ISO date; raises ValueError when it is not one."""
        when = date.fromisoformat(name)
        name = when.isoformat()  # ISO 8601 has more spellings of a date, but a day has one name
        first = when - timedelta(days=(when.isoweekday() - self._week_start) % 7)
        return Day(
            date=name,
            start_ms=self._midnight(when),
            end_ms=self._midnight(when + timedelta(days=1)),
            yesterday=(when - timedelta(days=1)).isoformat(),
            tomorrow=(when + timedelta(days=1)).isoformat(),
            week=tuple((first + timedelta(days=n)).isoformat() for n in range(7)),
            last_week=tuple((first + timedelta(days=n)).isoformat() for n in range(-7, 0)),
            month=name[:7],
            last_month=(when.replace(day=1) - timedelta(days=1)).isoformat()[:7],
            year=name[:4],
        )

    def iso(self, moment_ms: int) -> str:
        """Write a moment as ISO 8601 in the site's zone with its offset, to the second."""
        return datetime.fromtimestamp(moment_ms // 1000, self._zone).isoformat()

    def moment(self, text: str) -> int | None:
        """Return the moment that an ISO 8601 text names: of a date its midnight here, and without an offset the time on
        the clocks here. None for what is neither."""
        try:
            if len(text) == len("2026-11-24"):
                return self._midnight(date.fromisoformat(text))
            when = datetime.fromisoformat(text)
            local = when if when.tzinfo else when.replace(tzinfo=self._zone)
            return int(local.timestamp() * 1000)
        except (ValueError, OverflowError):
            return None

    def _find(self, moment_ms: int) -> Day:
        local = datetime.fromtimestamp(moment_ms / 1000, self._zone).date()
        # Where clocks go back across midnight, one local date comes twice; the stretches between first midnights don't.
        for candidate in (local, local - timedelta(days=1), local + timedelta(days=1)):
            day = self.day_named(candidate.isoformat())
            if day.start_ms <= moment_ms < day.end_ms:
                return day
        raise ValueError(f"no day holds the moment {moment_ms}")

    def _midnight(self, when: date) -> int:
        # fold=0 takes the first of two midnights, and the moment of the change where midnight is skipped.
        local = datetime(when.year, when.month, when.day, tzinfo=self._zone)
        return int(local.astimezone(UTC).timestamp() * 1000)
