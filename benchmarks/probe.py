"""How long a store is held by whatever it does: a client that sends PING every 0.2 ms, in a process of its own.

A PING that waits says that the store was busy, or that the machine was. So the client also reads what CPU time the
store's thread used while the PING waited: that is what a script or a command held it for, whoever else uses the
machine. It is exact when both run on one core, because the store has been switched out when the client reads. The third
witness is the store's own slow log, which names the command.
"""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import msgspec
from redis import Redis

from benchmarks.load import on_core

PROJECT = Path(__file__).resolve().parent.parent
PAUSE_SECONDS = 0.0002
SLOW_US = 500
"""What the slow log takes note of."""
SLOW_LENGTH = 4096


class Hold(msgspec.Struct, frozen=True):
    """The longest waits of one watch, in milliseconds."""

    pings: int
    wall_ms: float
    """The longest wait of a PING."""
    cpu_ms: float
    """The most CPU time of the store's thread during one wait: the longest hold."""
    p999_ms: float
    over_5ms: int
    """Waits in which the store used more than 5 ms."""
    slowest_ms: float = 0.0
    """The longest command by the store's own slow log; 0 when none took SLOW_US."""
    slowest: str = ""


class Probe:
    """Watches the store of `client`, whose process is `pid`, from the core on which that runs."""

    def __init__(self, client: Redis, path: str, pid: int, core: int) -> None:
        self._client = client
        client.config_set("slowlog-log-slower-than", SLOW_US)
        client.config_set("slowlog-max-len", SLOW_LENGTH)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.probe", path, str(pid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT, preexec_fn=on_core(core),
        )  # fmt: skip
        self._mark()

    def begin(self) -> None:
        """Forget what was seen so far."""
        self._mark()
        self._client.slowlog_reset()

    def end(self) -> Hold:
        """What was seen since `begin`."""
        hold = self._mark()
        slow = self._client.slowlog_get(SLOW_LENGTH)
        if not slow:
            return hold
        worst = max(slow, key=lambda entry: int(entry["duration"]))
        return msgspec.structs.replace(hold, slowest_ms=worst["duration"] / 1000, slowest=_short(worst["command"]))

    def _mark(self) -> Hold:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Hold)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


def _short(command: bytes) -> str:
    """The command's name and its first words that can be printed: EVALSHA, the script's digest, its first key."""
    words = [word[:44].decode() for word in command.split(b" ")[:4] if word.isascii() and word.decode().isprintable()]
    return " ".join(word[:8] if len(word) == 40 else word for word in words)[:42]


def main() -> int:
    """The client's process: for each line on its input it writes what it has seen since the line before."""
    path, pid = sys.argv[1], int(sys.argv[2])
    with contextlib.suppress(PermissionError):
        # At once when the store has answered, whoever else wants the core; without the right to that it waits.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    used = os.open(f"/proc/{pid}/schedstat", os.O_RDONLY)
    asked = select.poll()
    asked.register(0, select.POLLIN)
    walls: list[int] = []
    busy: list[int] = []
    with socket.socket(socket.AF_UNIX) as store:
        store.connect(path)
        while True:
            before = int(os.pread(used, 64, 0).split()[0])
            sent = time.perf_counter_ns()
            store.sendall(b"PING\r\n")
            if not store.recv(64):
                return 0
            walls.append(time.perf_counter_ns() - sent)
            busy.append(int(os.pread(used, 64, 0).split()[0]) - before)
            if asked.poll(0):
                if not os.read(0, 64):
                    return 0
                sys.stdout.buffer.write(msgspec.json.encode(_hold(walls, busy)) + b"\n")
                sys.stdout.flush()
                walls.clear()
                busy.clear()
            time.sleep(PAUSE_SECONDS)


def _hold(walls: list[int], busy: list[int]) -> Hold:
    return Hold(
        pings=len(walls),
        wall_ms=max(walls) / 1e6,
        cpu_ms=max(busy) / 1e6,
        p999_ms=sorted(walls)[int(len(walls) * 0.999)] / 1e6,
        over_5ms=sum(1 for ns in busy if ns > 5_000_000),
    )


if __name__ == "__main__":
    sys.exit(main())
