"""The supervisor: keeps the workers and the embedded store alive, and logs what it does.

Every worker reports its state in a row of the board (`visitstats.system.board`), which the others and the supervisor
read. A worker that dies, hangs or cannot start is replaced; one line of the log and a metric tell of it.
"""

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import SIGNALS, Multiprocess, Process

from visitstats.core.errors import VisitstatsError
from visitstats.embedded.process import EmbeddedStore
from visitstats.settings import Settings
from visitstats.system.board import ROWS, Board, Seat, Supervision
from visitstats.system.descriptors import descriptors, let_go
from visitstats.system.logs import ALWAYS, forget_left_out, set_up_logging, tell_left_out

log = logging.getLogger(__name__)

COMPACT_SECONDS = 6 * 3600
"""How often the embedded store rewrites its file, so that deleted salts are not found there for long."""
AGAIN_SECONDS = 5
"""After how long a worker that could not start in the place of a dead one is tried again."""
MORE_SECONDS = 5
"""How long after `shutdown_seconds` a worker that has not ended is killed: its disk hangs, or it has a bug. Nothing is
lost by that, because the next start applies the records of its journal."""
READY_SECONDS = 120
"""How long a reload waits for a new worker, which may have a large journal to read, before it keeps the old one."""
HUNG_SECONDS = 5
"""After how long without an answer a worker is taken to hang."""
FIXED = (
    "data_dir", "redis_url", "redis_password_file", "host", "port", "socket", "metrics_host", "metrics_port",
    "metrics_socket",
)  # fmt: skip
"""Settings that a reload does not change: listening sockets, the store and the folder stay what they are."""

FORK = multiprocessing.get_context("fork")

Build = Callable[[Settings, Seat], Any]
"""Makes the application of a worker."""


class Worker(Process):
    """A worker process with its settings and its seat.

    It is forked from the supervisor, which has loaded the application: it takes hits after a quarter of the CPU that a
    new interpreter needs (0.15 s instead of 0.7), and shares the memory of the loaded modules. uvicorn would start a
    new interpreter; as there, a worker has none of the supervisor's files and signal handlers.
    """

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], build: Build, settings: Settings, seat: Seat
    ) -> None:
        self.build = build
        self.settings = settings
        self.seat = seat
        self.started_at = time.monotonic()
        self.was_ready = False
        super().__init__(config, sockets)
        self.process = FORK.Process(target=self._begin, args=(sockets,))  # type: ignore[assignment]
        # Both ends, as uvicorn has it: when the other one is closed, the thread that answers would end in an error.
        pings = {self.parent_conn.fileno(), self.child_conn.fileno()}
        self._kept = {0, 1, 2, seat.board.fileno()} | pings | {each.fileno() for each in sockets}
        self._foreign: set[int] = set()

    def start(self) -> None:
        """Start it."""
        self._foreign = descriptors() - self._kept
        # A signal that comes before the worker has its own handlers must not run the supervisor's handlers there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _begin(self, sockets: list[socket.socket]) -> None:
        """Run in the new process."""
        for number in SIGNALS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        let_go(self._foreign)
        forget_left_out()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.config.app = partial(self.build, self.settings, self.seat)
        with contextlib.suppress(KeyboardInterrupt):
            self.target(sockets)

    @property
    def named(self) -> str:
        """The worker's name in the log."""
        report = self.seat.board.report(self.seat.row)
        slot = f", slot {report.slot}" if report is not None and report.slot >= 0 else ""
        return f"worker {self.pid}{slot}"

    @property
    def ending(self) -> str:
        """How it ended, for the log."""
        code = self.exitcode
        if code is None:
            return "still runs"
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = str(-code)
            return f"was ended by signal {-code} ({name})"
        return f"ended with status {code}"


class Supervisor(Multiprocess):
    """Keeps the workers alive, as uvicorn does it, and the embedded store with them. `reload` reads the settings anew;
    `now_ms` is the moment of the start."""

    processes: list[Worker]  # type: ignore[assignment]

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        store: EmbeddedStore | None,
        settings: Settings,
        build: Build,
        board: Board,
        reload: Callable[[], Settings],
        now_ms: int,
    ) -> None:
        super().__init__(config, sockets)
        self._store = store
        self._settings = settings
        self._build = build
        self._board = board
        self._reload = reload
        self._started_ms = now_ms
        self._restarts: dict[str, int] = {}
        self._store_restarts = 0
        self._compact_at = time.monotonic() + COMPACT_SECONDS
        self._again_at = 0.0
        self._alive_seconds = watchdog_seconds() / 4
        self._alive_at = 0.0 if self._alive_seconds else float("inf")
        self._all_ready = False
        self.reloads = 0
        self.on_reload: Callable[[str], None] = lambda trouble: None
        """Is called when a reload is over, with the reason when it failed."""
        self.failed = False
        """Whether it ended because a worker could not start, and not because it was told to."""
        self._tell()

    # Workers ---------------------------------------------------------------------------------------------------------

    def init_processes(self) -> None:
        """Start the workers. Raises RuntimeError in a process with threads: a lock that one of them holds would be held
        in a worker for ever."""
        if threading.active_count() > 1:
            raise RuntimeError(f"workers cannot be forked beside threads: {threading.enumerate()}")
        # Memory that is loaded by now is shared with the workers as long as no garbage collection writes to it.
        gc.collect()
        gc.freeze()
        for _ in range(self._settings.workers):
            self.processes.append(self._launch())

    def _launch(self) -> Worker:
        taken = {worker.seat.row for worker in self.processes}
        row = next(row for row in range(1, ROWS) if row not in taken and self._board.report(row) is None)
        worker = Worker(self.config, self.sockets, self._build, self._settings, Seat(self._board, row))
        worker.start()
        return worker

    def keep_subprocess_alive(self) -> None:
        """Start workers and the store again when they have died. It is called twice a second."""
        if self.should_exit.is_set():
            return  # it was told to end just now
        self._tend()
        if time.monotonic() < self._again_at:
            return
        for place, worker in enumerate(self.processes):
            if worker.is_alive(timeout=HUNG_SECONDS):
                worker.was_ready = worker.was_ready or self._is_ready(worker)
                continue
            if self.should_exit.is_set():
                return
            if not self._replace(place, worker):
                return
        if not self._all_ready and all(worker.was_ready for worker in self.processes):
            self._all_ready = True
            log.info("ready: %s", self._positions(), extra=ALWAYS)
            notify("READY=1")

    def _replace(self, place: int, worker: Worker) -> bool:
        """Start another worker in the place of one that has died or hangs; say whether to go on."""
        hangs = worker.exitcode is None
        named = worker.named
        worker.kill()
        worker.join()
        if worker.exitcode == STARTUP_FAILURE:
            self._count("not-started")
            self._clear(worker)
            self._go_on_without(place)
            return False
        self._count("hung" if hangs else "died")
        what = f"did not answer for {HUNG_SECONDS} s and was killed" if hangs else worker.ending
        self._clear(worker)
        self.processes[place] = self._launch()
        log.error("%s %s; worker %s takes its place", named, what, self.processes[place].pid, extra=ALWAYS)
        return True

    def _go_on_without(self, place: int) -> None:
        """Go on without a worker that could not start, and try it again later. uvicorn would end the service, although
        other workers still serve readers."""
        serving = [each for n, each in enumerate(self.processes) if n != place and each.is_ready(timeout=1)]
        if not serving:
            self.failed = True
            self.should_exit.set()
            return
        log.error(
            "a worker could not start; %d serve without it, and it is tried again every %d s",
            len(serving), AGAIN_SECONDS,
        )  # fmt: skip
        self._again_at = time.monotonic() + AGAIN_SECONDS
        self.processes[place] = self._launch()

    def _tend(self) -> None:
        """Look after the store, the service file and the board."""
        tell_left_out()
        if time.monotonic() >= self._alive_at:
            self._alive_at = time.monotonic() + self._alive_seconds
            notify("WATCHDOG=1")
        if self._store is None:
            return
        if self._store.revive():
            self._store_restarts += 1
            self._tell()
            log.error("the embedded store had died and was started again", extra=ALWAYS)
        if time.monotonic() > self._compact_at and self._store.compact():
            self._compact_at = time.monotonic() + COMPACT_SECONDS

    def _is_ready(self, worker: Worker) -> bool:
        report = self._board.report(worker.seat.row)
        return report is not None and report.ready and report.pid == worker.pid

    def _positions(self) -> str:
        """Return the last journal record of each worker, for the log."""
        found = list[str]()
        for worker in self.processes:
            report = self._board.report(worker.seat.row)
            record = "without a journal" if report is None or report.slot < 0 else f"at record {report.record}"
            found.append(f"{worker.named} {record}")
        return "; ".join(found)

    def _clear(self, worker: Worker) -> None:
        self._board.clear(worker.seat.row)

    def _count(self, reason: str) -> None:
        self._restarts[reason] = self._restarts.get(reason, 0) + 1
        self._tell()

    def _tell(self) -> None:
        self._board.supervise(
            Supervision(
                workers=self._settings.workers,
                started_ms=self._started_ms,
                restarts=self._restarts,
                store_restarts=self._store_restarts,
            )
        )

    # Reloading -------------------------------------------------------------------------------------------------------

    def handle_hup(self) -> None:
        """Read the settings anew, and replace each worker by one that has them. First the new one takes hits, then the
        old one finishes its own."""
        trouble = ""
        try:
            trouble = self._reload_settings()
        except VisitstatsError as error:
            trouble = str(error)
            log.error("the settings are not reloaded, the service goes on as it was: %s", error, extra=ALWAYS)
        self.reloads += 1
        self.on_reload(trouble)

    def _reload_settings(self) -> str:
        wanted = self._reload()
        kept = {name: getattr(self._settings, name) for name in FIXED}
        fixed = [name for name in FIXED if getattr(wanted, name) != kept[name]]
        if fixed:
            log.warning("these settings are changed by a restart only: %s", ", ".join(fixed), extra=ALWAYS)
        before, self._settings = self._settings, msgspec.structs.replace(wanted, **kept)
        changed = [name for name in before.__struct_fields__ if getattr(before, name) != getattr(self._settings, name)]
        set_up_logging(self._settings.log_level, self._settings.log_format, self._board)
        log.info("reload: %s", ", ".join(changed) or "no setting has changed", extra=ALWAYS)
        old, self.processes = self.processes, []
        for number in range(max(len(old), self._settings.workers)):
            worker = old[number] if number < len(old) else None
            if number < self._settings.workers:
                new = self._launch_beside(old[number:])
                if new is None:
                    self.processes += old[number:]
                    self._settings = before
                    log.error("a new worker did not get ready; the others stay as they were", extra=ALWAYS)
                    return "a new worker did not get ready; see the log"
                self.processes.append(new)
                if worker is not None:
                    self._count("reload")
            if worker is not None:
                self._end(worker)
        log.info("reloaded: %s", self._positions(), extra=ALWAYS)
        return ""

    def _launch_beside(self, others: list[Worker]) -> Worker | None:
        """Start a worker beside others, and wait until it takes hits; None when it does not."""
        mine, self.processes = self.processes, self.processes + others  # whose rows are taken
        new = self._launch()
        self.processes = mine
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and not self.should_exit.wait(0.1):
            self._tend()
            if not new.process.is_alive() or {signal.SIGTERM, signal.SIGINT}.intersection(self.signal_queue):
                break
            if self._is_ready(new):
                new.was_ready = True
                return new
        new.kill()
        new.join()
        self._clear(new)
        return None

    # The end ---------------------------------------------------------------------------------------------------------

    def handle_term(self) -> None:
        """Stop."""
        self._stop("SIGTERM")

    def handle_int(self) -> None:
        """Stop."""
        self._stop("SIGINT")

    def handle_ttin(self) -> None:
        """Do nothing: how many workers there are is a setting."""

    def handle_ttou(self) -> None:
        """Do nothing, as above."""

    def _stop(self, name: str) -> None:
        if not self.should_exit.is_set():
            log.info("stopping: %s", name, extra=ALWAYS)
            notify("STOPPING=1")
            super().handle_term()

    def join_all(self) -> None:
        """Wait until the workers have ended."""
        deadline = time.monotonic() + self._settings.shutdown_seconds + MORE_SECONDS
        for worker in self.processes:
            self._wait(worker, deadline)

    def _end(self, worker: Worker) -> None:
        worker.terminate()
        self._wait(worker, time.monotonic() + self._settings.shutdown_seconds + MORE_SECONDS)
        self._clear(worker)

    def _wait(self, worker: Worker, deadline: float) -> None:
        """Wait until a worker has ended, and kill it when it does not: a service must end when it is told to."""
        worker.process.join(max(deadline - time.monotonic(), 0))
        if worker.exitcode is None:
            log.error("%s does not end and is killed; its journal is applied by another", worker.named, extra=ALWAYS)
            worker.process.kill()
            worker.join()


def watchdog_seconds() -> float:
    """Return within how many seconds systemd wants to hear from this process each time; 0 when it does not."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(microseconds) / 1_000_000 if microseconds.isdecimal() and pid == str(os.getpid()) else 0.0


def notify(state: str) -> None:
    """Tell systemd the state of the service, if it asked for that (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
        try:
            told.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            log.warning("systemd cannot be told that %s: %s", state, error)
