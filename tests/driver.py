"""An outsider's driver: a real `visitstats serve`, and load on it of which everything that was acknowledged is known.

Written from the contract alone (the routes, the commands, the numbered counting rules): it knows nothing of how the
service keeps its numbers. `tests/client.py` is what a browser does, `tests/judge.py` the arithmetic to compare with.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.client import HOST, Connection, Hit, until
from tests.ports import free_port
from tests.waiting import POLL_SECONDS, eventually, wait_until

PROGRAM = Path(sys.executable).with_name("visitstats")
LISTENS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)")

EACH_ITS_OWN = (
    "--views", "every-load", "--new-articles", "1000000", "--office", "0.0.0.0/0", "--office", "::/0",
)  # fmt: skip
"""Options of a site in which each hit may read an article of its own: wherever the tests' senders come from, none of
their networks has a limit of new articles or of visitors."""


class Service:
    """`visitstats serve` as a process of its own, on a free port that stays the same when it is started again."""

    def __init__(self, data_dir: Path, *, workers: int = 2, redis_url: str = "", options: tuple[str, ...] = ()) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.metrics_port = free_port()
        self.workers_wanted = workers
        self._options = (*(("--redis-url", redis_url) if redis_url else ()), *options)
        self._log = data_dir.with_name(f"{data_dir.name}.log")
        self._process: subprocess.Popen[bytes] | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VISITSTATS_")}
        self.environ = kept | {"VISITSTATS_DATA_DIR": str(data_dir)}
        if redis_url:
            self.environ["VISITSTATS_REDIS_URL"] = redis_url

    def start(self, seconds: float = 30.0, *, ready: bool = True) -> None:
        """Start it and wait until it takes hits; not `ready`, until it listens and its workers are on their way."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        known = self._log.stat().st_size if self._log.exists() else 0
        command = [
            str(PROGRAM),
            "serve",
            "--port",
            str(self.port),
            "--workers",
            str(self.workers_wanted),
            "--metrics-port",
            str(self.metrics_port),
            *self._options,
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.environ, cwd=self.data_dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

        def listens() -> re.Match[str] | None:
            assert self.running, f"it ended at the start:\n{self.log}"
            return LISTENS.search(self._log.read_bytes()[known:].decode())

        wait_until(listens, "the service says where it listens", seconds)
        found = listens()
        assert found is not None
        self.port = int(found[1])
        Connection.operators(self.port, self.metrics_port)
        if ready:
            wait_until(self._ready, "the service is ready", seconds)
        else:
            wait_until(lambda: len(self.workers) == self.workers_wanted, "its workers run", seconds)

    def _ready(self) -> bool:
        assert self.running, f"it ended at the start:\n{self.log}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> dict[int, str]:
        """Every process below the service, with its command line."""
        return children_of(self.pid)

    @property
    def workers(self) -> list[int]:
        running = _processes()
        own = running[self.pid][1]  # they are forked from it
        return [pid for pid, (parent, command) in running.items() if parent == self.pid and command == own]

    @property
    def store(self) -> int:
        """The embedded store's process id."""
        return next(pid for pid, command in self.children().items() if re.search("(valkey|redis)-server", command))

    def cli(self, *arguments: str) -> str:
        """Run another command on the same data, and return what it prints."""
        done = subprocess.run(
            [str(PROGRAM), *arguments], env=self.environ, cwd=self.data_dir, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add_site(self, site: str, *options: str, host: str = HOST) -> None:
        """Add a site; running workers see it within a second."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.cli("site", "add", site, "--host", host, *options)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end and return the exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> None:
        """Stop it in an orderly way, and by force what is left of it."""
        if self._process is None:
            return
        Connection.private.pop(self.port, None)
        children = self.children() if self.running else {}
        if self.running:
            self.terminate()
        try:
            self.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)

    def worker_of(self, connection: Connection) -> int:
        """The worker that holds the other end of a connection, 0 if none has taken it yet (Linux)."""
        ends = (f":{self.port:04X}", f":{connection.local_port:04X}")
        for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
                for pid in self.workers:
                    with contextlib.suppress(OSError):
                        if any(os.readlink(fd) == f"socket:[{fields[9]}]" for fd in Path(f"/proc/{pid}/fd").iterdir()):
                            return pid
        return 0

    async def connections(self, each: int = 1, seconds: float = 20.0) -> list[Connection]:
        """Open connections until every worker holds `each` of them; the first worker's come first."""
        # The one that takes a killed one's place is on its way within a second or so, on a busy machine later.
        await eventually(lambda: len(self.workers) == self.workers_wanted, "its workers run", seconds)
        found: dict[int, list[Connection]] = {pid: [] for pid in self.workers}
        deadline = time.monotonic() + seconds
        try:
            while any(len(held) < each for held in found.values()):
                assert time.monotonic() < deadline, "one worker takes no connection"
                connection = await Connection.open(self.port)
                await connection.request("GET", "/healthz")
                held = found.get(self.worker_of(connection))
                if held is None or len(held) >= each:
                    connection.close()
                else:
                    held.append(connection)
        except BaseException:
            for connection in itertools.chain.from_iterable(found.values()):
                connection.close()
            raise
        return [connection for held in found.values() for connection in held]

    async def known(self, site: str) -> None:
        """Wait until every worker has heard of a site that was added while they run."""
        for connection in await self.connections():

            async def there(connection: Connection = connection) -> bool:
                return (await connection.request("GET", f"/v1/sites/{site}/stats")).status == 200

            await until(there, f"a worker knows {site}", 3)
            connection.close()


def _processes() -> dict[int, tuple[int, str]]:
    """All processes: id → (parent, command line)."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                state = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if state[0] != "Z":
                    found[int(folder.name)] = (int(state[1]), command)
    return found


def children_of(pid: int) -> dict[int, str]:
    """Every process below one, with its command line."""
    found: dict[int, str] = {}
    running = _processes()
    parents = {pid}
    while parents:
        below = {child: command for child, (parent, command) in running.items() if parent in parents}
        found |= below
        parents = set(below)
    return found


def alive_pids(pids: Iterable[int]) -> list[int]:
    """Those of the processes that still run."""
    return [pid for pid in pids if pid in _processes()]


def noon_zone() -> str:
    """A time zone in which it is about noon: no test that runs now meets a midnight there."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


@dataclass
class Load:
    """Readers at work: what they sent, what was acknowledged, and how long each answer took."""

    service: Service
    site: str
    seconds: float = 60.0
    """How long one hit may be tried."""
    acknowledged: list[Hit] = field(default_factory=list)
    unanswered: list[Hit] = field(default_factory=list)
    """Sent once, without an acknowledgement: they may count once or not at all."""
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    shown: int = 0
    """The highest `total` that anybody was shown."""
    broken: BaseException | None = None
    """Why the load ended before its time."""

    async def more(self, hits: int, seconds: float = 20.0) -> None:
        """Wait until so many more hits are acknowledged."""
        enough = len(self.acknowledged) + hits

        async def there() -> bool:
            assert self.broken is None, repr(self.broken)
            return len(self.acknowledged) >= enough

        await until(there, f"{hits} more hits are acknowledged", seconds)

    async def run(self, hits: Iterable[Hit], readers: int = 16, connections: Iterable[Connection] = ()) -> None:
        """Send hits, each reader one after the other, until there are none left. One reader to each connection, if any
        are given."""
        queue = iter(hits)
        given: list[Connection | None] = [*connections]
        async with asyncio.TaskGroup() as group:
            for connection in given or [None] * readers:
                group.create_task(self._reader(queue, connection))

    async def _reader(self, queue: Iterator[Hit], connection: Connection | None) -> None:
        try:
            for hit in queue:
                deadline = time.monotonic() + self.seconds
                done = False
                while not done:
                    connection, done = await self._try(connection, hit)
                    if not done and time.monotonic() > deadline:
                        raise AssertionError(f"{hit} was not taken:\n{self.service.log[-3000:]}")
        except BaseException as error:
            self.broken = self.broken or error
            raise
        finally:
            if connection is not None:
                connection.close()

    async def _try(self, connection: Connection | None, hit: Hit) -> tuple[Connection | None, bool]:
        """Send a hit once; the connection to go on with, and whether that was all for this hit."""
        try:
            connection = connection or await Connection.open(self.service.port)
        except OSError:
            await asyncio.sleep(POLL_SECONDS)  # nothing was sent: this is no try
            return None, False
        began = time.monotonic()
        try:
            answer = await connection.hit(self.site, hit)
        except ConnectionError:
            connection.close()
            if not hit.hit_id:
                self.unanswered.append(hit)
            return None, not hit.hit_id
        except BaseException:
            connection.close()  # nobody else knows it, if it was opened here
            raise
        self.latencies.append(time.monotonic() - began)
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.status in (200, 202):
            self.acknowledged.append(hit)
            self.shown = max(self.shown, answer.json["total"] or 0)
            if answer.headers.get("connection") == "close":
                connection.close()
                return None, True
            return connection, True
        assert answer.status == 503, answer
        assert "retry-after" in answer.headers, answer
        await asyncio.sleep(POLL_SECONDS)
        return connection, False

    def percentile(self, share: float) -> float:
        """A percentile of the answers' times, in seconds."""
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


@contextlib.asynccontextmanager
async def under(load: Coroutine[None, None, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a load beside the block, and wait for its end."""
    task = asyncio.create_task(load)
    try:
        yield task
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])  # it closes its connections
