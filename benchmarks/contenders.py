"""The services that are compared: how each is started, waited for and stopped."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from benchmarks.beacons import host_of
from benchmarks.load import on_core
from visitstats.embedded.program import NoServerFound, find_server

PROJECT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 20.0
SITE = "bench"
HOST = host_of(SITE)

# What our own embedded store uses: the append-only file, written out once a second, no snapshots.
STORE_OPTIONS = ("--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--daemonize", "no")
# For both reference services. No access log, and not uvicorn's proxy parser (about 20 µs a hit).
UVICORN_OPTIONS = (
    *("--workers", "1", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-proxy-headers"),
    *("--log-level", "warning", "--lifespan", "auto"),
)


class CannotStart(Exception):
    """A service did not come up or did not stop; the text has the end of its log."""


@dataclass(frozen=True)
class Running:
    """A service that answers on `port` of the loopback, and the processes that it consists of (with their children)."""

    port: int
    roots: tuple[int, ...]


def store_binary() -> str | None:
    """The server program that visitstats would run itself; None when there is none."""
    try:
        return str(find_server())
    except NoServerFound:
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Client:
    """A connection to a service on the loopback. Its methods raise OSError or HTTPException when there is no answer."""

    def __init__(self, port: int, timeout: float = 60.0, token: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self._headers = {"Host": HOST} | ({"Authorization": f"Bearer {token}"} if token else {})

    def get(self, path: str) -> tuple[int, bytes]:
        return self._request("GET", path, None)

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, body, headers=self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


@contextlib.contextmanager
def _process(command: Sequence[str], core: int, log: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child on one core, ended with SIGTERM; one that does not end in time is killed and reported."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=PROJECT,
            env={**os.environ, **env},
            preexec_fn=on_core(core),
            start_new_session=True,  # for `machine.prefer`
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise CannotStart(f"{command[0]} did not stop in {STOP_SECONDS:.0f} s after SIGTERM{_tail(log)}") from None


def _tail(log: Path) -> str:
    return "; the end of its log:\n" + log.read_text(errors="replace")[-2000:]


def _wait(
    process: subprocess.Popen[bytes], port: int, path: str, log: Path, start_seconds: float = START_SECONDS
) -> None:
    deadline = time.monotonic() + start_seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CannotStart(f"{process.args!r} ended with status {process.returncode}{_tail(log)}")
        with contextlib.suppress(OSError, http.client.HTTPException), Client(port, timeout=5) as client:
            if client.get(path)[0] < 500:
                return
        time.sleep(0.05)
    raise CannotStart(f"{process.args!r} did not answer on {path} in {start_seconds:.0f} s{_tail(log)}")


def _uvicorn(target: str, port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", target, "--host", "127.0.0.1", "--port", str(port), *UVICORN_OPTIONS]


@contextlib.contextmanager
def bare(folder: Path, core: int) -> Iterator[Running]:
    """(a) the floor."""
    port, log = free_port(), folder / "bare.log"
    with _process(_uvicorn("benchmarks.bare:app", port), core, log, {}) as app:
        _wait(app, port, "/", log)
        yield Running(port, (app.pid,))


@contextlib.contextmanager
def obvious(folder: Path, core: int) -> Iterator[Running]:
    """(b) Starlette with one Redis pipeline per hit, and a store of its own, set up as ours is."""
    binary = store_binary()
    if binary is None:
        raise CannotStart("no valkey-server or redis-server found")
    port, log, unix = free_port(), folder / "obvious.log", folder / "obvious.sock"
    data = folder / "obvious-data"
    data.mkdir()
    store_command = [binary, *STORE_OPTIONS, "--unixsocket", str(unix), "--dir", str(data)]
    with (
        _process(store_command, core, folder / "obvious-store.log", {}) as store,
        _process(_uvicorn("benchmarks.obvious:app", port), core, log, {"OBVIOUS_REDIS_SOCKET": str(unix)}) as app,
    ):
        _wait(app, port, "/", log)
        yield Running(port, (app.pid, store.pid))


class Visitstats:
    """(c) visitstats with its embedded store and one worker; it may be served again on the same data."""

    def __init__(self, folder: Path, core: int, sites: Sequence[str] = (SITE,), options: Sequence[str] = ()) -> None:
        self._folder = folder
        self._core = core
        self.data = folder / "visitstats-data"
        self._command = str(Path(sys.executable).with_name("visitstats"))
        self._env = {"VISITSTATS_DATA_DIR": str(self.data)}
        self._sites = sites
        self._options = options
        self._added = False

    @contextlib.contextmanager
    def serve(self, start_seconds: float = START_SECONDS) -> Iterator[Running]:
        if not self._added:
            # UTC, so that the run does not cross midnight of a site that the reader does not think of.
            for site in self._sites:
                self.command("site", "add", site, "--host", host_of(site), "--timezone", "UTC", *self._options)
            self._added = True
        port, log = free_port(), self._folder / "visitstats.log"
        command = [self._command, "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--data-dir", str(self.data)]
        with _process(command, self._core, log, self._env) as app:
            _wait(app, port, f"/v1/sites/{self._sites[-1]}/stats", log, start_seconds)
            yield Running(port, (app.pid,))

    def begin(self, *arguments: str, core: int, out: IO[bytes]) -> int:
        """Begin a command on the same data, which writes what it says to `out`; return its process id, for wait4."""
        return subprocess.Popen(
            [self._command, *arguments],
            env={**os.environ, **self._env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=PROJECT,
            preexec_fn=on_core(core),
        ).pid

    def command(self, *arguments: str, core: int | None = None) -> str:
        """Run a command of visitstats on the same data; return what it printed. Raises CannotStart when it fails."""
        done = subprocess.run(
            [self._command, *arguments],
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
            preexec_fn=None if core is None else on_core(core),
        )
        if done.returncode != 0:
            said = (done.stderr + done.stdout).strip()[-1000:]
            raise CannotStart(f"`visitstats {' '.join(arguments)}` failed with status {done.returncode}: {said}")
        return done.stdout
