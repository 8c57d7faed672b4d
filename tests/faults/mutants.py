"""Copies of the package with one thing broken on purpose, to see whether the judge finds out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import visitstats

AUDIENCE, ARTICLES = "store/lua/audience.lua", "store/lua/articles.lua"


class Change(NamedTuple):
    """One piece of text in one file of the package, and what stands there instead."""

    file: str
    old: str
    new: str


def mutated(folder: Path, changes: tuple[Change, ...]) -> Path:
    """Copy the package into a folder that can be put on PYTHONPATH, and break it."""
    package = folder / "visitstats"
    shutil.copytree(Path(visitstats.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for change in changes:
        path = package / change.file
        text = path.read_text("utf-8")
        assert text.count(change.old) == 1, f"{change.old!r} is not once in {change.file}: the mutation must follow it"
        path.write_text(text.replace(change.old, change.new), "utf-8")
    return folder


INCREMENTS = (
    Change(
        ARTICLES,
        """\
    fields[#fields + 1] = scores[article]
    fields[#fields + 1] = article
  end
  if #fields > 0 then
    write('ZADD', key, unpack(fields))
  end
""",
        """\
    write('ZINCRBY', key, n, article)
  end
""",
    ),
    Change(
        AUDIENCE,
        """\
    fields[#fields + 1] = counters[i]
    fields[#fields + 1] = digits(tonumber(count_now[i] or '0') + started)
  end
  write('HSET', KEYS[6], unpack(fields))
""",
        """\
    write('HINCRBY', KEYS[6], counters[i], started)
  end
""",
    ),
)
NO_WATERMARK = tuple(Change(file, "if sequence <= watermark then", "if false then") for file in (AUDIENCE, ARTICLES))
NO_GAP = tuple(Change(file, "if previous > watermark then", "if false then") for file in (AUDIENCE, ARTICLES))
EARLY_ACKNOWLEDGEMENT = (Change("journal.py", "            write_all(self._file, data)\n", ""),)
NO_OUTCOMES = (Change("replay.py", "decision = decided(payload, outcome)", "decision = None"),)
ANY_COPY = (Change("journal.py", "        if not ours:\n", "        if False:\n"),)
