"""Notes answers for the metrics, by route and status. A route is the path as it is declared, never the path of a
request."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]
Note = Callable[[str, int], None]
"""Is called with the route and the status of an answer."""

ROUTE = "visitstats.route"
"""The key of a request's scope for the route that serves it (`web/gate.py`)."""
OTHER = "other"
"""Stands for requests that no route serves."""


def noted(app: App, note: Note) -> App:
    """Wrap an application so that its answers are noted; websockets and the lifespan have none."""

    async def serve(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(scope.get(ROUTE, OTHER), message["status"])
            await send(message)

        await app(scope, receive, send_noted)

    return serve


def sending(send: Send, route: str, note: Note) -> Send:
    """Wrap `send` so that the answers of one route are noted."""

    async def send_noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            note(route, message["status"])
        await send(message)

    return send_noted


def answering(
    answer: Callable[[int, bytes, bytes], None], route: str, note: Note
) -> Callable[[int, bytes, bytes], None]:
    """Wrap the short way to answer so that the answers of one route are noted."""

    def answer_noted(status: int, headers: bytes, body: bytes) -> None:
        note(route, status)
        answer(status, headers, body)

    return answer_noted
