"""Our HTTP protocol: uvicorn's, with a shorter way in and out for the data path.

In: a complete hit goes to the application's `take_at_once` instead of into a task of its own with its channels.
Out: an answer whose headers are constants goes out in one piece; uvicorn checks, lowers and joins every header of every
answer. What they bring is in docs/performance.md. Everything unusual goes uvicorn's way, and
so does everything on a server that is not ours.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast
from weakref import ref

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

EXTENSION = "visitstats.answer"
ROOT = b"/v1/sites/"
Answer = Callable[[int, bytes, bytes], None]
"""Sends a whole answer: status, header lines (each with its line break), body."""
LONGEST_HELD = 65_536
"""A body that grows beyond this is no hit; its request starts at once, so that it can be refused."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _held: tuple[RequestResponseCycle, Any] | None = None
    """A request of the data path whose body is not complete yet."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        path = cycle.scope["raw_path"]
        if (
            path.endswith(b"/hit")
            and path.startswith(ROOT)
            and b"%" not in path
            and cycle is self.cycle
            and cycle.more_body
            and not cycle.waiting_for_100_continue
        ):
            self._held = (cycle, app)
        else:
            self._start(cycle, app)

    def _start(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["raw_path"].startswith(ROOT):
            cast(dict[str, Any], cycle.scope)["extensions"] = {EXTENSION: partial(_answer, ref(cycle))}
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self._held is not None and len(self.cycle.body) > LONGEST_HELD:
            self._release()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._held is None:
            return
        cycle, app = self._held
        take_at_once = getattr(app, "take_at_once", None)
        if take_at_once is not None and take_at_once(cycle.scope, bytes(cycle.body), partial(_answer, cycle)):
            self._held = None
        else:
            self._release()

    def _release(self) -> None:
        """Let a held request go uvicorn's way."""
        if self._held is not None:
            cycle, app = self._held
            self._held = None
            self._start(cycle, app)


def _answer(
    holder: "RequestResponseCycle | ref[RequestResponseCycle]", status: int, headers: bytes, body: bytes
) -> None:
    """Write a whole answer and end the cycle, as RequestResponseCycle.send does in two steps.

    A cycle holds its scope, and that holds this function: by a weak reference, or each request would be garbage that
    only a collection finds (in a profile 18 % of a hit were collections).
    """
    cycle = holder() if isinstance(holder, ref) else holder
    if cycle is None or cycle.disconnected or cycle.response_started:
        return
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    dated = _lines(cycle.default_headers)
    if not cycle.keep_alive:
        dated += b"connection: close\r\n"
    cycle.transport.write(
        b"%b%b%bcontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], dated, headers, len(body), body)
    )
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Write the server's own headers, which are one: the date."""
    return b"%b: %b\r\n" % headers[0] if len(headers) == 1 else b"".join([b"%b: %b\r\n" % each for each in headers])
