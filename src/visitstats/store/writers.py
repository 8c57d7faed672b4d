"""Reads the writers of all hosts, and their watermarks in the ledgers: once a second, so it has to cost little."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from visitstats.store import keys
from visitstats.store.client import translated
from visitstats.store.line import ScriptLine
from visitstats.store.reads import Mark, mark_of

PIECE = 200
"""Sites of one command: 0.3 ms on the server."""


UNKNOWN = b"?"
"""Stands for the watermarks of a site that were not read yet; it equals no answer. A site without watermarks answers an
empty text."""


class Writers:
    """Every method may raise StoreUnavailable."""

    def __init__(self, url: str, client: Redis) -> None:
        self._client = client
        # A line of its own: packing 400 arguments takes redis-py 0.4 ms, each second.
        self._line = ScriptLine(url, {"marks": (files("visitstats.store") / "lua" / "marks.lua").read_bytes()})
        self._known: dict[str, bytes] = {}

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def join(self, hosts: Mapping[str, str]) -> None:
        """Note which host has the journal of a writer."""
        mapping: Any = hosts
        with translated():
            await self._client.hset(keys.HOSTS, mapping=mapping)

    async def many(self) -> int:
        """Return how many writers are known."""
        with translated():
            return int(await self._client.hlen(keys.HOSTS))

    async def hosts(self) -> dict[str, str]:
        """Return the host of each writer that is known."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.HOSTS)
        return {writer.decode("ascii", "replace"): host.decode("utf-8", "replace") for writer, host in found.items()}

    async def moved(self, sites: list[str]) -> dict[str, dict[str, Mark]]:
        """Return the watermarks of those of these sites of which some have changed since the last time."""
        found: dict[str, dict[str, Mark]] = {}
        known: dict[str, bytes] = {}
        for start in range(0, len(sites), PIECE):
            piece = sites[start : start + PIECE]
            names = [keys.marks(site) for site in piece]
            before: list[bytes | str | int] = [self._known.get(site, UNKNOWN) for site in piece]
            [reply] = await self._line.run([("marks", names, before)])
            if isinstance(reply, ResponseError):
                continue  # a key of another type: the start and `doctor` say so
            for place, now, marks in reply:
                site = piece[place]
                known[site] = now
                found[site] = {
                    writer.decode("ascii", "replace"): mark_of(mark)
                    for writer, mark in zip(marks[::2], marks[1::2], strict=True)
                }
        self._known |= known  # only now: what was lost on the way is asked for again
        return found
