"""Runs the application: the listening sockets, the settings of uvicorn, and the first steps of a worker process."""

import contextlib
import gc
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from visitstats.core.errors import VisitstatsError
from visitstats.embedded.process import EmbeddedStore
from visitstats.settings import Settings
from visitstats.system.board import Board, Seat
from visitstats.system.descriptors import raise_file_limit
from visitstats.system.logs import set_up_logging
from visitstats.system.service import ServiceFile, State
from visitstats.web.agents_data import agent_rules
from visitstats.web.app import Application, create_app
from visitstats.web.beacons.connections import BEYOND
from visitstats.web.beacons.protocol import Protocol
from visitstats.web.listeners import BACKLOG
from visitstats.web.supervisor import Supervisor

KEPT_FILES = 64 + BEYOND
"""How many files are not for connections: 64 for the journal, the store and other files of a worker, and those of
connections that are opened in place of others."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than nginx keeps its connections to us (60 s), so that we never close one
that it is about to use."""


class CannotServe(VisitstatsError):
    """The workers do not come up."""


def run(
    settings: Settings,
    sockets: list[socket.socket],
    store: EmbeddedStore | None,
    board: Board,
    *,
    reload: Callable[[], Settings],
    now_ms: int,
    demo: bool = False,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was accepted and return. `settings.redis_url` names the store;
    `reload` reads the settings anew, after SIGHUP; `now_ms` is the moment.

    Call it from the main thread. `started` is called when the workers have been launched.
    """
    config = uvicorn.Config(
        "visitstats.web.server:worker",
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
    supervisor = Supervisor(config, sockets, store, settings, demo_worker if demo else worker, board, reload, now_ms)
    agent_rules()  # compiled here, and not in each worker
    with _service_file(settings.data_dir) as file:
        pid = os.getpid()
        file.tell(State(pid))
        supervisor.on_reload = lambda trouble: file.tell(State(pid, supervisor.reloads, trouble[:400]))
        started()
        supervisor.run()
    if supervisor.failed:
        raise CannotServe("a worker could not start; the log above says why")


@contextlib.contextmanager
def _service_file(data_dir: Path) -> Iterator[ServiceFile]:
    try:
        file = ServiceFile(data_dir)
    except OSError as error:
        raise CannotServe(f"the data folder {data_dir} cannot be written: {error.strerror or error}") from error
    try:
        yield file
    finally:
        file.close()


def worker(settings: Settings, seat: Seat) -> Application:
    """Build the application in a worker process."""
    app = create_app(settings, seat=seat)
    _settle_in(app, settings, seat)
    return app


def demo_worker(settings: Settings, seat: Seat) -> Application:
    """Build the application with the demo portal in a worker process."""
    app = create_app(settings, seat=seat, demo=True)
    _settle_in(app, settings, seat)
    return app


def _settle_in(app: Application, settings: Settings, seat: Seat) -> None:
    """Prepare a worker process: its log, its files, and its end when the supervisor is killed (an orphan would hold the
    port)."""
    set_up_logging(settings.log_level, settings.log_format, seat.board)
    files = raise_file_limit()
    app.peers.limit(max(files - KEPT_FILES, files // 2))
    # Objects that are loaded by now stay, so no collection has to look at them again. A hit makes many objects that
    # reference counting frees with its answer; looking for cycles after each 700 of them raised our part of a hit from
    # 23.8 to 27.3 µs (medians of three runs).
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGTERM), 0, 0, 0)
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and not supervisor.is_alive():
        # The supervisor was killed before the kernel was asked to tell us of its death.
        sys.exit(1)
