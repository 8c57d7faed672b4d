"""How the last runs of scheduled tasks went: one record for each task in the store."""

from typing import Any

import msgspec
from redis.asyncio import Redis

from visitstats.store import keys
from visitstats.store.client import translated


class Run(msgspec.Struct, frozen=True):
    """The last run of a task."""

    at_ms: int
    """When it began."""
    seconds: float
    right: bool
    said: str
    """What it did, or why it failed; in a line."""
    host: str
    succeeded_ms: int = 0
    """When the last successful run began; 0 for never."""
    problems: int | None = None
    """How many contradictions it found; None when the task does not look for any, or could not."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Run).decode


class Runs:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def all(self) -> dict[str, Run]:
        """Return the last run of each task that ever ran; a record that is damaged is left out."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.TASKS)
        runs = {}
        for name, record in found.items():
            try:
                runs[name.decode()] = _decode(record)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
        return runs

    async def note(self, name: str, run: Run) -> None:
        """Keep how a run of a task went."""
        before = run if run.right else (await self.all()).get(name)
        succeeded = run.at_ms if run.right else before.succeeded_ms if before else 0
        with translated():
            await self._client.hset(keys.TASKS, name, _encode(msgspec.structs.replace(run, succeeded_ms=succeeded)))
