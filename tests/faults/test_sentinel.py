"""A failover by a real Sentinel, under load: nobody edits or restarts anything, and every hit is counted once.

(A primary that is only told to hand over, by SENTINEL FAILOVER, goes on as one for eight seconds beside the new one.
Tried by hand with this class, that was exact too; it takes too long for every run of the tests.)
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.client import Connection, until
from tests.driver import Load, under
from tests.faults.conftest import Serve
from tests.faults.conserved import Stream, conserved
from tests.faults.external import ExternalStore
from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

PASSWORD = "p#ss"


class Guarded:
    """A primary, its replica, and one Sentinel that watches them and has a password of its own."""

    def __init__(self, folder: Path) -> None:
        self.ports = [free_port(), free_port()]
        self.stores = []
        for name, port in zip(("first", "second"), self.ports, strict=True):
            (folder / name).mkdir()
            store = ExternalStore(folder / name / "data")
            store.more_options = ("--port", str(port), "--repl-diskless-sync-delay", "0", "--requirepass", PASSWORD,
                                  "--masterauth", PASSWORD)  # fmt: skip
            store.password = PASSWORD
            self.stores.append(store)
        self.port = free_port()
        self._config = folder / "sentinel.conf"
        self._config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\nrequirepass watch\n"
            f"sentinel monitor portal 127.0.0.1 {self.ports[0]} 1\nsentinel auth-pass portal {PASSWORD}\n"
            "sentinel down-after-milliseconds portal 500\nsentinel failover-timeout portal 3000\n"
        )
        self._sentinel: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The second Sentinel does not answer."""
        nobody = free_port()
        return f"redis+sentinel://:p%23ss@127.0.0.1:{nobody},127.0.0.1:{self.port}/portal/0?sentinel_password=watch"

    def client(self, port: int, password: str = PASSWORD) -> redis.Redis:
        return redis.Redis(port=port, password=password, socket_timeout=5)

    def start(self) -> None:
        for store in self.stores:
            store.start()
        with self.client(self.ports[1]) as second:
            second.replicaof("127.0.0.1", str(self.ports[0]))
            wait_until(lambda: second.info("replication")["master_link_status"] == "up", "the replica has a copy")
        command = ["redis-server", str(self._config), "--sentinel"]
        self._sentinel = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with self.client(self.port, "watch") as sentinel:

            def knows() -> bool:
                try:
                    masters = sentinel.sentinel_masters()
                except redis.RedisError:
                    return False
                return bool(masters["portal"]["num-slaves"] == 1 and masters["portal"]["is_master"])

            wait_until(knows, "Sentinel knows the replica", 30)

    def stop(self) -> None:
        if self._sentinel is not None:
            self._sentinel.kill()
            self._sentinel.wait()
        for store in self.stores:
            store.kill()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    found = Guarded(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.stop()


async def test_a_failover_needs_nobody_and_loses_no_hit(serve: Serve, guarded: Guarded) -> None:
    """Hits wait in the journal until Sentinel has made the replica the primary; what that lacks is replayed to it."""
    service = serve(guarded.url)
    load, stream = Load(service, "t1"), Stream("failover")
    async with under(load.run(stream, readers=8)):
        await load.more(400)
        guarded.stores[0].kill()
        connection = await Connection.open(service.port)

        async def promoted() -> bool:
            with guarded.client(guarded.ports[1]) as second:
                role = await asyncio.to_thread(lambda: second.info("replication")["role"])
            ready = await connection.request("GET", "/readyz")
            return bool(role == "master" and ready.json["store"] == "ok")

        await until(promoted, "hits are counted in the new primary", 30)
        connection.close()
        await load.more(400)
        stream.over = True
    await conserved(load, stream)
    with guarded.client(guarded.ports[1]) as second:
        assert second.hget("vs:{t1}:counts", "views:all") == b"%d" % len(stream.sent)
