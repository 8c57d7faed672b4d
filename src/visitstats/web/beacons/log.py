"""The log of a worker: one line per message, and no more lines when strangers send more requests."""

import logging
import sys
import time
from collections.abc import Callable

AGAIN_SECONDS = 60.0
FROM_REQUESTS = ("visitstats.web", "uvicorn", "asyncio", "starlette")
"""Loggers whose lines a request can cause."""
SUPERVISOR = "visitstats.web.server"
"""No request reaches it."""


def set_up_logging(level: str) -> None:
    """Log to stderr, one line a message; line breaks and control characters in it are escaped (hostile-inputs row
    36)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(OncePerMinute())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # APScheduler warns each time that a job takes longer than its period and is skipped once.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class OncePerMinute(logging.Filter):
    """Lets a line that requests cause through once a minute, with the number of those that were left out before it.

    Lines are the same when they come from the same place in the code, whatever they tell of a request. For other
    people's code, they are the same when the kind of the error is. `clock` tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[object, ...], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write a line."""
        if not record.name.startswith(FROM_REQUESTS) or record.name == SUPERVISOR:
            return True
        kind = record.exc_info[0] if record.exc_info else None
        text = record.msg if record.name.startswith("visitstats") else ""
        now = self._clock()
        seen = self._seen.setdefault((record.name, record.levelno, text, kind), [-AGAIN_SECONDS, 0])
        if now - seen[0] < AGAIN_SECONDS:
            seen[1] += 1
            return False
        left_out, seen[:] = int(seen[1]), [now, 0]
        if left_out:
            record.msg = f"{record.getMessage()} (and {left_out} more of this kind)"
            record.args = None
        return True


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        record = logging.makeLogRecord({**record.__dict__, "msg": _escape(text), "args": None})
        return super().format(record)


def _escape(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
