"""Imports for the tests: files are read into a draft, and what comes out is compared with what is right."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

from visitstats.core.keys import KeyRules
from visitstats.core.sites import Site
from visitstats.imports import outcome
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused
from visitstats.imports.reading import draft_of
from visitstats.system.patterns import linear_pattern

SAMPLES = Path(__file__).parent / "samples"
OUTCOMES: dict[str, dict[str, Any]] = json.loads((SAMPLES / "outcomes.json").read_text(encoding="utf-8"))


def site(*preset: str) -> Site:
    return Site(id="bacha", hosts=("bacha.example.vn",), preset=preset)


def outcome_of(
    paths: list[Path],
    folder: Path,
    *preset: str,
    first_counted: str = "",
    titles: dict[str, str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """What an import of these files comes to, or why it is refused."""
    here = site(*preset)
    try:
        draft = draft_of(
            paths, folder / "draft.sqlite", here, KeyRules(here, linear_pattern), Options(**options),
            first_counted=first_counted, titles=titles,
        )  # fmt: skip
    except ImportRefused as error:
        return outcome.refused(error)
    try:
        whole: dict[str, Any] = json.loads(b"".join(outcome.text(draft)))
        views = whole["in_file"]["views"]
        assert views["read"] == views["taken"] + views["left_out"], views
        reasons = {name: n for name, n in whole["rows"].items() if name != "read"}
        assert whole["rows"].get("read", 0) == sum(reasons.values()), whole["rows"]
        return whole
    finally:
        draft.close()


class Files:
    """Makes files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def text(self, text: str, name: str = "old.csv", encoding: str = "utf-8") -> Path:
        path = self.folder / name
        path.write_bytes(text.encode(encoding))
        return path

    def data(self, data: bytes, name: str) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def gz(self, text: str, name: str) -> Path:
        return self.data(gzip.compress(text.encode()), name)

    def zip(self, files: dict[str, str], name: str = "old.zip") -> Path:
        path = self.folder / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for inner, text in files.items():
                archive.writestr(inner, text)
        return path

    def take(
        self, text: str, *preset: str, name: str = "old.csv", encoding: str = "utf-8", **options: Any
    ) -> dict[str, Any]:
        """What the import of one text comes to."""
        return outcome_of([self.text(text, name, encoding)], self.folder, *preset, **options)
