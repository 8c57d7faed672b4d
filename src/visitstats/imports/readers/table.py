"""Tables that people made, and tables of portals whose columns people name: workbooks, CSV, SQL Server, SharePoint.

The heading is the first row that names a count and a date or an article; the rows above it are titles. Sums at the end
are compared, and never imported. Nothing is guessed: an ambiguous table is refused.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date as Date
from datetime import timedelta
from urllib.parse import quote

from visitstats.imports.draft import Count, Draft, Facts
from visitstats.imports.numbers import Dates, whole
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.readers.columns import COUNTS, Table, find, year_of_titles
from visitstats.imports.readers.words import is_total
from visitstats.imports.sheets import Cell, Row, Sheet, fold, text_of
from visitstats.imports.source import Source

KIND = "table"
FACTS = ("title", "author", "category", "published")
MOST_GAPS = 20


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 30 if source.sheets else 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    options = draft.options
    sheets = [sheet for sheet in source.sheets if _is_meant(sheet, options)]
    if not sheets:
        name = options.table or options.sheet
        there = ", ".join(sheet.name for sheet in source.sheets[:10])
        raise ImportRefused(source.items[0].place, f"there is no {name!r}; there are {there}")
    tables = [table for sheet in sheets if (table := find(sheet, options))]
    if not tables:
        raise _no_heading(sheets[0], source)
    usable = [table for table in tables if not table.has_articles or _has_addresses(table, options)]
    for table in tables:
        if table not in usable and usable:
            draft.ignore(table.head.sheet.name, "no addresses: say --url or --map")
    if not usable:
        raise ImportRefused(
            tables[0].head.sheet.place.at(tables[0].head.line),
            "no column has the addresses of articles: say --url TEMPLATE, --map FILE, or --match title",
        )
    books = [table for table in usable if table.head.sheet.form == "book"]
    if len(books) > 1 and not options.sheet:
        # Sheets of one workbook may repeat each other; only the person who made them knows.
        if len({frozenset(table.meanings) for table in books}) > 1:
            raise ImportRefused(
                books[1].head.sheet.place,
                f"several sheets have tables ({', '.join(table.head.sheet.name for table in books)}): say --sheet",
            )
        draft.warn("sheets", f"{len(books)} sheets are read: {', '.join(table.head.sheet.name for table in books)}")
    for table in usable:
        _Reading(table, draft).read()
    _look_at_days(draft)


def _is_meant(sheet: Sheet, options: Options) -> bool:
    if options.table and sheet.form in ("sql", "database"):
        return sheet.name == options.table.lower()
    if options.sheet and sheet.form == "book":
        return fold(sheet.name) == fold(options.sheet)
    return True


def _no_heading(sheet: Sheet, source: Source) -> ImportRefused:
    if sheet.columns is not None:
        there = ", ".join(f"{each.name} ({', '.join(each.columns or ())})" for each in source.sheets[:5])
        return ImportRefused(
            sheet.place,
            f"no table with a count and a date or an address; there are {there[:400]}; say --column views=NAME",
        )
    return ImportRefused(
        sheet.place.at(1) if sheet.form == "text" else sheet.place,
        "no heading names a count (Lượt xem, Lượt truy cập, views, visits) and a date or an address; "
        "say --column views=NAME, or --columns for a file without one",
    )


def _has_addresses(table: Table, options: Options) -> bool:
    return bool("address" in table.meanings or options.url or options.addresses or options.match == "title")


class _Reading:
    """One reading of a table."""

    def __init__(self, table: Table, draft: Draft) -> None:
        self._head = table.head
        self._names = table.meanings
        self._table = table
        self._draft = draft
        self._dates = Dates(draft.options.date_order)
        self._published = Dates(draft.options.date_order)
        self._kinds = [kind for kind in COUNTS if kind in self._names]
        self._sums = Counter[str]()
        self._since = Counter[str]()
        self._is_over = False
        self._foreign: list[tuple[int, str]] = []
        self._zones = set[int]()
        self._map = dict(draft.options.addresses)
        self._title_year = year_of_titles(table)
        self._parts = [part for part in ("day", "month", "year") if part in self._names]
        self._above: dict[str, Cell] = {}
        """The last values of the separate columns of year and month."""
        self._many: dict[str, int] = {}
        self._word = "row" if table.head.sheet.form == "book" else "line"

    def read(self) -> None:
        """Add all rows to the draft."""
        draft, head = self._draft, self._head
        if self._table.has_articles:
            if "views" not in self._names:
                raise ImportRefused(
                    head.place(Row(head.line, []), self._names["visits"]),
                    "visits of articles are not known here: if these are views, say --column views=NAME",
                )
            self._kinds = ["views"]
            draft.facts = tuple(name for name in FACTS if name in self._names)
        sheet = head.sheet
        draft.names.append(f"{sheet.name}{f', heading in {self._word} {head.line}' if head.line else ''}"
                           f"{f', {sheet.note}' if sheet.note else ''}")  # fmt: skip
        for row in self._rows():
            if self._is_sum(row):
                continue
            counts = self._counts(row)
            if self._table.has_articles:
                self._article(row, counts)
            else:
                self._period(row, counts)
        if sheet.hidden is not None and (hidden := sheet.hidden()):
            draft.warn("hidden-rows", f"{len(hidden)} rows of {sheet.name} are hidden, and were read")
        if not self._table.has_articles:
            draft.sums |= set(self._kinds)

    def _rows(self) -> Iterator[Row]:
        width = len(self._head.names)
        for row in self._head.rows(checked=False):
            missing = width - len(row.cells)
            if missing > 0:
                label = next((cell for cell in row.cells if cell not in (None, "")), None)
                if self._head.sheet.form in ("text", "sql") and not self._is_over and not is_total(label):
                    n = len(row.cells)
                    words = "one column" if n == 1 else f"{n} columns"
                    number = {2: "two", 3: "three", 4: "four"}.get(width, str(width))
                    raise ImportRefused(self._head.sheet.place.at(row.line), f"{words} instead of {number}")
                row.cells.extend([None] * missing)
            yield row

    def _counts(self, row: Row) -> dict[Count, int | None]:
        found: dict[Count, int | None] = {}
        for kind in self._kinds:
            place = self._head.place(row, self._names[kind])
            try:
                found[kind] = whole(self._head.cell(row, self._names[kind]), place)
            except ImportRefused:
                if self._is_over and isinstance(self._head.cell(row, self._names[kind]), str):
                    found[kind] = None  # a signature below the table
                    continue
                raise
            if found[kind] is not None:
                self._sums[kind] += found[kind] or 0
                self._since[kind] += found[kind] or 0
        return found

    def _is_sum(self, row: Row) -> bool:
        """Return whether a row is a sum of others; if so, compare it with them."""
        if not is_total(_label(row)):
            return False
        self._is_over = True
        draft = self._draft
        for kind in self._kinds:
            try:
                said = whole(self._head.cell(row, self._names[kind]), self._head.place(row))
            except ImportRefused:
                said = None
            if said is None:
                continue
            if said in (self._sums[kind], self._since[kind]):
                draft.stated.add(kind)
            else:
                draft.warn(
                    "total-row",
                    f"{self._word} {row.line} says {said}, the rows above it {self._sums[kind]} "
                    "(a spreadsheet does not add up texts); it is not imported",
                )
        self._since.clear()
        return True

    # Periods of the site ---------------------------------------------------------------------------------------------

    def _period(self, row: Row, counts: dict[Count, int | None]) -> None:
        draft = self._draft
        if self._is_over and all(n is None for n in counts.values()):
            return
        period = self._period_of(row)
        place = self._head.place(row)
        if not period:
            if any(n is not None for n in counts.values()):
                raise ImportRefused(self._head.place(row, self._names["date"]), "a date is expected")
            return
        for kind, n in counts.items():
            if n is None:
                if len(counts) == 1:
                    draft.warn("no-number", f"{self._word} {row.line} ({period})")
                continue
            identity = self._head.text(row, self._names["id"]) if "id" in self._names else ""
            if draft.is_repeated(
                place, f"{self._head.sheet.name}\0{kind}\0{identity or period}", n, identity or period
            ):
                continue
            draft.rows["read"] += 1
            draft.rows["taken"] += 1
            draft.read["visits" if kind == "visits" else "site"] += n
            draft.add_period(kind, period, n)
            if identity:
                self._many[period] = self._many.get(period, 0) + 1
                if self._many[period] == 2 and len(period) == 10 and kind == self._kinds[0]:
                    draft.warn("two-rows", f"{period} has two rows (two first requests at once); they are added")

    def _period_of(self, row: Row) -> str:
        place = self._head.place(row, self._names["date"])
        if len(self._parts) > 1:
            return self._composed(row, place)
        cell = self._head.cell(row, self._names["date"])
        if self._names["date"] in ("thang", "month") and (n := _small(cell)) is not None:
            if not self._title_year:
                raise ImportRefused(place, "a month without its year", text_of(cell))
            return f"{self._title_year}-{n:02d}"
        return self._dates.period(cell, place, year=self._title_year)

    def _composed(self, row: Row, place: Place) -> str:
        """Return the period of a row in which day, month and year are separate columns."""
        cells = {part: self._head.cell(row, self._names[part]) for part in self._parts}
        finest = next((part for part in self._parts if text_of(cells[part])), None)
        if finest is None:
            return ""
        for place_of_part, part in reversed([*enumerate(self._parts)][self._parts.index(finest) :]):
            # Only the first of merged cells has a value: the year or the month is also that of the rows below.
            if text_of(cells[part]):
                self._above = {each: self._above.get(each) for each in self._parts[place_of_part + 1 :]}
                self._above[part] = cells[part]
            cells[part] = self._above.get(part)
        if "day" in cells and _small(cells["day"]) is None and text_of(cells["day"]):
            return self._dates.period(cells["day"], place)
        numbers = {part: _number(cells[part]) for part in self._parts}
        year = numbers.get("year") or self._title_year
        if not year:
            raise ImportRefused(place, "a year is expected", text_of(cells[finest]))
        text = f"{year}"
        if month := numbers.get("month"):
            text += f"-{month:02d}"
            if day := numbers.get("day"):
                text += f"-{day:02d}"
        elif numbers.get("day"):
            where = self._head.place(row, self._names["month"] if "month" in self._names else self._names["day"])
            raise ImportRefused(where, "a month is expected for this day", text_of(cells["day"]))
        return self._dates.period(text, place)

    # Articles --------------------------------------------------------------------------------------------------------

    def _article(self, row: Row, counts: dict[Count, int | None]) -> None:
        draft, n = self._draft, counts["views"]
        place = self._head.place(row, self._names["views"])
        address = self._address(row)
        facts = self._facts(row)
        if not address:
            if n is None:
                return  # the row is a repeated heading, a signature or a note
            draft.leave_out("no-article", place, facts.title or "no address", n)
            draft.warn("no-article", f"{self._word} {row.line}, no address")
            return
        day = ""
        if "date" in self._names and n is not None:
            day = self._period_of(row)
        if n is None:
            said = text_of(self._head.cell(row, self._names["views"]))
            if self._is_over and not any(facts[1:]):
                return
            draft.warn("no-number", f'{self._word} {row.line}, "{said}" is no number; the metadata are taken')
        identity = f"article\0{address}\0{day}"
        if draft.is_repeated(place, identity, n, address if not day else f"{address} on {day}"):
            return
        if day and len(day) == 10 and n is not None:
            taken = draft.article_day(address, day, n, place, facts)
        else:
            taken = draft.article(address, n, place, facts)
        if taken is None:
            detail = draft.last_refusal
            draft.warn("host" if draft.last_reason == "host" else "no-article", f"{self._word} {row.line}, {detail}")

    def _address(self, row: Row) -> str:
        if "address" in self._names and (found := self._head.text(row, self._names["address"])):
            return found
        number = self._head.text(row, self._names["id"]) if "id" in self._names else ""
        if number in self._map:
            return self._map[number]
        if self._draft.options.url and number:
            return self._filled(self._draft.options.url, row)
        if self._draft.options.match == "title" and "title" in self._names:
            return self._draft.address_of_title(self._head.text(row, self._names["title"]))
        return ""

    def _filled(self, template: str, row: Row) -> str:
        def value(match: re.Match[str]) -> str:
            name = fold(match[1])
            if name not in self._head.columns:
                raise ImportRefused(
                    self._head.place(row), f"the address needs a column {match[1]!r}, which is not there"
                )
            return quote(self._head.text(row, name), safe="")

        return re.sub(r"\{([^{}]+)\}", value, template)

    def _facts(self, row: Row) -> Facts:
        values = [self._head.text(row, self._names[name]) if name in self._names else "" for name in FACTS[:3]]
        published = ""
        if "published" in self._names:
            cell: Cell = self._head.cell(row, self._names["published"])
            if not self._is_over:
                published = self._published.period(cell, self._head.place(row, self._names["published"]))
        return Facts(values[0], values[1], values[2], published)


def _label(row: Row) -> Cell:
    """Return the first cell that is a text, and not a number written as text."""
    return next((cell for cell in row.cells if isinstance(cell, str) and any(map(str.isalpha, cell))), None)


def _small(cell: Cell) -> int | None:
    """Return the number of a day or month from 1 to 31; the cell may also be written as "Tháng 3"."""
    n = _number(cell)
    return n if n is not None and 1 <= n <= 31 else None


def _number(cell: Cell) -> int | None:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell
    match = re.fullmatch(r"(?:thang|ngay|nam)?\s*([0-9]{1,4})", fold(text_of(cell)))
    return int(match[1]) if match else None


def _look_at_days(draft: Draft) -> None:
    """Warn about days without a row between the first and the last day."""
    days = [day for (day,) in draft.db.execute(
        "SELECT DISTINCT period FROM periods WHERE length(period) = 10 ORDER BY period")]  # fmt: skip
    gaps = 0
    for before, after in itertools.pairwise(days):
        first, last = Date.fromisoformat(before) + timedelta(days=1), Date.fromisoformat(after) - timedelta(days=1)
        if first <= last:
            gaps += 1
            if gaps <= MOST_GAPS:
                where = first.isoformat() if first == last else f"{first.isoformat()} to {last.isoformat()}"
                draft.warn("gap", f"{where} has no row")
    if gaps > MOST_GAPS:
        draft.warn("gap", f"and {gaps - MOST_GAPS} more")
