"""A Redis that belongs to somebody else, as most installations have it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import redis

from tests.waiting import wait_until
from visitstats.embedded.program import find_server


class ExternalStore:
    """One redis-server (or valkey-server) on a unix socket, with its data in `folder`."""

    def __init__(self, folder: Path, program: Path | None = None) -> None:
        self.folder = folder
        self._server = program
        self.more_options: tuple[str, ...] = ()
        self.password: str | None = None
        self._socket = folder.with_name("store.sock")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=5, password=self.password)

    def start(self) -> None:
        """Start it on what is in its folder, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        program = str(self._server or shutil.which("redis-server") or find_server())
        options = {"port": 0, "unixsocket": self._socket, "dir": self.folder, "save": "", "appendonly": "yes"}
        command = [program, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        self._process = subprocess.Popen(
            [
                *command,
                "--appendfsync",
                "everysec",
                "--logfile",
                str(self.folder.with_name("store.log")),
                *self.more_options,
            ],
            stdin=subprocess.DEVNULL,
        )
        wait_until(self._answers, "the store answers")

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop_answering(self) -> None:
        """Hold it still: connections stay open, nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def copy(self, target: Path) -> None:
        """Copy its files as they are now."""
        shutil.copytree(self.folder, target)

    def put_back(self, copy: Path) -> None:
        """Replace its files by an older copy; it must not be running."""
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)
