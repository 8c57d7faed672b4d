"""A load generator in a process of its own: an open loop at a fixed mean rate, or a closed loop.

Open loop: the moments at which hits are due are drawn beforehand (Poisson arrivals) and do not wait for answers;
latency is from the moment at which a hit was due, so that a stall is not hidden. A hit takes the connection that has
been free for the longest time. Closed loop: every connection sends its next hit as soon as it has an answer.

It waits with `select`, whose timeouts are in microseconds: those of epoll are in milliseconds and would send the hits
of a millisecond together, which would flatter a service that gathers them.
"""

import contextlib
import itertools
import os
import random
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from benchmarks.beacons import Hit, Plan, requests
from benchmarks.load import LoadFailed, on_core, read_record
from benchmarks.machine import prefer

PROJECT = Path(__file__).resolve().parent.parent
CONNECTIONS = 32
"""Of the open loop: what a reverse proxy keeps open. More than that may wait only when the service stalls."""
PATIENCE_SECONDS = 20.0
"""How long an answer may take before the run gives up on it."""
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_IGNORED = re.compile(rb"(?i)\r\nx-visitstats: *ignored; *reason=([\w-]+)")


class Order(msgspec.Struct, frozen=True):
    """What the generator's process is to do."""

    port: int
    plan: Plan
    record: str
    """File for the hits that were sent."""
    rate: float = 0.0
    """Hits a second in the mean; 0 is a closed loop."""
    seconds: float = 0.0
    """Of an open loop."""
    count: int = 0
    """Hits of a closed loop."""
    warm: float = 0.0
    """Seconds of the same open loop, or hits of the same closed loop, before what is measured."""
    connections: int = CONNECTIONS


class Answers(msgspec.Struct, frozen=True):
    """What became of the measured hits; milliseconds."""

    sent: int
    ok: int
    """200, counted or delivered before."""
    pending: int
    """202."""
    refused: int
    """Anything else: not counted, another status, no answer."""
    first_refused: str
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float
    """How late the generator itself sent what was due, and what a connection was free for: what it adds."""
    warm_refused: int

    @property
    def acknowledged(self) -> int:
        return self.ok + self.pending


class _Connection:
    __slots__ = ("buffer", "due", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.due = 0.0
        """When the hit was due whose answer is awaited; 0 for none."""


class _Loop:
    """Sends hits and takes their answers, over connections that stay open from one `run` to the next."""

    def __init__(self, order: Order, record: IO[str]) -> None:
        self._order = order
        self._record = record
        self._requests = requests(order.plan)
        # epoll for many connections that are always busy, select for few that have to be on time.
        self._selector = selectors.SelectSelector() if order.rate else selectors.EpollSelector()
        self._free: deque[_Connection] = deque()
        self._busy = 0
        self._blocked_until = 0.0
        """When a connection became free again after all had been busy."""
        self.reset()
        for _ in range(order.connections):
            self._connect()

    def reset(self) -> None:
        self.sent = self.ok = self.pending = self.refused = 0
        self.first_refused = ""
        self.taken: list[float] = []
        self.late: list[float] = []

    def _connect(self) -> None:
        connection = _Connection(self._order.port)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._free.append(connection)

    def run(self, due: Iterator[float] | None, count: int) -> float:
        """Send the hits of the moments `due`, or `count` hits without a pause; return the seconds until the last
        answer."""
        began = heard = now = time.monotonic()
        following = began + next(due) if due else (began if count else None)
        while following is not None or self._busy:
            now = time.monotonic()
            while self._free and following is not None and following <= now:
                if not self._send(following if due else now, now):
                    following = None
                    break
                if due:
                    moment = next(due, None)
                    following = None if moment is None else began + moment
                elif self.sent >= count:
                    following = None
                now = time.monotonic()
            wait = PATIENCE_SECONDS
            if self._free and following is not None:
                wait = max(0.0, following - now)
            ready = self._selector.select(wait)
            now = time.monotonic()
            for key, _ in ready:
                heard = now
                self._receive(key.data, now)
            if self._busy and now - heard > PATIENCE_SECONDS:
                raise LoadFailed(f"{self._busy} hits were not answered in {PATIENCE_SECONDS:.0f} s")
            if not self._busy:
                heard = now
        return now - began

    def _send(self, due: float, now: float) -> bool:
        found = next(self._requests, None)
        if found is None:
            return False
        hit, request = found
        self._record.write(f"{hit[0]} {hit[1]}\n")
        self.sent += 1
        self.late.append(now - max(due, self._blocked_until))
        connection = self._free.popleft()
        connection.due = due
        self._busy += 1
        try:
            connection.socket.sendall(request)
        except OSError as error:
            self._broken(connection, str(error))
        return True

    def _receive(self, connection: _Connection, now: float) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError as error:
            self._broken(connection, str(error))
            return
        if not data:
            self._broken(connection, "the connection was closed")
            return
        buffer = connection.buffer = connection.buffer + data if connection.buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(buffer, 0, end)
        if len(buffer) < end + 4 + (int(length[1]) if length else 0):
            return
        connection.buffer = b""
        self.taken.append(now - connection.due)
        connection.due = 0.0
        self._busy -= 1
        if not self._free:
            self._blocked_until = now
        self._free.append(connection)
        status = buffer[9:12]
        ignored = _IGNORED.search(buffer, 0, end)
        if status == b"202":
            self.pending += 1
        elif status == b"200" and (ignored is None or ignored[1] == b"duplicate"):
            self.ok += 1
        else:
            self._refuse(buffer[:200].decode(errors="replace"))

    def _broken(self, connection: _Connection, why: str) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
        if connection.due:
            self._busy -= 1
            self._refuse(why)
        else:
            self._free.remove(connection)
        self._connect()

    def _refuse(self, why: str) -> None:
        self.refused += 1
        self.first_refused = self.first_refused or why


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Moments of Poisson arrivals, in seconds from the beginning."""
    chance = random.Random(seed)
    moment = chance.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += chance.expovariate(rate)


def main() -> int:
    """The generator's process: reads an order, warms up, says "warm", waits for a line, measures, says "done"."""
    # It should be on time even if others use its core.
    os.setsid()
    prefer(os.getpid())
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    with Path(order.record).open("w") as record:
        loop = _Loop(order, record)
        if order.warm:
            _run(order, loop, order.warm, seed=order.plan.seed + 1)
        refused = loop.refused
        loop.reset()
        sys.stdout.write("warm\n")
        sys.stdout.flush()
        sys.stdin.buffer.readline()
        seconds = _run(order, loop, order.seconds if order.rate else order.count, seed=order.plan.seed)
        sys.stdout.write("done\n")
        sys.stdout.flush()
    answers = Answers(
        sent=loop.sent,
        ok=loop.ok,
        pending=loop.pending,
        refused=loop.refused,
        first_refused=loop.first_refused,
        seconds=seconds,
        p50_ms=1000 * statistics.median(loop.taken or [0.0]),
        p99_ms=1000 * _p99(loop.taken),
        max_ms=1000 * max(loop.taken, default=0.0),
        late_p99_ms=1000 * _p99(loop.late),
        warm_refused=refused,
    )
    sys.stdout.buffer.write(msgspec.json.encode(answers) + b"\n")
    return 0


def _run(order: Order, loop: _Loop, much: float, seed: int) -> float:
    if order.rate:
        # At a low rate a short time may have no arrival at all.
        moments = arrivals(order.rate, much, seed)
        first = next(moments, None)
        return loop.run(itertools.chain([first], moments), 0) if first is not None else 0.0
    return loop.run(None, int(much))


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] if values else 0.0


def _nothing() -> None:
    pass


def run(
    order: Order, core: int, *, begin: Callable[[], None] = _nothing, end: Callable[[], None] = _nothing
) -> tuple[Answers, list[Hit]]:
    """Run the generator on a core; `begin` is called when it is warm, `end` when the last answer is there.

    Returns what became of the measured hits, and all hits that were sent, those of the warm-up included.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pace"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT, preexec_fn=on_core(core),
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        printed = b""
        try:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            process.stdin.flush()
            if process.stdout.readline() == b"warm\n":
                begin()
                process.stdin.write(b"go\n")
                process.stdin.flush()
                if process.stdout.readline() == b"done\n":
                    end()
                    printed = process.stdout.readline()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        if not printed:
            raise LoadFailed(f"the load generator failed: {process.stderr.read().decode()[-1000:]}")
    return msgspec.json.decode(printed, type=Answers), read_record(Path(order.record))


if __name__ == "__main__":
    sys.exit(main())
