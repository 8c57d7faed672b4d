"""Workbooks (.xlsx, .xlsb, .xls, .ods) are read with python-calamine. A formula is read as its stored value.

calamine returns errors (#REF!) and formulas without a stored value as empty cells. In .xlsx, such cells are found in
the sheet's own XML, because a number that is silently missing would make the import wrong.
"""

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from xml.etree import ElementTree

import python_calamine as calamine

from visitstats.imports.opening import PIECE, Item, seekable
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.sheets import Cell, Lost, Row, Sheet

FIRST = 60
_LOST = re.compile(
    rb"<c r=\"([A-Z]{1,3})([0-9]{1,7})\"[^>]*?(?:"
    rb"\bt=\"(e)\"[^>]*>|"
    rb">\s*<f(?:\s[^>]*)?(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>)"
)
_REACH = 16 * 1024
"""The most bytes of one cell in the XML, formula included, that are carried over to the next piece."""
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def sheets(item: Item) -> list[Sheet]:
    """Return the sheets of a workbook. Raises ImportRefused."""
    found: list[Sheet] = []
    try:
        with _book(item) as book:
            for meta in book.sheets_metadata:
                if meta.typ != calamine.SheetTypeEnum.WorkSheet:
                    continue
                sheet = book.get_sheet_by_name(meta.name)
                place = Place(item.name, 0, meta.name)
                hidden = meta.visible != calamine.SheetVisibleEnum.Visible
                found.append(
                    Sheet(
                        place,
                        meta.name,
                        None,
                        lambda name=meta.name: _rows(item, name),  # type: ignore[misc]
                        "book",
                        tuple(_cells(sheet, FIRST)),
                        "a hidden sheet" if hidden else "",
                        lambda name=meta.name: _hidden(item, name),  # type: ignore[misc]
                    )
                )
                del sheet
    except calamine.CalamineError as error:
        raise _refused(item, error) from error
    if not found:
        raise ImportRefused(item.place, "a workbook without sheets")
    return found


@contextmanager
def _book(item: Item) -> Iterator[calamine.CalamineWorkbook]:
    """Open a workbook. One that is not packed in an archive is opened without a copy in memory."""
    if item.path is not None:
        with calamine.CalamineWorkbook.from_path(str(item.path)) as book:
            yield book
    else:
        with seekable(item) as file, calamine.CalamineWorkbook.from_filelike(file) as book:
            yield book


def _refused(item: Item, error: Exception) -> ImportRefused:
    text = str(error)
    if isinstance(error, calamine.PasswordError) or "password" in text.lower() or "encrypt" in text.lower():
        return ImportRefused(item.place, "the workbook has a password: save it without one")
    return ImportRefused(item.place, f"a workbook that cannot be read ({text[:120]})")


def _rows(item: Item, name: str) -> Iterator[Row]:
    try:
        with seekable(item) as file:
            lost = _lost(file, name)
        with _book(item) as book:
            for row in _cells(book.get_sheet_by_name(name), None):
                for column, why in lost.pop(row.line, ()):
                    row.cells.extend([None] * (column + 1 - len(row.cells)))
                    row.cells[column] = Lost(why)
                yield row
            for line, cells in lost.items():
                padded: list[Cell] = [None] * (1 + max(column for column, _ in cells))
                for column, why in cells:
                    padded[column] = Lost(why)
                yield Row(line, padded)
    except calamine.CalamineError as error:
        raise _refused(item, error) from error


def _cells(sheet: calamine.CalamineSheet, most: int | None) -> Iterator[Row]:
    for number, cells in enumerate(sheet.iter_rows(), 1):
        if most is not None and number > most:
            return
        yield Row(number, [None if cell == "" else cell for cell in cells])


def column_name(number: int) -> str:
    """Return the letters of a column, counted from 0: A, B, …, AA."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(65 + rest) + text
    return text


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _lost(file: BinaryIO, name: str) -> dict[int, list[tuple[int, str]]]:
    """Return, by row of a sheet, the cells without a stored value (column, reason). Only .xlsx is examined."""
    found: dict[int, list[tuple[int, str]]] = {}
    if not zipfile.is_zipfile(file):
        return found
    try:
        with zipfile.ZipFile(file) as archive:
            path = _path_of(archive, name)
            if path is None:
                return found
            with archive.open(path) as xml:
                before = b""
                while data := xml.read(PIECE):
                    text = before + data
                    end = len(before)
                    for match in _LOST.finditer(text):
                        why = "an error, as #REF!" if match[3] else "a formula without a stored value"
                        cells = found.setdefault(int(match[2]), [])
                        cell = (_column_number(match[1]), why)
                        if cell not in cells:
                            cells.append(cell)
                        end = max(end, match.end())
                    before = text[max(end, len(text) - _REACH) :]
    except (KeyError, zipfile.BadZipFile, ElementTree.ParseError, OSError):
        return {}  # calamine reports what is wrong with the file
    return found


_HIDDEN = re.compile(rb"<row\b[^>]*?\br=\"([0-9]{1,7})\"[^>]*?\bhidden=\"(?:1|true)\"")


def _hidden(item: Item, name: str) -> list[int]:
    """Return the rows that a sheet hides, by a filter or by hand. Only .xlsx is examined."""
    with seekable(item) as file:
        if not zipfile.is_zipfile(file):
            return []
        try:
            with zipfile.ZipFile(file) as archive:
                path = _path_of(archive, name)
                if path is None:
                    return []
                found: list[int] = []
                with archive.open(path) as xml:
                    before = b""
                    while data := xml.read(PIECE):
                        text = before + data
                        found += [int(match[1]) for match in _HIDDEN.finditer(text)]
                        # A tag that is cut off here is searched again with the next piece; a complete tag is not.
                        cut = text.rfind(b"<")
                        before = text[cut:] if b">" not in text[cut:] else b""
                return found
        except (KeyError, zipfile.BadZipFile, ElementTree.ParseError, OSError):
            return []


def _path_of(archive: zipfile.ZipFile, name: str) -> str | None:
    if "xl/workbook.xml" not in archive.namelist():
        return None
    # The XML is untrusted: each text has at most 4 MB, and expat expands no external entities.
    workbook, relations = (archive.read(part) for part in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"))
    if b"<!DOCTYPE" in workbook + relations or max(len(workbook), len(relations)) > 4 * PIECE:
        return None
    targets = {each.get("Id"): each.get("Target", "") for each in ElementTree.fromstring(relations)}  # noqa: S314
    for each in ElementTree.fromstring(workbook).iter():  # noqa: S314
        if each.tag.endswith("}sheet") and each.get("name") == name:
            target = targets.get(each.get(_RELATION), "")
            return target[1:] if target.startswith("/") else f"xl/{target}"
    return None
