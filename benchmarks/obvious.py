"""Contender (b): the counter that anybody would write first, written as well as its design allows.

One Starlette route, one redis-py pipeline (one round trip) per hit. It is
kinder than most real ones: one round trip, no uvicorn proxy parser, a pool that waits instead of failing,
a unix socket, hiredis when installed. It still counts a hit twice when a beacon is delivered twice, loses what
Redis loses, and never forgets a visitor: the comparison is of cost, not of promises.
"""

import contextlib
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TypedDict
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, UnixDomainSocketConnection
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ONLINE_SECONDS = 300
# redis-py's default pool fails with HTTP 500 beyond 100 concurrent commands; wrk holds 256 connections.
POOL = 512


class State(TypedDict):
    redis: Redis


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    pool = BlockingConnectionPool(
        connection_class=UnixDomainSocketConnection, path=os.environ["OBVIOUS_REDIS_SOCKET"], max_connections=POOL
    )
    redis = Redis(connection_pool=pool)
    yield {"redis": redis}
    await redis.aclose()
    await pool.disconnect()


async def hit(request: Request) -> JSONResponse:
    beacon = await request.json()
    site = request.path_params["site"]
    redis: Redis = request.state.redis
    now = time.time()
    today = datetime.fromtimestamp(now, UTC)
    address = request.headers.get("x-forwarded-for", "")
    agent = request.headers.get("user-agent", "")
    visitor = blake2b(f"{site}|{address}|{agent}|{beacon['v']}".encode(), digest_size=8).hexdigest()
    key = urlsplit(beacon["u"]).path
    async with redis.pipeline(transaction=False) as pipe:
        pipe.incr(f"{site}:day:{today:%Y-%m-%d}")
        pipe.incr(f"{site}:week:{today:%G-%V}")
        pipe.incr(f"{site}:total")
        pipe.zadd(f"{site}:online", {visitor: now})
        pipe.zcount(f"{site}:online", now - ONLINE_SECONDS, "+inf")
        pipe.zincrby(f"{site}:articles", 1, key)
        day, week, total, _, online, views = await pipe.execute()
    return JSONResponse(
        {
            "site": site,
            "online": online,
            "today": day,
            "week": week,
            "total": total,
            "views": int(views),
            "key": key,
            "at": today.isoformat(timespec="seconds"),
        }
    )


app = Starlette(routes=[Route("/v1/sites/{site}/hit", hit, methods=["POST"])], lifespan=lifespan)
