"""What an acknowledgement has outlived, by the setting `durability`: the disk, or the kernel only."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.client import Hit, crowd
from tests.driver import Load, alive_pids, under
from tests.faults.conftest import Serve
from tests.faults.conserved import Stream, conserved
from tests.faults.external import ExternalStore
from tests.waiting import eventually
from tests.web.inprocess import running

HITS = 8


@pytest.mark.parametrize(("durability", "synced"), [("fsync", True), ("os", False)])
async def test_the_journal_is_synced_for_every_acknowledgement_or_for_none(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, durability: str, synced: bool
) -> None:
    """One fdatasync before each answer to a lone hit with `fsync`, not one with `os`; the records are the same."""
    files: list[str] = []
    really = os.fdatasync

    def counted(file: int) -> None:
        really(file)
        files.append(os.readlink(f"/proc/self/fd/{file}"))

    async with running(tmp_path / "data", redis_url, durability=durability) as app:
        monkeypatch.setattr(os, "fdatasync", counted)
        for n, reader in enumerate(crowd(HITS, "sync")):
            before = len(files)
            assert (await app.connection.hit("t1", Hit(reader, f"/{n}"))).status == 200
            assert (len(files) > before) is synced
        monkeypatch.undo()
        assert app.app.worker is not None
        assert app.app.worker.ingest.journal_bytes > HITS * 40
    assert all("/journal/00/" in name for name in files)


async def test_with_os_nothing_is_lost_when_processes_are_killed(serve: Serve, store: ExternalStore) -> None:
    """kill -9 of everything, while the store hangs and the journal alone has the hits: they are counted at the next
    start. The start says what `os` gives up."""
    service = serve(store.url, durability="os")
    assert "visitstats: durability is os: a power cut may take hits" in service.log
    load, stream = Load(service, "t1"), Stream("os")
    async with under(load.run(stream, connections=await service.connections(each=4))):
        await load.more(100)
        store.stop_answering()
        await load.more(400)
        family = service.children()
        for pid in (service.pid, *family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        service.wait()
        await eventually(lambda: not alive_pids(family), "its workers have ended", 15)
        store.go_on()
        service.start()
        await load.more(100)
        stream.over = True
    await conserved(load, stream)
    assert load.statuses[202] >= 400
