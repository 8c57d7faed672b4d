"""Where faults happen: a real service with two workers, a real store, and readers at work, round after round.

Each round has a site of its own, in which every hit reads an article of its own: whatever is counted can be laid beside
what was acknowledged, hit by hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio

from tests.client import until
from tests.driver import Load, Service, alive_pids, noon_zone, under
from tests.faults.conserved import Stream
from tests.faults.external import ExternalStore
from tests.faults.proxy import Proxy
from tests.ports import free_port
from tests.waiting import eventually, wait_until
from visitstats.core.sites import Site
from visitstats.embedded.process import connect_running
from visitstats.embedded.program import find_server
from visitstats.store.records import Records

SITES = 80
READERS = 8
KINDS = ("embedded", "redis-everysec", "redis-always", "valkey-everysec")


class Server(ExternalStore):
    """A store as others run it: which program, how it syncs its file, and whether it can be replicated."""

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder)
        program, _, self._fsync = kind.partition("-")
        found = shutil.which("redis-server") if program == "redis" else None
        self._program = found or str(find_server())
        self.port = free_port()

    @property
    def path(self) -> Path:
        return self._socket

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": self.port, "bind": "127.0.0.1", "unixsocket": self._socket, "dir": self.folder, "save": "",
            "appendonly": "yes", "appendfsync": self._fsync, "logfile": self.folder.with_name("store.log"),
            "repl-diskless-sync-delay": 0, "enable-protected-configs": "local",
        }  # fmt: skip
        command = [self._program, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(self._answers, "the store answers")

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)
        super().kill()


@dataclass
class Round:
    """Readers of one site, and all that is known of what they did."""

    site: str
    load: Load
    stream: Stream
    others: list[tuple[Load, Stream]] = field(default_factory=list)
    """Readers of the same site at other services on the same store."""

    async def more(self, hits: int = 100) -> None:
        await self.load.more(hits, 30)

    @property
    def all(self) -> list[tuple[Load, Stream]]:
        return [(self.load, self.stream), *self.others]


class Arena:
    """One service on one kind of store. `package`: a folder with another version of the code to run."""

    def __init__(self, kind: str, package: Path | None = None) -> None:
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix="vs-"))
        self.rounds: list[Round] = []
        self.services: list[Service] = []
        self.servers: list[Server] = []
        self._package = package
        self._rounds = 0

    async def start(self) -> None:
        url = ""
        if self.kind != "embedded":
            await self.server("first")
            self.proxy = Proxy(self.store.path)
            await self.proxy.start()
            url = self.proxy.url
        self.service = self.another("data", url)
        if self.kind != "embedded":
            await self._put_sites(self.store.url)
            await asyncio.to_thread(self.service.start)
        else:
            await asyncio.to_thread(self.service.start)
            await self._put_sites(self.url)

    def another(self, name: str, url: str) -> Service:
        """Another service, with a data folder of its own."""
        service = Service(self.folder / name, workers=2, redis_url=url)
        if self._package is not None:
            service.environ["PYTHONPATH"] = str(self._package)
        self.services.append(service)
        return service

    async def server(self, name: str) -> Server:
        """Start another store, on which the service is to count."""
        self.store = Server(self.folder / name / "data", self.kind)
        self.servers.append(self.store)
        await asyncio.to_thread(self.store.start)
        return self.store

    async def _put_sites(self, url: str) -> None:
        async with self.client(url) as client:
            for n in range(SITES):
                site = Site(
                    id=f"s{n:02d}",
                    hosts=("portal.example.vn",),
                    timezone=noon_zone(),
                    views="every-load",
                    shared_hosts=True,
                    new_articles_per_minute=1_000_000,
                    visitors_per_network=0,
                    office_networks=("0.0.0.0/0", "::/0"),  # each hit has an article of its own
                )
                await Records(client).put_site(site)

    @property
    def url(self) -> str:
        """The store itself, past the proxy."""
        if self.kind != "embedded":
            return self.store.url
        found = connect_running(self.service.data_dir)
        assert found is not None, "the embedded store does not answer"
        return found

    @contextlib.asynccontextmanager
    async def client(self, url: str = "") -> AsyncIterator[Any]:
        client = redis.asyncio.Redis.from_url(url or self.url)
        try:
            yield client
        finally:
            await client.aclose()

    @property
    def store_pid(self) -> int:
        return self.service.store if self.kind == "embedded" else self.store.pid

    @contextlib.asynccontextmanager
    async def round(self) -> AsyncIterator[Round]:
        """Have readers at work during the block; the last of them are answered when it ends."""
        site = f"s{self._rounds:02d}"
        self._rounds += 1
        await self.service.known(site)
        this = Round(site, Load(self.service, site), Stream(site))
        self.rounds.append(this)
        async with under(this.load.run(this.stream, readers=READERS)):
            await this.more(60)
            try:
                yield this
            finally:
                this.stream.over = True

    async def kill_service(self) -> None:
        """kill -9 of the supervisor; wait until all of its processes have gone with it."""
        family = self.service.children()
        os.kill(self.service.pid, signal.SIGKILL)
        await asyncio.to_thread(self.service.wait)

        async def gone() -> bool:
            return not alive_pids(family)

        await until(gone, "the service's processes have ended", 20)

    async def replaced(self, victim: int) -> None:
        """Wait until another worker runs in the place of one that was ended."""

        async def replaced() -> bool:
            return len(self.service.workers) == 2 and victim not in self.service.workers

        await until(replaced, "a new worker runs", 20)

    async def stop(self) -> list[str]:
        """Stop everything; what still ran afterwards."""
        left: list[str] = []
        for service in self.services:
            family = service.children() if service.running else {}
            began = time.monotonic()
            await asyncio.to_thread(service.stop)
            if time.monotonic() - began > 15:
                left.append("the service took more than 15 s to stop")
            # Python's own keeper of shared resources ends when it sees that its parent has.
            with contextlib.suppress(AssertionError):
                await eventually(lambda of=family: not alive_pids(of), "its processes have ended", 5)  # type: ignore[misc]
            left += [f"process {pid} was left behind" for pid in alive_pids(family)]
        if self.kind != "embedded":
            await self.proxy.stop()
        for server in self.servers:
            await asyncio.to_thread(server.kill)
        shutil.rmtree(self.folder, ignore_errors=True)
        return left
