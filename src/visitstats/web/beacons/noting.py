"""Which answers were given, for the metrics: by route and status. A route is the path as it is declared, never the one
that was asked for."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]
Note = Callable[[str, int], None]
"""Told the route and the status of an answer."""

ROUTE = "visitstats.route"
"""Of a request's scope, the route that serves it (`web/gate.py`)."""
OTHER = "other"
"""What no route serves."""


def noted(app: App, note: Note) -> App:
    """Have the answers of an application noted; of a websocket or lifespan there are none."""

    async def serve(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(scope.get(ROUTE, OTHER), message["status"])
            await send(message)

        await app(scope, receive, send_noted)

    return serve


def sending(send: Send, route: str, note: Note) -> Send:
    """Have the answers of one route noted."""

    async def send_noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            note(route, message["status"])
        await send(message)

    return send_noted


def answering(
    answer: Callable[[int, bytes, bytes], None], route: str, note: Note
) -> Callable[[int, bytes, bytes], None]:
    """The same for the server's short way to answer."""

    def answer_noted(status: int, headers: bytes, body: bytes) -> None:
        note(route, status)
        answer(status, headers, body)

    return answer_noted
