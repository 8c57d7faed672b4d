"""The saboteur: Python runs this file at the start of every process that has its folder on PYTHONPATH.

It stands between the process and the kernel at the calls that concern the journal: it can end the process at one of
them (SIGKILL, before or after the call, or when half of the bytes are written), let calls fail or take a part only, and
shift the wall clock. What it is to do is in the folder that SABOTAGE names (`tests/faults/sabotage.py` writes it), and
what it did is written down there before it is done. Without that variable it does nothing. visitstats knows nothing of
it, and runs as it is.
"""

from __future__ import annotations

import builtins
import contextlib
import datetime
import importlib.machinery
import importlib.util
import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REAL = {name: getattr(os, name) for name in ("open", "mkdir", "write", "fsync", "fdatasync", "replace", "unlink")}
BY_FILE = ("write", "fsync", "fdatasync")
"""Calls whose first argument is a file descriptor."""


class Saboteur:
    """What one process does to itself."""

    def __init__(self, folder: str, journal: str) -> None:
        self._folder = folder
        self._journal = journal
        self._plan: dict[str, Any] = {}
        self._version = (0, 0)
        self._count = 0
        self._sites: set[str] = set()

    def install(self) -> None:
        """Stand at every call."""
        for name, real in REAL.items():
            setattr(os, name, self._at(name, real))
        real_open = builtins.open

        def opened(file: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
            # What is opened by its descriptor is written in C: have it written by os.write instead.
            if isinstance(file, int) and mode == "wb" and self._is_ours(_path_of(file)):
                return io.BufferedWriter(_Written(file, "w"))
            return real_open(file, mode, *args, **named)

        builtins.open = opened

    def _is_ours(self, path: str) -> bool:
        return path.startswith(self._journal)

    def _at(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            path = _path_of(args[0]) if name in BY_FILE else os.path.abspath(args[1 if name == "replace" else 0])
            if not self._is_ours(path):
                return real(*args, **named)
            return self._sabotage(f"{name} {_kind(path)} in {_caller()}", name, real, args, named)

        return call

    def _sabotage(self, site: str, name: str, real: Callable[..., Any], args: Any, named: Any) -> Any:
        plan = self._asked()
        if site not in self._sites:
            self._sites.add(site)
            self._note("sites", {"pid": os.getpid(), "site": site})
        while plan.get("next") and os.path.exists(f"{self._folder}/claimed-{plan['id']}"):
            plan, self._count = plan["next"], 0
            self._plan = plan
        if not plan or name not in plan["calls"] or plan["site"] not in ("", site):
            return real(*args, **named)
        self._count += 1
        if plan["act"] == "fail":
            self._note("done", plan | {"pid": os.getpid(), "at": site})
            raise OSError(plan["errno"], os.strerror(plan["errno"]))
        if plan["act"] == "short":
            # As a disk that fills up: a part of it, the next time nothing.
            self._note("done", plan | {"pid": os.getpid(), "at": site})
            if self._count % plan["nth"] == 0:
                raise OSError(plan["errno"], os.strerror(plan["errno"]))
            return real(args[0], bytes(args[1])[: max(1, len(args[1]) // 2)])
        if self._count != plan["nth"] or not self._claimed(plan["id"]):
            return real(*args, **named)
        done = {key: value for key, value in plan.items() if key != "next"} | {"pid": os.getpid(), "at": site}
        if plan["when"] == "half" and name == "write":
            done["bytes"] = real(args[0], bytes(args[1])[: len(args[1]) // 2])
        elif plan["when"] == "after":
            real(*args, **named)
        self._note("done", done)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    def _asked(self) -> dict[str, Any]:
        """The plan, read anew when it is another; calls are counted from there on."""
        path = f"{self._folder}/plan"
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            self._plan, self._version = {}, (0, 0)
            return {}
        version = (stat.st_ino, stat.st_mtime_ns)
        if version != self._version:
            self._plan, self._version, self._count = json.loads(_read(path)), version, 0
        return self._plan

    def _claimed(self, number: int) -> bool:
        """Whether it is this process that carries a plan out: one does."""
        try:
            os.close(REAL["open"](f"{self._folder}/claimed-{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _note(self, name: str, what: dict[str, Any]) -> None:
        file = REAL["open"](f"{self._folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        REAL["write"](file, json.dumps(what).encode() + b"\n")
        os.close(file)


class _Written(io.FileIO):
    def write(self, data: Any, /) -> int:
        return os.write(self.fileno(), bytes(data))


def _path_of(file: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{file}")
    return ""


def _kind(path: str) -> str:
    name = path.removesuffix(" (deleted)").rpartition("/")[2]
    name = re.sub(r"\.\d+\.new$", ".new", name)  # written beside, by this process
    stem, _, suffix = name.partition(".")
    return f".{suffix}" if suffix and len(stem) == 16 else name if not name.isdigit() else "slot"


def _caller() -> str:
    """The function of visitstats that the call is made for; those that only write or sync are not it."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if "/visitstats/" in file and not file.endswith("/files.py"):
            return frame.f_code.co_qualname
        frame = frame.f_back
    return "?"


def _read(path: str) -> str:
    file = REAL["open"](path, os.O_RDONLY)
    try:
        return os.read(file, 65_536).decode()
    finally:
        os.close(file)


# The clock ------------------------------------------------------------------------------------------------------------


class Clock:
    """The wall clock, as many seconds ahead as the file says just now."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._version = (0, 0)
        self._ahead_ns = 0
        self._time_ns = time.time_ns

    def now_ns(self) -> int:
        stat = os.stat(self._path)
        version = (stat.st_ino, stat.st_mtime_ns)
        if version != self._version:
            self._ahead_ns = int(_read(self._path)) * 1_000_000_000
            self._version = version
        return self._time_ns() + self._ahead_ns

    def install(self) -> None:
        """Be the clock of this process: of its own code, and of the libraries that schedule by `datetime`."""
        time.time_ns = self.now_ns
        time.time = lambda: self.now_ns() / 1e9
        real = datetime.datetime

        class Like(type):
            def __instancecheck__(cls, value: object) -> bool:
                return isinstance(value, real)

        class Shifted(real, metaclass=Like):  # type: ignore[misc, valid-type]
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Any:
                return cls.fromtimestamp(time.time(), tz)

        datetime.datetime = Shifted  # type: ignore[misc]


def _others() -> None:
    """Run the sitecustomize that this one hides, if there is one."""
    paths = [path for path in sys.path if Path(path or ".").resolve() != HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", paths)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


_others()
if _folder := os.environ.get("SABOTAGE"):
    if Path(f"{_folder}/clock").exists():
        Clock(f"{_folder}/clock").install()
    # The workers, which are forked; not the supervisor, which has the store to look after.
    if "serve" in sys.orig_argv:
        os.register_at_fork(after_in_child=Saboteur(_folder, os.environ["SABOTAGE_OF"]).install)
    elif os.environ.get("SABOTAGE_COMMANDS"):
        Saboteur(_folder, os.environ["SABOTAGE_OF"]).install()
