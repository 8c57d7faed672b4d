"""A body in chunks (RFC 9112, 7.1), read by its grammar and not a byte beyond it."""

import re

from visitstats.web.beacons.heads import HEAD_TOO_LARGE, Refused

LONGEST_LINE = 1024
"""The most bytes of the line with a chunk's size and its extensions."""
LONGEST_TRAILERS = 8192

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:" + _EXTENSION + rb")*\r\n")
_TRAILER = re.compile(_TOKEN + rb":[\t -~\x80-\xff]*\r\n")


class Chunks:
    """One body. Trailers are read and thrown away: a request is decided by its head alone."""

    __slots__ = ("_at_end", "_left", "_line", "_trailers", "is_complete")

    def __init__(self) -> None:
        self._left = 0
        """How many bytes of the chunk are still to come, with the line break behind them."""
        self._line = b""
        """The beginning of a line that is not complete yet."""
        self._at_end = False
        """Whether the last chunk is here; trailers may follow."""
        self._trailers = 0
        self.is_complete = False

    def take(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Read the part of the body that begins at `at`; return its content and where it ended. Raises Refused."""
        if self._line:
            # A line that came in pieces. Lines are short, so that joining them is cheap.
            data, at, before = self._line + data[at:], 0, at - len(self._line)
            self._line = b""
        else:
            before = 0
        found: list[bytes] = []
        end = len(data)
        while at < end and not self.is_complete:
            if self._left > 2:
                piece = data[at : at + self._left - 2]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
            elif self._left:
                if data[at] != b"\n\r"[self._left - 1]:
                    raise Refused("a chunk ends with CR LF")
                at += 1
                self._left -= 1
            else:
                at = self._take_line(data, at)
        return b"".join(found), at + before

    def _take_line(self, data: bytes, at: int) -> int:
        stop = data.find(b"\n", at, at + LONGEST_TRAILERS) + 1
        if not stop:
            self._line = data[at:]
            if len(self._line) > (LONGEST_TRAILERS if self._at_end else LONGEST_LINE):
                raise Refused("a line between chunks is too long")
            return len(data)
        if not self._at_end:
            size = _SIZE.fullmatch(data, at, stop)
            if size is None or stop - at > LONGEST_LINE:
                raise Refused("a chunk begins with its size")
            self._left = int(size[1], 16) + 2
            if self._left == 2:
                self._left, self._at_end = 0, True
        elif data[at:stop] == b"\r\n":
            self.is_complete = True
        else:
            self._trailers += stop - at
            if not _TRAILER.fullmatch(data, at, stop):
                raise Refused("a trailer is not a header field")
            if self._trailers > LONGEST_TRAILERS:
                raise Refused("the trailers are too long", *HEAD_TOO_LARGE)
        return stop
