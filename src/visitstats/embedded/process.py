"""The embedded store: our own Valkey process, for one data folder, on a unix socket.

Rule 1: never two servers on one data folder. The owner holds `owner.lock`; the server process itself inherits the
        open `server.lock`, so that the kernel keeps it locked for exactly as long as a server is alive.
Rule 2: it goes when its parent goes, even by kill -9 (Linux: PR_SET_PDEATHSIG). Where the kernel cannot promise that,
        the next start ends the orphan in an orderly way, then starts its own.
Rule 3: a terminal's Ctrl-C does not reach it (a session of its own): the service drains first, then stops it.

Nothing here knows Redis commands beyond PING; counting is the business of `store/`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from visitstats.core.errors import VisitstatsError
from visitstats.embedded.program import NoServerFound, find_server
from visitstats.system.files import CREATE

__all__ = [
    "EmbeddedStore",
    "NoServerFound",
    "StoreInUse",
    "StoreNotStarted",
    "connect_running",
    "find_server",
    "running_store",
]

READY_SECONDS = 20.0  # for a first answer; an empty server takes 20 ms
LOADING_SECONDS = 600.0  # while it says that it reads its data: about 1 GB in 10 s
STOP_SECONDS = 10.0
LOG_LIMIT = 1 << 20  # the log of earlier runs is dropped beyond this many bytes
_POLL_SECONDS = 0.01

# The child asks the kernel to be told when its parent dies, makes sure that this has not happened yet, and becomes
# the server. A launcher, not preexec_fn: that would run Python between fork and exec of a process with threads.
# Where the kernel or Python cannot do it (no ctypes, a strict sandbox), rule 2's second half is left.
_LAUNCHER = """\
import os, signal, sys
PR_SET_PDEATHSIG = 1
try:
    import ctypes
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
except (ImportError, OSError, AttributeError):
    pass
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class StoreInUse(VisitstatsError):
    """Another process owns this data folder's store."""


class StoreNotStarted(VisitstatsError):
    """The server program ended or stayed silent; the text carries what its log says."""


def connect_running(data_dir: Path) -> str | None:
    """The URL of the store that runs for this data folder now, None if none does. For commands beside a service."""
    place = data_dir.absolute() / "valkey"
    path = _read_path(place / "socket")
    if path is None or (path.parent != place and not _private(path.parent)):
        return None
    return _url(path) if _ping(path) else None


@contextlib.contextmanager
def running_store(data_dir: Path) -> Iterator[str]:
    """The URL of the running store, or of one that is started for the duration: what a short command needs."""
    url = connect_running(data_dir)
    if url is not None:
        yield url
        return
    with EmbeddedStore.start(data_dir) as store:
        yield store.url


class EmbeddedStore:
    """One running server and the ownership of its data folder. Made by `start`, ended by `stop` or a `with` block."""

    def __init__(self, data_dir: Path, server: Path) -> None:
        self._server = server
        self._place = data_dir.absolute() / "valkey"
        self._log = self._place / "valkey.log"
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._private: Path | None = None
        self._owner_lock = -1
        self._server_lock = -1
        self._socket = self._place / "valkey.sock"

    @classmethod
    def start(
        cls, data_dir: Path, *, server: Path | None = None, ready_seconds: float = READY_SECONDS
    ) -> EmbeddedStore:
        """Start the store of this folder and wait until it answers.

        Call it from the main thread: the kernel ends the server when the *thread* that started it ends.
        Raises `NoServerFound`, `StoreInUse` or `StoreNotStarted`.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start the embedded store from the main thread: it lives as long as that thread")
        store = cls(data_dir, server or find_server())
        try:
            store._own()
            store._choose_socket()
            store._launch()
            store._wait_ready(ready_seconds)
        except BaseException:
            store.stop()
            raise
        return store

    @property
    def url(self) -> str:
        return _url(self._socket)

    @property
    def pid(self) -> int:
        """Process id of the server (of the last one, if it has ended)."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def revive(self) -> bool:
        """Start the server again, on the same socket, if it has died; True when that was done.

        Does not wait until it answers (clients see a store that is away). Main thread only, like `start`.
        """
        if self.running or self._owner_lock < 0:
            return False
        try:
            self._launch()
        except StoreInUse:  # a rewrite child of the dead server is still writing: next time
            return False
        return True

    def compact(self) -> bool:
        """Make the server rewrite its append-only file; True when it has begun.

        Until then, deleted values (a salt that is past its life) are still in the old file, however small it is.
        """
        return _ask(self._socket, b"BGREWRITEAOF").startswith(b"+")

    def stop(self, *, wait_seconds: float = STOP_SECONDS) -> None:
        """End the server in an orderly way (its data is synced), by force after the deadline. Safe to repeat."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(wait_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._owner_lock >= 0:
            self._clear_socket()
            os.close(self._owner_lock)
            self._owner_lock = -1

    def __enter__(self) -> EmbeddedStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _own(self) -> None:
        """Take the folder, and end a server that an owner left behind (rules 1 and 2)."""
        try:
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._owner_lock = _lock(self._place / "owner.lock")
        except OSError as error:
            raise StoreNotStarted(f"the data folder {self._place} cannot be used: {error.strerror}") from error
        if self._owner_lock < 0:
            owner = (self._place / "owner.lock").read_text(encoding="ascii").strip() or "unknown"
            raise StoreInUse(
                f"another visitstats (process {owner}) is using {self._place.parent}; "
                "stop it or give another data folder"
            )
        os.ftruncate(self._owner_lock, 0)
        os.pwrite(self._owner_lock, f"{os.getpid()}\n".encode(), 0)
        # Usually the last server is just closing its files because its owner was killed.
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if self._server_gone(0.2 if sent == signal.SIGTERM else STOP_SECONDS):
                return
            orphan = self._listening_pid()
            if orphan:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan, sent)
        if not self._server_gone(STOP_SECONDS):
            raise StoreInUse(f"a server of an earlier run still holds {self._place} and does not end")

    def _server_gone(self, seconds: float) -> bool:
        def free() -> bool:
            lock = _lock(self._place / "server.lock")
            if lock >= 0:
                os.close(lock)
            return lock >= 0

        return _within(seconds, free)

    def _listening_pid(self) -> int:
        """The process that listens on the last run's socket, as the kernel tells it; 0 if none does."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(str(_read_path(self._place / "socket")))
                if sys.platform == "darwin":
                    return client.getsockopt(0, 2)  # SOL_LOCAL, LOCAL_PEERPID
                return int(struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
        except OSError:
            return 0

    def _choose_socket(self) -> None:
        """A socket in the data folder, or in a private temporary one: paths end at 107 bytes, and not every
        file system can hold a socket."""
        last = _read_path(self._place / "socket")
        if last is not None and last.parent != self._place and _private(last.parent):
            shutil.rmtree(last.parent, ignore_errors=True)  # an owner that was killed could not do it
        self._clear_socket()
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.bind(str(self._socket))
                self._socket.unlink()
            except OSError:
                self._private = Path(tempfile.mkdtemp(prefix="visitstats-"))  # made with mode 0700
                self._socket = self._private / "valkey.sock"
        (self._place / "socket").write_text(str(self._socket), encoding="utf-8")

    def _clear_socket(self) -> None:
        self._socket.unlink(missing_ok=True)
        (self._place / "socket").unlink(missing_ok=True)
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None

    def _launch(self) -> None:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._place),
            "logfile": str(self._log),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # A backup takes its snapshot as a replica does; there are no other replicas to wait for.
            "repl-diskless-sync-delay": "0",
            # An evicted watermark would apply the journal a second time.
            "maxmemory-policy": "noeviction",
        }
        command = [str(self._server), *(part for name, value in options.items() for part in (f"--{name}", value))]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
        lock = _lock(self._place / "server.lock")
        if lock < 0:
            raise StoreInUse(f"a server of an earlier run still holds {self._place}")
        try:
            if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
                self._log.write_bytes(b"")
            self._log.touch(mode=0o600)
            self._log_start = self._log.stat().st_size
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own argument list, no shell
                    command,
                    cwd=self._place,
                    stdin=subprocess.DEVNULL,
                    stdout=log,  # what it says before it opens its log file: a bad option, a missing library
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
        except OSError as error:
            raise StoreNotStarted(f"the store server {self._server} cannot be run: {error.strerror}") from error
        finally:
            os.close(lock)  # the server's copy keeps it

    def _wait_ready(self, seconds: float) -> None:
        begun = time.monotonic()
        while True:
            answer = _ping(self._socket)
            if answer == "PONG":
                return
            if not self.running:
                raise StoreNotStarted(f"the store server ended while it started: {self._last_words()}")
            limit = LOADING_SECONDS if answer == "LOADING" else seconds
            if time.monotonic() - begun > limit:
                raise StoreNotStarted(f"the store server gave no answer in {limit:.0f} s: {self._last_words()}")
            time.sleep(_POLL_SECONDS)

    def _last_words(self) -> str:
        """What the log says of this start, in one line: its warnings, else its last line, and where it is."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode("utf-8", "replace").splitlines()
        warnings = [line.partition(" # ")[2] for line in lines if " # " in line and " # WARNING" not in line]
        spoken = warnings[-3:] or [line.strip() for line in lines if line.strip()][-1:]
        words = "; ".join(spoken) or "it said nothing"
        advice = ""
        if re.search(r"bad file format|unexpected end of file|manifest", words, re.IGNORECASE):
            advice = f"; its data is damaged: keep a copy of {self._place}, then repair it or restore a backup"
        elif "no space left" in words.lower():
            advice = "; the disk is full"
        return f"{words}{advice} (log: {self._log})"


def _read_path(file: Path) -> Path | None:
    try:
        return Path(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _private(folder: Path) -> bool:
    """A folder of ours that nobody else can enter; one of that name in /tmp may be a stranger's."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _url(path: Path) -> str:
    return f"unix://{quote(str(path))}"


def _ping(path: Path) -> str:
    """ "PONG", "LOADING" while the server reads its data, or "" when no answer comes within a second."""
    answer = _ask(path, b"PING")
    return "PONG" if answer.startswith(b"+PONG") else "LOADING" if answer.startswith(b"-LOADING") else ""


def _ask(path: Path, command: bytes) -> bytes:
    """The first line of the answer to a command; empty when no answer comes within a second."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(path))
            client.sendall(command + b"\r\n")
            return client.recv(256)
    except OSError:
        return b""


def _lock(path: Path) -> int:
    """An open file that this process has locked, or -1 if another process holds the lock."""
    handle = os.open(path, os.O_RDWR | CREATE, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return -1
    except BaseException:
        os.close(handle)
        raise
    return handle


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
