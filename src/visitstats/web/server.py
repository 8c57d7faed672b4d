"""Running the application: one listening port, N worker processes, and a supervisor that keeps them and the store
alive."""

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from visitstats.core.errors import VisitstatsError
from visitstats.descriptors import raise_file_limit
from visitstats.embedded.process import EmbeddedStore
from visitstats.settings import Settings
from visitstats.web.beacons.log import set_up_logging
from visitstats.web.beacons.protocol import Protocol

if TYPE_CHECKING:
    from visitstats.web.app import Application

log = logging.getLogger(__name__)

BACKLOG = 2048
KEPT_FILES = 128
"""Files that connections leave to the journal, the store and whatever else a worker opens."""
COMPACT_SECONDS = 6 * 3600
"""How often the embedded store rewrites its file without deleted data: salts must not stay there for long."""
KEEP_ALIVE_SECONDS = 75
"""Longer than nginx keeps its connections to us (60 s), so that we never close one that it is about to use."""


AGAIN_SECONDS = 5
"""After how long a worker that could not start in the place of a dead one is tried again."""
MORE_SECONDS = 5
"""How long after `shutdown_seconds` a worker that has not ended is killed: its disk hangs, or it has a bug. Nothing is
lost by that, the next start applies what its journal holds."""


class CannotListen(VisitstatsError):
    """The port cannot be opened."""


class CannotServe(VisitstatsError):
    """The workers do not come up."""


class Supervisor(Multiprocess):
    """Keeps the workers alive, as uvicorn does it, and the embedded store with them."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], store: EmbeddedStore | None, shutdown_seconds: int
    ) -> None:
        super().__init__(config, sockets)
        self._store = store
        self._shutdown_seconds = shutdown_seconds
        self._compact_at = time.monotonic() + COMPACT_SECONDS
        self._again_at = 0.0
        self.failed = False
        """It ended because a worker could not start, and not because it was told to."""

    def keep_subprocess_alive(self) -> None:
        """Restart what has died; called twice a second."""
        if self.should_exit.is_set():
            return  # it was told to end just now
        if self._store is not None:
            if self._store.revive():
                log.warning("the embedded store had died and was started again")
            if time.monotonic() > self._compact_at and self._store.compact():
                self._compact_at = time.monotonic() + COMPACT_SECONDS
        if time.monotonic() < self._again_at:
            return
        super().keep_subprocess_alive()
        if self.should_exit.is_set():
            self._go_on_without()

    def _go_on_without(self) -> None:
        """uvicorn ends the service when a worker cannot start. While another one serves, that would be its readers'
        loss: the worker is tried again in a while."""
        serving = [process for process in self.processes if process.is_ready(timeout=1)]
        failed = [process for process in self.processes if process.exitcode == STARTUP_FAILURE]
        if not serving:
            self.failed = True
            return
        log.error("a worker could not start; %d serve without it, and it is tried again", len(serving))
        self.should_exit.clear()
        self._again_at = time.monotonic() + AGAIN_SECONDS
        for process in failed:
            self.processes.remove(process)
        self.processes += [self._launch() for _ in failed]

    def _launch(self) -> Process:
        process = Process(self.config, self.sockets)
        process.start()
        return process

    def join_all(self) -> None:
        """Wait until the workers have ended, and kill those that do not: a service must end when it is told to."""
        deadline = time.monotonic() + self._shutdown_seconds + MORE_SECONDS
        for process in self.processes:
            process.process.join(max(deadline - time.monotonic(), 0))
            if process.exitcode is None:
                log.error("worker %s does not end and is killed; the next start applies its journal", process.pid)
                process.process.kill()
                process.join()


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket. Raises CannotListen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        # Connections that come before the first worker is ready wait for it and are not refused.
        found.listen(BACKLOG)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    found.set_inheritable(True)
    return found


def run(
    settings: Settings, sockets: list[socket.socket], store: EmbeddedStore | None, *, demo: bool = False,
    started: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT; then finish what was accepted and return. `settings.redis_url` names the store.

    Call it from the main thread. `started` is called when the workers have been launched.
    """
    os.environ.update(settings.to_environ())
    config = uvicorn.Config(
        "visitstats.web.server:" + ("demo_worker" if demo else "worker"),
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http=Protocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        # Its parser of X-Forwarded-For costs 20 µs a hit and believes junk; ours is web/beacons/address.py.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        # A warning for each malformed request would let strangers fill the disk.
        log_level=settings.log_level if settings.log_level == "debug" else "error",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # The other half is for journalling and applying after that (`Ingest.stop`).
        timeout_graceful_shutdown=max(settings.shutdown_seconds // 2, 1),
    )
    started()
    supervisor = Supervisor(config, sockets, store, settings.shutdown_seconds)
    supervisor.run()
    if supervisor.failed:
        raise CannotServe("a worker could not start; the log above says why")


def worker():  # type: ignore[no-untyped-def]
    """Build the application in a worker process."""
    from visitstats.web.app import worker_app

    app = worker_app()
    _settle_in(app)
    return app


def demo_worker():  # type: ignore[no-untyped-def]
    """The same with the demo portal."""
    from visitstats.web.app import demo_app

    app = demo_app()
    _settle_in(app)
    return app


def _settle_in(app: "Application") -> None:
    """Prepare a worker process: its log, its files, and its end when the supervisor is killed (an orphan would hold the
    port)."""
    set_up_logging(os.environ.get("VISITSTATS_LOG_LEVEL", "info"))
    files = raise_file_limit()
    app.peers.limit(max(files - KEPT_FILES, files // 2))
    # What is loaded by now stays: no collection has to look at it again. A hit makes many objects that are gone with
    # its answer by reference counting alone; looking for cycles after each 700 of them made 23.8 µs
    # of our part of a hit into 27.3 (medians of three runs).
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGTERM), 0, 0, 0)
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and not supervisor.is_alive():
        # It was killed before the kernel had been asked to tell.
        sys.exit(1)
