"""One run of wrk with load.lua: what was sent, what was acknowledged, and how long it took."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal

import msgspec

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 256
# How long an answer that is due may take before the run gives up on it.
PATIENCE_SECONDS = 15.0

Mode = Literal["hit", "alive", "stats"]


class LoadFailed(Exception):
    """wrk did not run to its end; the text says what it printed."""


class Answers(msgspec.Struct, frozen=True):
    """What wrk counted. `sent` = `answered` unless something hung or broke."""

    sent: int
    answered: int
    ok: int
    """Answers with 200, without those that were not counted."""
    pending: int
    """Answers with 202."""
    ignored: int
    """Answers with 200 whose header says that the beacon was not counted."""
    other: int
    first_other: str
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    socket_errors: int

    @property
    def not_acknowledged(self) -> int:
        """Hits that may or may not have been counted: refused, ignored, or without an answer."""
        return self.sent - self.ok - self.pending


Hit = tuple[int, int]
"""(visitor, article), by their numbers in load.lua."""


def on_core(core: int) -> Callable[[], None]:
    """For `Popen(preexec_fn=…)`: pins the process, and all that it starts, to one core."""
    return lambda: os.sched_setaffinity(0, {core})


def run(
    wrk: str, port: int, mode: Mode, *, seconds: float, seed: int, visitors: int, articles: int, core: int, record: Path
) -> tuple[Answers, list[Hit]]:
    """Loads the service for `seconds`, waits for all answers, and gives them with the hits that were sent."""
    limit = seconds + PATIENCE_SECONDS
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{int(limit) + 1}s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/"]
    command += ["--", mode, str(seconds), str(seed), str(visitors), str(articles), str(record)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=on_core(core)
    ) as process:
        assert process.stdout is not None
        printed = _until_finished(process.stdout, time.monotonic() + limit)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        printed += process.stdout.read()
    for line in printed.splitlines():
        if line.startswith("result "):
            answers = msgspec.json.decode(line.removeprefix("result "), type=Answers)
            # In the script "ok" is every 200; a hit that was ignored is not an acknowledged one.
            return msgspec.structs.replace(answers, ok=answers.ok - answers.ignored), read_record(record)
    raise LoadFailed(f"wrk ended with status {process.returncode} and printed: {printed.strip()[-1000:]}")


def _until_finished(stream: IO[str], deadline: float) -> str:
    """Reads until the script says "finished", wrk ends, or the deadline passes."""
    printed = b""
    while b"finished\n" not in printed:
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(stream.fileno(), 65536) if ready else b""
        if not chunk:
            break
        printed += chunk
    return printed.decode(errors="replace")


def read_record(path: Path) -> list[Hit]:
    """The hits that load.lua wrote down, in the order in which they were sent."""
    hits = []
    with path.open() as file:
        for line in file:
            visitor, article = line.split()
            hits.append((int(visitor), int(article)))
    return hits
