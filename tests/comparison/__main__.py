"""`python -m tests.comparison --hits 1000000 --seed 1`: so many made-up hits into the real service, compared with the
independent count of `tests.comparison.count`. Exit status 1 when anything differs."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.comparison.compare import compare
from visitstats.embedded.process import EmbeddedStore


def main() -> int:
    parser = argparse.ArgumentParser(description="The service, compared with an independent count.")
    parser.add_argument("--hits", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, EmbeddedStore.start(Path(folder) / "store") as store:
        found = asyncio.run(compare(Path(folder) / "data", store.url, asked.hits, asked.seed))
    minutes = (time.monotonic() - started) / 60
    sys.stdout.write("\n".join((f"seed {asked.seed}, {minutes:.1f} minutes\n", *found.lines(), "")))
    return 1 if found.troubles() else 0


if __name__ == "__main__":
    sys.exit(main())
