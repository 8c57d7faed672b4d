"""Reading closed periods as the store keeps them."""

from typing import Any

import msgspec
from redis.asyncio import Redis

from visitstats.core.closing import Closing, ClosingDamaged, decode_closing, thaw
from visitstats.store import keys
from visitstats.store.client import translated

PAGE = 16
"""Pieces that one command reads: 800 KB."""


class Closings:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def all(self, site: str) -> dict[str, Closing]:
        """Return the closings that are in force, by month, the first month first. One that is damaged is left out
        (`verify` names it); its month is closed all the same (`months`)."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.closed(site))
        closings = {}
        for month, data in sorted(found.items()):
            try:
                closings[month.decode()] = decode_closing(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
        return closings

    async def months(self, site: str) -> list[str]:
        """Return the closed months, the first one first."""
        with translated():
            found: Any = await self._client.hkeys(keys.closed(site))
        return sorted(month.decode("utf-8", "replace") for month in found)

    async def find(self, site: str, month: str) -> Closing | None:
        """Return the closing of a month; None for one that is open. Raises ClosingDamaged."""
        return self._read(month, await self._get(keys.closed(site), month))

    async def frozen_by(self, site: str, month: str, change_id: str) -> Closing | None:
        """Return the closing that a change made, whether it is in force or not. Raises ClosingDamaged."""
        return self._read(month, await self._get(keys.frozen(site, month), change_id))

    async def text(self, site: str, closing: Closing) -> bytes:
        """Return what was frozen (`core.closing`). Raises ClosingDamaged."""
        fields = [f"{closing.id}:{number}" for number in range(closing.pieces)]
        found: list[bytes | None] = []
        for start in range(0, len(fields), PAGE):
            with translated():
                piece: Any = await self._client.hmget(keys.frozen(site, closing.period), fields[start : start + PAGE])
            found += piece
        return thaw(closing, found)

    async def _get(self, name: str, field: str) -> bytes | None:
        with translated():
            found: Any = await self._client.hget(name, field)
        return found if isinstance(found, bytes) else None

    def _read(self, month: str, data: bytes | None) -> Closing | None:
        try:
            return None if data is None else decode_closing(data)
        except msgspec.DecodeError as error:
            raise ClosingDamaged(f"the closing of {month} cannot be read: {error}") from error
