"""The log of the service: one line a message, and one cause at most once a minute, whichever process writes it.

Rule 1: of lines that repeat while something lasts, only the first is written; the next line of the kind, a minute
        later, has the number of those that were left out. So neither a store that refuses nor a stranger fills a disk.
Rule 2: lines have the same cause when they come from the same place in the code, or name the same cause
        (`extra={"cause": …}`), whatever request or site they mention.
Rule 3: a line that tells the state of something (`extra={"about": …}`) is written when it differs from the last line
        about it, of any process. A line that was left out is written later only if it is still true.
Rule 4: a line about an event that happens once (`extra=ALWAYS`: a start, a worker that died) is never left out.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Any, TextIO

from visitstats.system.board import Board

AGAIN_SECONDS = 60.0
"""How long after a line of a cause no other one is written."""
LOOK_SECONDS = 5.0
"""How often a process checks whether a line that was left out may be written by now."""
ALWAYS = {"always": True}
FORMS = ("text", "json")
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Level → priority in the system's log (sd-daemon(3))."""


def set_up_logging(level: str, form: str = "text", board: Board | None = None) -> None:
    """Log to stderr, as text or as JSON. Processes that share a board together write one line of a cause a minute."""
    handler = Lines(sys.stderr, OncePerMinute(board or Board()))
    handler.setFormatter(JsonForm() if form == "json" else TextForm(for_system_log=_is_system_log(sys.stderr)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # APScheduler warns each time that it skips a job whose last run has not ended.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def tell_left_out() -> None:
    """Write one line for each cause whose lines were left out for a minute, with their number. To be called each
    second."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Lines):
            handler.tell_left_out()


def forget_left_out() -> None:
    """Forget the lines that were left out in the parent of a forked process: the parent writes them itself."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Lines):
            handler.forget_left_out()


class _Seen:
    """A cause, as one process knows it."""

    __slots__ = ("last", "left_out", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.left_out = 0
        self.last: logging.LogRecord | None = None
        """The last line that was left out."""


class OncePerMinute(logging.Filter):
    """Lets a line of each cause through once a minute, with the number of those that were left out before it. `clock`
    tells seconds, the same in all processes of the board."""

    def __init__(self, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._board = board
        self._clock = clock
        self._seen: dict[int, _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is written."""
        if getattr(record, "always", False):
            return True
        now, cause = self._clock(), _cause(record)
        if self._is_said(record, cause):
            return False
        seen = self._seen.get(cause)
        if seen is None:
            seen = self._seen[cause] = _Seen()
        elif now < seen.until:
            seen.left_out += 1
            seen.last = record
            return False
        left_out = self._board.claim(cause, now, AGAIN_SECONDS, seen.left_out + 1)
        if left_out is None:  # another process has written one
            seen.until, seen.left_out, seen.last = now + LOOK_SECONDS, 0, record
            return False
        seen.until, seen.left_out, seen.last = now + AGAIN_SECONDS, 0, None
        record.left_out = left_out - 1
        self._say(record, cause, now)
        return True

    def _is_said(self, record: logging.LogRecord, cause: int) -> bool:
        about = getattr(record, "about", "")
        if not about:
            return False
        for other, seen in self._seen.items():
            if other != cause and seen.last is not None and getattr(seen.last, "about", "") == about:
                seen.last = None  # it is not true any more
        return self._board.says(_number(about), cause)

    def _say(self, record: logging.LogRecord, cause: int, now: float) -> None:
        if about := getattr(record, "about", ""):
            self._board.say(_number(about), cause, now)

    def forget(self) -> None:
        """Forget all lines that were left out."""
        self._seen.clear()

    def due(self, *, at_once: bool = False) -> list[logging.LogRecord]:
        """Return the last line of each cause whose lines were left out and that had no line for a minute."""
        now, found = self._clock(), list[logging.LogRecord]()
        for cause, seen in self._seen.items():
            if seen.last is None or (now < seen.until and not at_once):
                continue
            left_out = self._board.claim(cause, now, 0 if at_once else AGAIN_SECONDS, seen.left_out, least=1)
            if left_out is None:
                seen.until, seen.left_out = now + LOOK_SECONDS, 0
                continue
            if left_out and not self._is_said(seen.last, cause):
                self._say(seen.last, cause, now)
                seen.last.left_out = left_out - 1
                seen.last.exc_info = None  # the first of them had it
                found.append(seen.last)
            seen.until, seen.left_out, seen.last = now + AGAIN_SECONDS, 0, None
        return sorted(found, key=lambda record: record.created)


def _cause(record: logging.LogRecord) -> int:
    named = getattr(record, "cause", None)
    if named is None and not record.name.startswith("visitstats"):
        # The texts of libraries differ with each request, so the type of the error stands for the cause.
        named = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    elif named is None:
        named = record.msg
    return _number(f"{record.name}\0{record.levelno}\0{named}")


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest(), "little") | 1


class Lines(logging.StreamHandler[TextIO]):
    """Writes lines that the filter lets through, and later those that it has left out."""

    def __init__(self, stream: TextIO, once: OncePerMinute) -> None:
        super().__init__(stream)
        self._once = once
        self.addFilter(once)

    def tell_left_out(self, *, at_once: bool = False) -> None:
        """Write the lines that are due."""
        self.acquire()
        try:
            for record in self._once.due(at_once=at_once):
                self.emit(record)
        finally:
            self.release()

    def forget_left_out(self) -> None:
        """Forget the lines that were left out so far."""
        self._once.forget()

    def close(self) -> None:
        """Write the lines that were left out so far, and close."""
        self.tell_left_out(at_once=True)
        super().close()


class TextForm(logging.Formatter):
    """A line for people: moment with offset, level, place, process, message. Line breaks and control characters in it
    are escaped (hostile-inputs row 36)."""

    def __init__(self, *, for_system_log: bool = False) -> None:
        super().__init__()
        self._for_system_log = for_system_log

    def format(self, record: logging.LogRecord) -> str:
        left_out = getattr(record, "left_out", 0)
        more = f" (and {left_out} more of this kind)" if left_out else ""
        text = (
            f"{_moment(record)} {record.levelname} {record.name}[{record.process}]: "
            f"{_escape(record.getMessage())}{more}"
        )
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._for_system_log:
            mark = f"<{_PRIORITIES.get(record.levelno, 6)}>"
            text = "\n".join(mark + line for line in text.split("\n"))
        return text


class JsonForm(logging.Formatter):
    """A line for programs: one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if left_out := getattr(record, "left_out", 0):
            found["left_out"] = left_out
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        text = json.dumps(found, ensure_ascii=False)
        return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def _escape(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _is_system_log(stream: TextIO) -> bool:
    """Whether a stream is the system's log, which understands priorities: systemd says which file that is."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
