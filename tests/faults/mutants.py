"""Copies of the package with one thing broken on purpose, to see whether the judge finds out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import visitstats

READ, DECIDE, WRITE = (f"store/lua/commit/{part}.lua" for part in ("read", "decide", "write"))


class Change(NamedTuple):
    """One piece of text in one file of the package, and what stands there instead."""

    file: str
    old: str
    new: str


def mutated(folder: Path, changes: tuple[Change, ...]) -> Path:
    """Copy the package into a folder that can be put on PYTHONPATH, and break it. What is compiled comes along: it is
    still good for the files that are as they were."""
    package = folder / "visitstats"
    shutil.copytree(Path(visitstats.__file__).parent, package)
    for change in changes:
        path = package / change.file
        text = path.read_text("utf-8")
        assert text.count(change.old) == 1, f"{change.old!r} is not once in {change.file}: the mutation must follow it"
        path.write_text(text.replace(change.old, change.new), "utf-8")
    return folder


INCREMENTS = (
    Change(
        WRITE,
        """\
    every[#every + 1] = article
    every[#every + 1] = digits(all[article])
""",
        """\
    write('HINCRBY', KEYS[10], article, n)
""",
    ),
    Change(WRITE, "  write('HSET', KEYS[10], unpack(every))\n", ""),
    Change(
        WRITE,
        """\
    both[2 * i - 1], both[2 * i] = fields[i], digits(values[i])
  end
  write('HSET', key, unpack(both))
""",
        """\
    write('HINCRBY', key, fields[i], digits(values[i]))
  end
""",
    ),
    Change(WRITE, "    values[i] = values[i] + amounts[i]\n", "    values[i] = amounts[i]\n"),
)
NO_WATERMARK = (Change(READ, "if tonumber(ARGV[2]) <= mark then", "if false then"),)
NO_GAP = (Change(READ, "if previous > mark then", "if false then"),)
NO_HIT_IDS = (Change(DECIDE, "elseif id ~= '' and delivered[id] then", "elseif false then"),)
EARLY_ACKNOWLEDGEMENT = (Change("journal/log.py", "            write_all(self._file, data)\n", ""),)
ANY_COPY = (Change("journal/log.py", "        if not ours:\n", "        if False:\n"),)
