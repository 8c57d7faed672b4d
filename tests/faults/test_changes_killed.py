"""Workers that are killed between the journal and the store, with changes of people on the way."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.client import Connection, Hit, crowd, until
from tests.driver import Service
from tests.faults.external import ExternalStore

Serve = Callable[..., Service]
READERS = crowd(6, "killed")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ExternalStore]:
    found = ExternalStore(tmp_path / "store")
    found.start()
    yield found
    with contextlib.suppress(ProcessLookupError):
        found.go_on()
    found.kill()


async def test_every_worker_is_killed_before_the_store_takes_a_change(serve: Serve, store: ExternalStore) -> None:
    """The editor has the change's id, and nothing but the journal has the change. It is made once, by whoever comes
    next, and every worker knows; the same command as an operator types it goes on from there."""
    service = serve(store.url)
    token = re.search(r"vs_\S+", service.cli("token", "add", "lan", "--scope", "editor", "--site", "t1"))
    assert token is not None
    bearer = {"authorization": f"Bearer {token[0]}"}
    connection = await Connection.open(service.port)
    for reader in READERS[:3]:
        assert (await connection.hit("t1", Hit(reader, "/old"))).status == 200
    assert (await connection.hit("t1", Hit(READERS[3], "/new"))).status == 200
    with store.client() as client:
        client.client_pause(600_000, all=False)
        answer = await connection.request("POST", "/v1/admin/sites/t1/merge", {"from": "/old", "into": "/new"}, bearer)
        assert answer.status == 202, answer
        for pid in service.workers:
            os.kill(pid, signal.SIGKILL)
        client.client_unpause()
    connection.close()
    change = answer.json["change"]["id"]

    async def made() -> Any:
        with contextlib.suppress(OSError):
            fresh = await Connection.open(service.port)
            try:
                found = await fresh.request("GET", "/v1/admin/sites/t1/audit", headers=bearer)
                return found.status == 200 and [each["id"] for each in found.json["changes"]] == [change]
            finally:
                fresh.close()

    await until(made, "the change is made", 30)
    for each in await service.connections():
        views = partial(each.views, "t1", ["/old", "/new"])
        await until(partial(_equal, views, {"/old": 4, "/new": 4}), "every worker knows of it", 10)
        each.close()
    said = service.cli("undo", "t1", change)
    assert "/old is an article of its own again" in said
    undone = re.search(r"\(change ([0-9a-f]{8})\)", said)
    assert undone is not None
    listed = service.cli("audit", "t1")
    assert change in listed
    assert listed.count(undone[1]) == 2, "the undo, and what the merge was undone by"
    for each in await service.connections():
        views = partial(each.views, "t1", ["/old", "/new"])
        await until(partial(_equal, views, {"/old": 3, "/new": 1}), "every worker knows of the undo", 10)
        each.close()
    service.cli("verify")


async def _equal(look: Callable[[], Any], wanted: object) -> bool:
    return bool(await look() == wanted)
