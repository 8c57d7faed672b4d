"""Thousands of hits of known readers through two workers: the numbers are equal to plain arithmetic, not nearly."""

from __future__ import annotations

import random
import time

import pytest

from tests.client import Hit, crowd, until
from tests.driver import Load, Service, noon_zone
from tests.judge import Judge


@pytest.mark.parametrize(("box", "views"), [("visits", "per-visit"), ("views", "every-load")])
async def test_two_workers_count_what_was_sent(service: Service, box: str, views: str) -> None:
    """Online, today, week, month, year, total and each article are exact, whichever worker took a hit and is asked."""
    site, zone = f"exact-{box}", noon_zone()
    service.add_site(site, "--timezone", zone, "--box", box, "--views", views)
    await service.known(site)
    draw = random.Random(7)
    readers = crowd(600, site)
    hits = [Hit(draw.choice(readers), f"/tin/{draw.randrange(40)}.html", f"{site}-{n:06d}") for n in range(3000)]
    delivered = [*hits, *draw.choices(hits, k=300)]  # some beacons arrive twice
    draw.shuffle(delivered)
    connections = await service.connections(each=8)
    load = Load(service, site)
    await load.run(delivered, connections=connections)
    assert len(load.acknowledged) == 3300
    assert not load.unanswered
    judge = Judge(zone, box=box, views=views)
    judge.hits(int(time.time() * 1000), load.acknowledged)
    now = int(time.time() * 1000)
    expected, whole = judge.numbers(now), judge.box(now)
    assert expected["total"] > 500
    assert load.shown <= expected["total"]
    for connection in await service.connections(each=1):
        shown = [await connection.numbers(site)]

        async def right(connection=connection, shown=shown) -> bool:  # type: ignore[no-untyped-def]
            shown[0] = await connection.numbers(site)
            assert all(shown[0][name] <= n for name, n in expected.items()), "a number that nobody earned"
            return bool(shown[0] == whole)

        await until(right, f"a worker shows {whole}", 5)
        assert await connection.views(site, judge.views(now)) == judge.views(now)
        connection.close()


async def test_both_workers_take_part(service: Service) -> None:
    """Each worker process owns a journal of its own: the exactness above is not that of one process."""

    def written() -> dict[str, int]:
        slots = (service.data_dir / "journal").iterdir()
        return {slot.name: sum(file.stat().st_size for file in slot.glob("*.log")) for slot in slots}

    before = written()
    for connection in await service.connections(each=1):
        answer = await connection.hit("t1", Hit(crowd(1, "both")[0], "/both"))
        assert answer.status == 200
        connection.close()
    assert sum(size > before.get(slot, 0) for slot, size in written().items()) == 2
