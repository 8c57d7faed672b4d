"""Numbers and dates as people and programs write them. Nothing is guessed: an ambiguous text is refused."""

import re
import unicodedata
from datetime import date, datetime, timedelta

from visitstats.imports.places import ImportRefused, Place, shown
from visitstats.imports.sheets import Cell, Lost, fold, text_of

MOST = 2**53
_NONE = frozenset({"", "-", "–", "—", "NULL", "null", "N/A", "n/a", "\\N"})
_SPACES = dict.fromkeys(map(ord, " \u00a0\u2007\u2009\u202f'’"), " ")
_PLAIN = re.compile(r"[0-9]+")
_DECIMALS = re.compile(r"[0-9]+[.,]0+")
_GROUPS = tuple(
    re.compile(rf"[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:{point}0+)?")
    for mark, point in ((r"\.", ","), (",", r"\."), (" ", "[.,]"))
)
_MANY = re.compile(r"[0-9]{1,3}(?:[., ][0-9]{3})+")

MOST_REMEMBERED, LONGEST_REMEMBERED = 20_000, 40
_EPOCH = date(1899, 12, 30)
_ISO_DAY = re.compile(r"([12][0-9]{3})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?:[t ].*)?")
_DAY = re.compile(r"([0-9]{1,2})\s?[-/.]\s?([0-9]{1,2})\s?[-/.]\s?([0-9]{4})(?:[t ,].*)?")
_SHORT_YEAR = re.compile(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{2})")
_MONTH = re.compile(r"(?:thang\s*)?([0-9]{1,2})\s?(?:[-/.]|nam|\s)\s?(?:nam\s*)?([0-9]{4})")
_ISO_MONTH = re.compile(r"([12][0-9]{3})[-/.]([0-9]{1,2})")
_YEAR = re.compile(r"(?:nam\s*)?([12][0-9]{3})")
_SERIAL = re.compile(r"[3-7][0-9]{4}(?:\.0+)?")
_COMPACT = re.compile(r"([12][0-9]{3})([0-9]{2})([0-9]{2})")
_WORDS = re.compile(r"(?:ngay\s*)?([0-9]{1,2})\s*thang\s*([0-9]{1,2})\s*(?:nam\s*)?([0-9]{4})")
_WEEKDAY = re.compile(r"(?:thu (?:hai|ba|tu|nam|sau|bay)|chu nhat|mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s*")


def whole(cell: Cell, place: Place) -> int | None:
    """Return the count in a cell: the texts 1.524, 1,524 and 1 524 mean 1524. None for a cell without a number. Raises
    ImportRefused."""
    if cell is None:
        return None
    if isinstance(cell, Lost):
        raise ImportRefused(place, f"{cell.why}: open the workbook, let it calculate, and save it")
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise ImportRefused(place, "a whole number is expected", text_of(cell))
    if isinstance(cell, float):
        if cell != cell or cell in (float("inf"), float("-inf")):
            raise ImportRefused(place, "a whole number is expected", str(cell))
        if not cell.is_integer():
            groups = f"{cell:.3f}".replace(".", "")
            raise ImportRefused(
                place,
                f"{cell:g} is not a whole number: a spreadsheet with the point as decimal sign has read "
                f"{groups} as {cell:g}; never multiplied on a guess",
                f"{cell:g}",
                "format the column as text before the numbers are entered",
            )
        return _checked(int(cell), place)
    if isinstance(cell, int):
        return _checked(cell, place)
    if cell.isdecimal() and cell.isascii() and len(cell) < 16:
        return int(cell)
    text = unicodedata.normalize("NFKC", cell).translate(_SPACES).strip()
    if text.strip('"') in _NONE:
        return None
    if text[:1] in "-−" and _is_number(text[1:].strip()):
        raise ImportRefused(place, "a count cannot be negative", text)
    text = text.removeprefix("+")
    if _PLAIN.fullmatch(text):
        return _checked(int(text) if len(text) < 400 else MOST + 1, place)
    for pattern in _GROUPS:
        if pattern.fullmatch(text):
            groups = text
            if point := re.search(r"[.,]0+\Z", text):
                tail = text[point.start() + 1 :]
                marks = {letter for letter in text[: point.start()] if not letter.isdigit()}
                # 1.000 is a thousand; zeros after a mark that does not separate groups are decimals.
                if len(tail) != 3 or (marks and text[point.start()] not in marks):
                    groups = text[: point.start()]
            return _checked(int("".join(each for each in groups if each.isdigit())), place)
    if _DECIMALS.fullmatch(text) and len(re.split("[.,]", text)[1]) != 3:
        return _checked(int(re.split("[.,]", text)[0]), place)  # databases and pandas write 822.0
    raise ImportRefused(place, f"{shown(text)[:40]} is not a whole number", text)


def _is_number(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text) or _MANY.fullmatch(text) or re.fullmatch(r"[0-9]+[.,][0-9]+", text))


def _checked(n: int, place: Place) -> int:
    if n < 0:
        raise ImportRefused(place, "a count cannot be negative", str(n))
    if n > MOST:
        raise ImportRefused(place, "larger than 2^53", shorter(str(n)))
    return n


def shorter(text: str) -> str:
    """Return a long number shortened for a message."""
    return text if len(text) <= 40 else text[:40] + "…"


class Dates:
    """The dates of one column. A column that mixes the orders of day and month is refused.

    `order` is dmy unless an option says otherwise. A period is a date, a month or a year, as 2022-06-05, 2022-06, 2022.
    """

    def __init__(self, order: str = "") -> None:
        self._order = order or "dmy"
        self._is_said = bool(order)
        self._known: dict[tuple[str, int], str] = {}
        """Cache of text → date: a column repeats its dates (half a million rows take 2 s instead of 7)."""

    def period(self, cell: Cell, place: Place, *, year: int = 0) -> str:
        """Return the period that a cell names; "" for an empty cell. `year` is used for a month without a year. Raises
        ImportRefused."""
        if isinstance(cell, str):
            if (known := self._known.get((cell, year))) is None:
                known = self._of_text(cell, place, year)
                if len(cell) <= LONGEST_REMEMBERED and len(self._known) < MOST_REMEMBERED:
                    self._known[cell, year] = known
            return known
        if cell is None:
            return ""
        if isinstance(cell, Lost):
            raise ImportRefused(place, f"{cell.why}: open the workbook, let it calculate, and save it")
        if isinstance(cell, datetime):
            return _day(cell.date(), place)
        if isinstance(cell, date):
            return _day(cell, place)
        if isinstance(cell, float | int) and not isinstance(cell, bool):
            return self._serial(cell, place)
        return self._of_text(cell, place, year)

    def _of_text(self, cell: Cell, place: Place, year: int) -> str:
        text = fold(text_of(cell))
        text = _WEEKDAY.sub("", text) if not text.startswith("thang") else text
        if text in ("", "-", "null", "—"):
            return ""
        if (found := self._text(text, place)) is not None:
            return found
        if year and (bare := re.fullmatch(r"(?:thang\s*)?([0-9]{1,2})", text)) and 1 <= int(bare[1]) <= 12:
            return f"{year}-{int(bare[1]):02d}"
        raise ImportRefused(place, "a date such as 31/12/2022 or 2022-12-31 is expected", text_of(cell))

    def day(self, cell: Cell, place: Place) -> str:
        """Return the date that a cell names; "" for an empty cell. Raises ImportRefused, also for a month or a year."""
        found = self.period(cell, place)
        if found and len(found) != 10:
            raise ImportRefused(place, "a date with its day is expected", text_of(cell))
        return found

    def _text(self, text: str, place: Place) -> str | None:
        if match := _ISO_DAY.fullmatch(text):
            return self._made(match[1], match[2], match[3], place, text)
        if match := _WORDS.fullmatch(text):
            return self._made(match[3], match[2], match[1], place, text)
        if match := _DAY.fullmatch(text):
            first, second = int(match[1]), int(match[2])
            if self._order == "mdy":
                if first > 12:
                    raise ImportRefused(
                        place, f"{first} is no month: the order of dates is another than was said", text
                    )
                return self._made(match[3], match[1], match[2], place, text)
            if second > 12:
                hint = "" if self._is_said else "if the month stands first in all of them, say --date-order mdy"
                raise ImportRefused(place, f"{second} is no month: the column mixes two orders", text, hint)
            return self._made(match[3], match[2], match[1], place, text)
        if _SHORT_YEAR.fullmatch(text):
            raise ImportRefused(place, "a year of two digits can be read in two ways: write all four", text)
        if match := _ISO_MONTH.fullmatch(text):
            return self._month(match[1], match[2], place, text)
        if match := _MONTH.fullmatch(text):
            return self._month(match[2], match[1], place, text)
        if match := _YEAR.fullmatch(text):
            return match[1]
        if _SERIAL.fullmatch(text):
            return self._serial(float(text), place)  # a spreadsheet's serial number of a day, written as text
        if match := _COMPACT.fullmatch(text):
            return self._made(match[1], match[2], match[3], place, text)
        return None

    def _serial(self, number: float, place: Place) -> str:
        """Return the period of a number in a column of dates: a spreadsheet's serial number of a day, or a year."""
        if 1990 <= number <= 2100 and float(number).is_integer():
            return str(int(number))
        if float(number).is_integer() and 19900101 <= number <= 21001231:
            text = str(int(number))
            return self._made(text[:4], text[4:6], text[6:], place, text)
        if not 30_000 <= number <= 80_000:
            raise ImportRefused(place, "a date is expected", f"{number:g}")
        return _day(_EPOCH + timedelta(days=int(number)), place)

    @staticmethod
    def _made(year: str, month: str, day: str, place: Place, text: str) -> str:
        try:
            return _day(date(int(year), int(month), int(day)), place)
        except ValueError as error:
            raise ImportRefused(place, "there is no such day", text) from error

    @staticmethod
    def _month(year: str, month: str, place: Place, text: str) -> str:
        if not 1 <= int(month) <= 12:
            raise ImportRefused(place, f"{month} is no month", text)
        return f"{year}-{int(month):02d}"


def _day(day: date, place: Place) -> str:
    if not 1990 <= day.year <= 2100:
        raise ImportRefused(place, "a date between 1990 and 2100 is expected", day.isoformat())
    return day.isoformat()
