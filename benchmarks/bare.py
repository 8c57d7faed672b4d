"""Contender (a), the floor: the least that an ASGI service behind uvicorn can do for a POST.

It reads the whole body and answers JSON of the size of a visitstats answer. It looks at nothing, so
whatever a counter costs above this is its own work.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

ANSWER = (
    b'{"site":"bench","online":18234,"today":20417,"yesterday":0,"week":20417,"last_week":0,"month":20417,"last_month":0,'
    b'"year":20417,"total":20417,"average":20417,"record":20417,"record_date":"2026-01-05","views":1234,"key":"/vi/news/tin-tuc-su-kien/tin-so-1234.html","at":"2026-01-05T10:52:41+07:00"}'
)
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))],
}
BODY = {"type": "http.response.body", "body": ANSWER}


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    await send(START)
    await send(BODY)
