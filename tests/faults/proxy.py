"""A wire between the service and its store that can be slow, deaf, or lose what it carries: on loopback, in our own
process."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path


class Link:
    """One connection of the service's, with its other half to the store."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.store: asyncio.StreamWriter | None = None
        self.held: list[bytes] | None = None
        """What is kept back of the service's requests; None: nothing is."""
        self.hung_up = False
        """Whether the service has given the connection up."""

    def close(self) -> None:
        for writer in (self.client, self.store):
            if writer is not None:
                writer.close()


class Proxy:
    """Carries bytes from a TCP port to the unix socket of a store."""

    def __init__(self, upstream: Path) -> None:
        self.upstream = upstream
        self.delay = 0.0
        """Seconds that every answer is late."""
        self._hears = asyncio.Event()
        self._hears.set()
        self.mute = False
        """Whether answers are swallowed: the store has done what it was asked, and nobody hears of it."""
        self._stuck: tuple[int, Path] | None = None
        """A process that is led to another store than all others."""
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.hear()
        self.cut()

    def deafen(self) -> None:
        """Leave requests unread, and new connections too: half-open, as after a lost router."""
        self._hears.clear()

    def hear(self) -> None:
        self._hears.set()

    def cut(self) -> None:
        """Break every connection."""
        for link in list(self._links):
            link.close()

    def switch(self, upstream: Path) -> None:
        """Lead everybody to another store from now on."""
        self._stuck = None
        self.upstream = upstream
        self.cut()

    def split(self, upstream: Path, pid: int) -> None:
        """Lead to another store from now on, but for one process, which stays where it is, by new connections too."""
        self._stuck = (pid, self.upstream)
        self.upstream = upstream
        for link in list(self._links):
            if not self._is_of(link, pid):
                link.close()

    def _is_of(self, link: Link, pid: int) -> bool:
        """Whether a process holds the other end of a connection (Linux)."""
        assert self._server is not None
        ours = f":{self._server.sockets[0].getsockname()[1]:04X}"
        theirs = f":{link.client.get_extra_info('peername')[1]:04X}"
        for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(theirs) and fields[2].endswith(ours):
                with contextlib.suppress(OSError):  # it has ended
                    return f"socket:[{fields[9]}]" in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir())
        return False

    def _upstream_of(self, link: Link) -> Path:
        if self._stuck is not None and self._is_of(link, self._stuck[0]):
            return self._stuck[1]
        return self.upstream

    def hold(self) -> list[Link]:
        """Keep back what comes on the present connections; new ones work."""
        held = list(self._links)
        for link in held:
            link.held = []
        return held

    async def release(self, links: list[Link]) -> None:
        """Deliver what was kept back, late, and hang up."""
        for link in links:
            if link.store is not None and link.held:
                with contextlib.suppress(OSError):
                    link.store.write(b"".join(link.held))
                    await link.store.drain()
            link.held = None
        for link in links:
            link.close()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        link = Link(client)
        self._links.add(link)
        try:
            await self._hears.wait()
            store_reader, link.store = await asyncio.open_unix_connection(str(self._upstream_of(link)))
            down = asyncio.create_task(self._answers(store_reader, link))
            try:
                await self._requests(reader, link)
            finally:
                link.hung_up = True
                if link.held is None:
                    link.close()
                await down
        except OSError:
            pass
        finally:
            link.close()
            self._links.discard(link)

    async def _requests(self, reader: asyncio.StreamReader, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._hears.wait()
                if link.held is not None:
                    link.held.append(data)
                elif link.store is not None:
                    link.store.write(data)
                    await link.store.drain()

    async def _answers(self, reader: asyncio.StreamReader, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not self.mute and not link.hung_up:
                    link.client.write(data)
                    await link.client.drain()
        if not link.hung_up:
            link.client.close()
