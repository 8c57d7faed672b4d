"""Reading a workbook with the standard library: what a spreadsheet shows of its sheets."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
RELATED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
Cell = str | int | float | date | None


class Read:
    """A workbook: its sheets by name, each a list of rows, each a list of cells (None where there is nothing)."""

    def __init__(self, file: Path | bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as archive:
            self._archive = {name: archive.read(name) for name in archive.namelist()}
        book, links = self._xml("xl/workbook.xml"), self._xml("xl/_rels/workbook.xml.rels")
        targets = {link.attrib["Id"]: link.attrib["Target"] for link in links}
        self._dates = self._date_styles()
        self.files = {
            sheet.attrib["name"]: f"xl/{targets[sheet.attrib[RELATED]]}" for sheet in book.iter(f"{MAIN}sheet")
        }
        self.sheets = {name: self._rows(path) for name, path in self.files.items()}
        self.plots = [name for name in self._archive if name.startswith("xl/charts/chart")]

    def text(self, sheet: str) -> str:
        """The XML of a sheet."""
        return self._archive[self.files[sheet]].decode()

    def table(self, sheet: str, heading: str) -> tuple[list[Cell], list[list[Cell]]]:
        """The head of a sheet's table (the row that has this heading) and the rows below it."""
        rows = self.sheets[sheet]
        place = next(n for n, row in enumerate(rows) if heading in row)
        return rows[place], rows[place + 1 :]

    def _xml(self, name: str) -> ElementTree.Element:
        return ElementTree.fromstring(self._archive[name])  # noqa: S314, we have written it

    def _date_styles(self) -> set[int]:
        styles = self._xml("xl/styles.xml")
        formats = {f.attrib["numFmtId"]: f.attrib["formatCode"] for f in styles.iter(f"{MAIN}numFmt")}
        cells = styles.find(f"{MAIN}cellXfs")
        assert cells is not None
        return {n for n, xf in enumerate(cells) if "yyyy" in formats.get(xf.attrib["numFmtId"], "")}

    def _rows(self, path: str) -> list[list[Cell]]:
        rows: list[list[Cell]] = []
        for line in self._xml(path).iter(f"{MAIN}row"):
            while len(rows) < int(line.attrib["r"]):
                rows.append([])
            for cell in line:
                assert cell.find(f"{MAIN}f") is None, "a formula"
                column = 0
                for letter in cell.attrib["r"].rstrip("0123456789"):
                    column = 26 * column + ord(letter) - 64
                rows[-1] += [None] * (column - 1 - len(rows[-1])) + [self._value(cell)]
        width = max(map(len, rows), default=0)
        return [row + [None] * (width - len(row)) for row in rows]

    def _value(self, cell: Any) -> Cell:
        text = "".join(part.text or "" for part in cell.iter() if part.tag in (f"{MAIN}v", f"{MAIN}t"))
        if cell.get("t", "n") != "n":
            return text
        if int(cell.get("s", "0")) in self._dates:
            return date(1899, 12, 30) + timedelta(days=int(text))
        return float(text) if "." in text or "e" in text else int(text)
