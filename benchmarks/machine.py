"""What the numbers were taken on: versions, cores, kernel, the disk's fsync, and CPU time of process trees (Linux)."""

import contextlib
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

NICE = -10
"""Of what is measured at a steady rate, where others may use the machine."""
TICK = os.sysconf("SC_CLK_TCK")
STORE_NAMES = ("valkey-server", "redis-server")
# Enough for a p99 and short on a disk that needs 10 ms.
FSYNCS = 200
# A commit's journal record is 4 to 40 KB under load; 8 KiB is in the middle and whole pages.
FSYNC_BYTES = 8192

PACKAGES = ("visitstats", "uvicorn", "uvloop", "httptools", "starlette", "redis", "hiredis", "msgspec")


def distribution_version(name: str) -> str:
    """The installed version, or "not installed"."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def first_line(*command: str) -> str:
    """The first line that a `--version` command prints, on either stream."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return ((done.stdout + done.stderr).strip().splitlines() or ["?"])[0]


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def file_system(folder: Path) -> str:
    """Type of the file system that holds `folder` ("tmpfs" makes every fsync free)."""
    best, kind = "", "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, this_kind, *_ = line.split()
        inside = folder.resolve().is_relative_to(mount)
        if inside and len(mount) >= len(best):
            best, kind = mount, this_kind
    return kind


def fsync_latency(folder: Path) -> tuple[float, float]:
    """(median, p99) in milliseconds of appending 8 KiB and `fdatasync`, one after the other."""
    path = folder / "fsync-probe"
    taken = []
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        block = os.urandom(FSYNC_BYTES)
        for _ in range(FSYNCS):
            begin = time.perf_counter()
            os.write(handle, block)
            os.fdatasync(handle)
            taken.append((time.perf_counter() - begin) * 1000)
    finally:
        os.close(handle)
        path.unlink()
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


def facts(
    store_binary: str, wrk_binary: str | None, folder: Path, *, service_core: int, load_core: int
) -> dict[str, str]:
    """What a reader needs to compare two runs, as printable lines."""
    wrk_version = re.sub(r"\s*Copyright.*", "", first_line(wrk_binary, "-v")) if wrk_binary else "not installed"
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "pinned": f"service and store on core {service_core}, the load on core {load_core}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {distribution_version(name)}" for name in PACKAGES),
        "store": first_line(store_binary, "--version"),
        "wrk": wrk_version,
        "data": f"{folder} ({file_system(folder)})",
        "load average at start": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


@dataclass(frozen=True)
class ProcessTree:
    """The service's processes at one moment: CPU seconds since their start, and the largest resident sizes."""

    app_seconds: float
    store_seconds: float
    app_rss_mib: float
    store_rss_mib: float
    pids: frozenset[int]


def _stat(pid: int) -> tuple[int, float] | None:
    """(parent, CPU seconds) of a process; None when it is gone.

    Threads are included by the kernel; cutime and cstime are those of children that ended (a store's forks).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), sum(int(value) for value in fields[11:15]) / TICK


def _status(pid: int) -> Mapping[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _family(roots: Iterable[int]) -> dict[int, tuple[int, float] | None]:
    """The processes `roots` and all their descendants, with what `_stat` says of each."""
    stats = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    family = set(roots)
    while True:
        more = {pid for pid, found in stats.items() if found and found[0] in family} - family
        if not more:
            return {pid: stats.get(pid) for pid in family}
        family |= more


@dataclass(frozen=True)
class Cpu:
    """CPU time of the service's processes at one moment, in nanoseconds, by thread: (process, thread)."""

    app: Mapping[tuple[int, int], int]
    store: Mapping[tuple[int, int], int]
    waited: Mapping[tuple[int, int], int]
    """How long each of them was ready to run and had no core."""


@dataclass(frozen=True)
class Used:
    """What was used between two moments, in nanoseconds."""

    app: int
    store: int
    waited: int
    """Some of it is for each other's sake; much of it says that somebody else used the core."""
    ended: int
    """Threads that ended meanwhile, whose time is missing."""


def cpu(*roots: int) -> Cpu:
    """What the scheduler has on all threads of the processes `roots` and their descendants.

    /proc/PID/stat counts in ticks of 10 ms, too coarse for twenty hits a second; schedstat counts nanoseconds.
    """
    app: dict[tuple[int, int], int] = {}
    store: dict[tuple[int, int], int] = {}
    waited: dict[tuple[int, int], int] = {}
    for pid in _family(roots):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            kind = store if Path(f"/proc/{pid}/comm").read_text().startswith(STORE_NAMES) else app
            for task in os.listdir(f"/proc/{pid}/task"):
                text = Path(f"/proc/{pid}/task/{task}/schedstat").read_text()
                used, delayed, _ = text.split()
                kind[pid, int(task)], waited[pid, int(task)] = int(used), int(delayed)
    return Cpu(app, store, waited)


def used(before: Cpu, after: Cpu) -> Used:
    """What was used from one moment to the other."""

    def grown(old: Mapping[tuple[int, int], int], new: Mapping[tuple[int, int], int]) -> int:
        return sum(ns - old.get(task, 0) for task, ns in new.items())

    ended = len(before.waited.keys() - after.waited.keys())
    return Used(
        grown(before.app, after.app), grown(before.store, after.store), grown(before.waited, after.waited), ended
    )


def prefer(*roots: int) -> None:
    """Let the processes `roots` and their descendants go before whatever else uses their core, if that is allowed.

    Where the kernel groups processes by session, niceness counts within a session alone, and each session has its own.
    The session that the caller was started from is left as it is.
    """
    for pid, task in cpu(*roots).waited:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, task, NICE)
            if pid == task and os.getsid(pid) != os.getsid(os.getppid()):
                Path(f"/proc/{pid}/autogroup").write_text(str(NICE))


def process_tree(*roots: int) -> ProcessTree:
    """The processes `roots` and all their descendants; those named like a store count as the store."""
    app = store = rss = store_rss = 0.0
    family = _family(roots)
    for pid, found in family.items():
        if found is None:
            continue
        status = _status(pid)
        peak = int(status.get("VmHWM", "0 kB").split()[0]) / 1024
        if status["Name"].startswith(STORE_NAMES):
            store += found[1]
            store_rss = max(store_rss, peak)
        else:
            app += found[1]
            rss = max(rss, peak)
    return ProcessTree(app, store, rss, store_rss, frozenset(family))
