"""Whole sites beside a running service: what was acknowledged while a site is merged or renamed is counted once; an
import that is killed is finished, or has changed nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.client import Connection, Hit, crowd, until
from tests.driver import PROGRAM, Service
from tests.shell import Shell
from tests.waiting import wait_until
from tests.web.inprocess import running
from visitstats.changes.recording import ChangeRefused
from visitstats.cli import moving
from visitstats.store import keys
from visitstats.store.fitness import opened
from visitstats.system.clock import wall_clock


class Readers:
    """Somebody who reads a site all the time; `counted` says how many of the hits were counted for it."""

    def __init__(self, service: Service, site: str) -> None:
        self._service = service
        self._site = site
        self.counted = 0
        self.archived = 0

    async def read(self) -> None:
        connection = await Connection.open(self._service.port)
        try:
            await self._read(connection)
        finally:
            connection.close()

    async def _read(self, connection: Connection) -> None:
        for n, visitor in enumerate(itertools.cycle(crowd(20, self._site))):
            answer = await connection.hit(self._site, Hit(visitor, f"/{n % 5}"))
            assert answer.status in (200, 202), answer
            if answer.ignored:
                assert "archived" in answer.ignored
                self.archived += 1
            else:
                self.counted += 1

    async def some(self, task: asyncio.Task[None], of: str, least: int) -> None:
        async def there() -> bool:
            assert not task.done(), task
            return getattr(self, of) >= least  # type: ignore[no-any-return]

        await until(there, f"{least} hits are {of}", 20)


@asynccontextmanager
async def reading(service: Service, site: str) -> AsyncIterator[Readers]:
    readers = Readers(service, site)
    task = asyncio.create_task(readers.read())
    try:
        await readers.some(task, "counted", 20)
        yield readers
        await readers.some(task, "archived", 1)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def total(service: Service, site: str, kind: str = "views") -> int:
    said = await asyncio.to_thread(service.cli, "site", "export", site, "--out", "-")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return int(found["sums"][kind])


async def test_what_is_read_while_a_site_is_merged_is_counted_once(service: Service) -> None:
    """Until its workers know that it is archived its hits are counted, and come along; from then on the answer says
    that they are not."""
    for site in ("from", "into"):
        await asyncio.to_thread(service.add_site, site, "--views", "every-load")
        await service.known(site)
    async with reading(service, "from") as readers:
        await asyncio.to_thread(service.cli, "site", "merge", "from", "into", "--yes")
    assert await total(service, "into") == await total(service, "from") == readers.counted
    assert await total(service, "into", "articles") == readers.counted


async def test_what_is_read_while_a_site_is_renamed_is_counted_once(service: Service) -> None:
    await asyncio.to_thread(service.add_site, "older", "--views", "every-load")
    await service.known("older")
    async with reading(service, "older") as readers:
        await asyncio.to_thread(service.cli, "site", "rename", "older", "newer")
    assert await total(service, "newer") == readers.counted


async def test_a_site_whose_journal_is_not_applied_is_neither_merged_nor_renamed(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hits were acknowledged, and would come to the old id when its numbers are at the new one already."""
    monkeypatch.setattr(moving, "SETTLED_SECONDS", 0.0)
    async with running(tmp_path / "data", redis_url) as app:
        assert (await app.connection.hit("t1", Hit(crowd(1, "journal")[0], "/a"))).status == 200
    async with opened(redis_url, wall_clock) as parts:
        site = (await parts.records.sites())["t1"]
        marks: Any = await parts.client.hgetall(keys.marks("t1"))
        await parts.client.hset(keys.marks("t1"), mapping=dict.fromkeys(marks, "0:0"))
        with pytest.raises(ChangeRefused, match="visitstats journal status"):
            await moving.archive(parts, site, tmp_path / "data" / "journal")
        await parts.client.hset(keys.marks("t1"), mapping=marks)
        assert (await moving.archive(parts, site, tmp_path / "data" / "journal")).archived


def large(path: Path, articles: int) -> None:
    """An export of a site with many articles."""
    whole = sha256()
    rows: list[dict[str, Any]] = [{"visitstats": 1, "site": "big", "settings": {"hosts": ["big.vn"]}}]
    rows += [{"article": f"/{n}", "views": 2} for n in range(articles)]
    rows.append({"period": "", "visits": 7, "views": 2 * articles})
    with path.open("wb") as file:
        for row in rows:
            data = json.dumps(row).encode() + b"\n"
            whole.update(data)
            file.write(data)
        end = {
            "end": {"days": 0, "articles": articles, "periods": 1, "changes": 0},
            "sums": {"visits": 7, "views": 2 * articles, "articles": 2 * articles, "article_days": 0},
            "sha256": whole.hexdigest(),
        }
        file.write(json.dumps(end).encode() + b"\n")


@pytest.mark.parametrize("parts", [1, 9])
def test_an_import_of_a_site_that_is_killed_is_finished_or_has_changed_nothing(
    tmp_path: Path, redis_url: str, parts: int
) -> None:
    """Killed when so many records are written: the task makes what was begun, and the same file brings the rest."""
    shell = Shell(tmp_path, redis_url, tmp_path / "data")
    large(tmp_path / "big.jsonl", 2_400)
    environ = {"VISITSTATS_REDIS_URL": redis_url, "VISITSTATS_DATA_DIR": str(tmp_path / "data"), "PATH": ""}
    command = subprocess.Popen([str(PROGRAM), "site", "import", "big.jsonl"], cwd=tmp_path, env=environ)
    with Redis.from_url(redis_url) as raw:

        def written() -> int:
            marks: Any = raw.hvals(keys.marks("big"))
            names: Any = list(raw.scan_iter(keys.import_parts("big", "*")))
            return len(marks) and sum(int(raw.hlen(name)) for name in names)

        wait_until(lambda: written() >= parts or command.poll() is not None, "so much is written", 30)
        command.send_signal(signal.SIGKILL)
        command.wait()
        shell("tasks", "run", "imports")
        views: Any = raw.hget(keys.counts("big"), "views:all")
        assert int(views or 0) in (0, 4_800)
        shell("import", "big", "big.jsonl")
        assert raw.hmget(keys.counts("big"), ["visits:all", "views:all"]) == [b"7", b"4800"]
        assert raw.hlen(keys.articles("big")) == 2_400
