"""Clients of the real store for the store's own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.store.merging import Merging


@pytest_asyncio.fixture
async def raw(redis_url: str) -> AsyncIterator[Redis]:
    """A plain client, for looking at keys behind the store's back; it answers bytes and never retries."""
    async with Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0)) as client:
        yield client


@pytest_asyncio.fixture
async def merging(redis_url: str, raw: Redis) -> AsyncIterator[Merging]:
    """A writer of changes on the empty store."""
    found = Merging(redis_url, raw)
    yield found
    await found.close()
