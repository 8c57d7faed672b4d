"""Sites that were removed. Their counts are kept for 30 days, and come back when a site with the same id is added; then
their keys are deleted, in pieces that hold the server for well under a millisecond.

Their watermarks stay 30 days longer, so that no replay of a journal brings deleted counts back: a record at or below
the watermark is not applied again.
"""

from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import WatchError

from visitstats.store import keys
from visitstats.store.client import translated

KEPT_MS = 30 * keys.DAY_MS
"""How long after its removal a site may be brought back."""
MARKS_MS = 30 * keys.DAY_MS
"""How long its watermarks are kept after that. Journals keep records for a day."""
SCANNED, DELETED = 500, 50
"""How many keys one command looks at, or deletes."""


class Removed(msgspec.Struct, frozen=True):
    """What is kept of a removed site."""

    at_ms: int
    record: str = ""
    """The site's record (JSON)."""
    deleting_ms: int = 0
    """Since when its keys are being deleted: it cannot be brought back any more."""
    deleted_ms: int = 0
    """When all of its keys were deleted."""

    @property
    def is_kept(self) -> bool:
        """Whether its counts are still there, as a whole."""
        return not self.deleting_ms


encode_removed = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Removed).decode


def decode_removed(data: bytes) -> Removed | None:
    """Read what is kept of a removed site; None for what is damaged."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Removals:
    """Every method may raise StoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def all(self) -> dict[str, Removed]:
        """Return what is kept of removed sites, by their ids."""
        with translated():
            found: dict[Any, Any] = await self._client.hgetall(keys.SITES_REMOVED)
        return {
            name.decode(): removed
            for name, record in sorted(found.items())
            if (removed := decode_removed(record)) is not None
        }

    async def has_counts(self, site: str) -> bool:
        """Whether there are counts or changes under an id, whatever site they are of."""
        with translated():
            return bool(await self._client.exists(keys.counts(site), keys.articles(site), keys.changes(site)))

    async def delete_due(self, now_ms: int) -> list[str]:
        """Delete the keys of sites that were removed long enough ago; return which."""
        done = []
        for site, removed in (await self.all()).items():
            if removed.deleted_ms:
                if now_ms - removed.deleted_ms >= MARKS_MS and await self._note(site, None):
                    with translated():
                        await self._client.unlink(keys.marks(site))
                continue
            is_due = removed.deleting_ms or now_ms - removed.at_ms >= KEPT_MS
            if is_due and await self._delete(site, removed, now_ms):
                done.append(site)
        return done

    async def delete_now(self, site: str, now_ms: int) -> None:
        """Delete the keys of a site that was never in use, and take it off the list."""
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hdel(keys.SITES, site)
                pipe.hset(keys.SITES_REMOVED, site, encode_removed(Removed(now_ms)))
                await pipe.execute()
        await self._delete(site, Removed(now_ms), now_ms)

    async def _delete(self, site: str, removed: Removed, now_ms: int) -> bool:
        # From here on the site cannot be added again: half of its counts would be worse than none.
        begun = msgspec.structs.replace(removed, deleting_ms=removed.deleting_ms or now_ms)
        if not await self._note(site, begun):
            return False
        kept = keys.marks(site).encode()
        cursor = 0
        while True:
            with translated():
                page: Any
                cursor, page = await self._client.scan(cursor, match=keys.of_site(site), count=SCANNED)
                names = [name for name in page if name != kept]
                for start in range(0, len(names), DELETED):
                    await self._client.unlink(*names[start : start + DELETED])
            if not cursor:
                break
        with translated():
            await self._client.hdel(keys.SITES_ALIASES, site)
        return await self._note(site, Removed(removed.at_ms, "", begun.deleting_ms, now_ms))

    async def _note(self, site: str, removed: Removed | None) -> bool:
        """Keep or forget what is known of a removed site, unless it was added again."""
        with translated():
            async with self._client.pipeline() as pipe:
                await pipe.watch(keys.SITES, keys.SITES_REMOVED)
                there: Any = await pipe.hexists(keys.SITES, site)
                noted: Any = await pipe.hexists(keys.SITES_REMOVED, site)
                if there or not noted:
                    return False
                pipe.multi()  # type: ignore[no-untyped-call]
                if removed is None:
                    pipe.hdel(keys.SITES_REMOVED, site)
                else:
                    pipe.hset(keys.SITES_REMOVED, site, encode_removed(removed))
                try:
                    await pipe.execute()
                except WatchError:
                    return False  # the next run looks again
        return True
