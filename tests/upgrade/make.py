"""Makes a small data folder as this version writes it, to be upgraded by every later one.

    python -m tests.upgrade.make          writes schema-N.tar.gz and schema-N.json beside this file

Run it once for each schema number, before the number is raised. The folder has an embedded store with two sites, some
days of two months, a merge, its undoing, an alias, baselines, ignored beacons, a peak and an estimate; and a journal
with a batch that the store does not have. The JSON says what must be counted after the upgrade.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests.store.town import OTHER, SITE, Town
from tests.store.writing import DAY, NOON, gather
from visitstats.changes.recording import Order
from visitstats.core.batch import Gathering
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.embedded.process import EmbeddedStore
from visitstats.journal.folder import claim_folder
from visitstats.store.fitness import opened
from visitstats.store.schema import claim_store

HERE = Path(__file__).parent


async def fill(data_dir: Path, url: str) -> dict[str, Any]:
    """Fill a new folder; return what its numbers are, with what only the journal has."""
    async with opened(url, lambda: NOON) as parts:
        await claim_store(parts.client)
        claim_folder(data_dir)
        town = Town(data_dir, parts.client, parts)
        try:
            await town.live()
            ignored = Gathering(SITE, DAY)
            ignored.ignored = {"bot": 3, "prefetch": 1}
            await town.commit(town.taken(ignored))
            await town.merges.merge("/b", "/a", Order("editor", "one article"))
            undone = await town.merges.merge("/old", "/a", Order("editor"))
            await town.desk.undo(undone.id, Order("editor"))
            waiting = Gathering(SITE, DAY)
            gather(waiting, NOON + 20 * 60_000, "reader 7", "/a")
            gather(waiting, NOON + 20 * 60_000, "reader 8", "/late")
            town.taken(waiting)  # journalled only
        finally:
            await town.close()
        return {"sites": {site.id: await numbers(parts.client, site.id) for site in (SITE, OTHER)}}


async def numbers(client: Any, site: str) -> dict[str, Any]:
    """The counts of a site by date, month, year, all and base, as this version spells them."""
    return {
        what: {name.decode(): int(n) for name, n in (await client.hgetall(f"vs:{{{site}}}:{what}")).items()}
        for what in ("visits", "views")
    }


def main() -> None:
    name = f"schema-{SCHEMA_NUMBER}"
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / name
        with EmbeddedStore.start(data_dir) as store:
            told = asyncio.run(fill(data_dir, store.url))
        for lock in ("owner.lock", "server.lock", "socket", "valkey.log"):
            (data_dir / "valkey" / lock).unlink(missing_ok=True)
        with tarfile.open(HERE / f"{name}.tar.gz", "w:gz") as tar:
            tar.add(data_dir, name)
        shutil.rmtree(data_dir)
    day, month, year = DAY.date, DAY.month, DAY.year
    for each in (day, month, year, "all"):  # what the journal alone has
        told["sites"][SITE.id]["visits"][each] += 2
        told["sites"][SITE.id]["views"][each] += 2
    told["now_ms"] = NOON
    (HERE / f"{name}.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
