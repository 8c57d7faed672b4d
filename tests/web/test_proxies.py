"""Request smuggling through real proxies, with innocent readers on the same connections to the service.

A stranger's request carries another one that the proxy's rule does not let through: a hit for the site `closed`, or
/metrics. However the two are framed, that one is never executed, and no reader is ever given another reader's answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.client import BROWSERS, HOST, Connection
from tests.driver import Service, noon_zone
from tests.web.framings import attacks
from tests.web.proxies import OPEN, PROXIES, opened, started

AT_ONCE = 16
"""Attacks at the same time."""
SILENCE_SECONDS = 0.25
"""So long an attacker waits for more of an answer."""
READERS = 4


async def attack(port: int, head: bytes, body: bytes, apart: bool) -> bytes:
    """Send one, and return all that comes back."""
    reader, writer = await opened(port)
    found = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(head if apart else head + body)
        await writer.drain()
        if apart:
            with contextlib.suppress(TimeoutError):
                found += await asyncio.wait_for(reader.read(65536), 0.03)
            writer.write(body)
            await writer.drain()
        while data := await asyncio.wait_for(reader.read(65536), SILENCE_SECONDS):
            found += data
    writer.close()
    return found


class Readers:
    """Innocent readers, who go on until they are told to stop."""

    def __init__(self, port: int) -> None:
        self.served = 0
        self._port = port
        self._number = itertools.count()
        self._end = False

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._read())
            yield
            self._end = True

    async def _read(self) -> None:
        connection = Connection(*await opened(self._port))
        while not self._end:
            article = f"/innocent/{next(self._number)}"
            body = json.dumps({"u": f"https://{HOST}{article}"})
            try:
                answer = await connection.request("POST", f"{OPEN}hit", body, {"user-agent": BROWSERS[0]}, seconds=8)
                shown = await connection.request("GET", f"{OPEN}stats", seconds=8)
            except (ConnectionError, TimeoutError, KeyError):
                # A proxy that was just about to use a connection which we had to close.
                connection.close()
                connection = Connection(*await opened(self._port))
                continue
            for each in (answer, shown):
                assert each.status in (200, 202, 502, 503), each
            if answer.status < 300:
                assert (answer.json["site"], answer.json["key"]) == ("open", article)
                self.served += 1
            if shown.status == 200:
                assert shown.json["site"] == "open"
                assert "key" not in shown.json
        connection.close()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service with one worker, so that all of a proxy's connections are its."""
    service = Service(tmp_path_factory.mktemp("behind") / "data", workers=1)
    service.start()
    try:
        for site in ("open", "closed"):
            service.add_site(site, "--timezone", noon_zone(), "--views", "every-load")
        yield service
    finally:
        service.stop()


async def forged(service: Service) -> tuple[int, dict[str, int]]:
    """Ask the service itself what of the forged request was counted."""
    direct = await Connection.open(service.port)
    found = (await direct.numbers("closed"))["total"], await direct.views("closed", ["/forged"])
    direct.close()
    return found


@pytest.mark.timeout(240)
# Compiling Go takes a minute, and Caddy is the same library.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name.startswith("Go") else name for name in PROXIES]
)
async def test_nothing_is_smuggled_through_a_proxy(name: str, behind: Service, tmp_path: Path) -> None:
    """None of the requests that are hidden in others is executed; the readers beside them get their own answers."""
    before = await forged(behind)
    with started(name, tmp_path, behind.port) as port:
        readers, room = Readers(port), asyncio.Semaphore(AT_ONCE)

        async def one(head: bytes, body: bytes, apart: bool) -> tuple[bytes, bytes]:
            async with room:
                return head, await attack(port, head, body, apart)

        async with readers.reading():
            found = await asyncio.gather(
                *(one(head, body, apart) for head, body in attacks() for apart in (False, True))
            )
        for head, answer in found:
            assert b"visitstats_" not in answer, head
        assert readers.served > 20
    assert await forged(behind) == before
