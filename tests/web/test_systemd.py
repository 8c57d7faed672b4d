"""What deploy/systemd relies on: sockets that outlive the service, readiness, the watchdog, the exit status."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import HOST, Connection, Hit, crowd, until
from tests.driver import PROGRAM

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
HITS = 60


def environ(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VISITSTATS_")}
    return kept | {"VISITSTATS_DATA_DIR": str(folder / "data")} | more


class Systemd:
    """Listens, starts the service with that socket, and hears what it says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = self.listening.getsockname()[1]
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(folder / "n"))
        self._told.setblocking(False)
        self.said: list[str] = []
        self.service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        file = os.dup(self.listening.fileno())
        with (self._folder / "log").open("ab") as log:
            self.service = subprocess.Popen(
                ["sh", "-c", f'LISTEN_PID=$$ exec "{PROGRAM}" serve'],
                env=environ(
                    self._folder, LISTEN_FDS="1", LISTEN_FDNAMES="main", NOTIFY_SOCKET=str(self._folder / "n"),
                    WATCHDOG_USEC="2000000",
                ),
                cwd=self._folder, stdout=log, stderr=log, preexec_fn=lambda: os.dup2(file, 3) and None, pass_fds=(3,),
            )  # fmt: skip
        os.close(file)

    def hear(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.said.append(self._told.recv(100).decode())
        return self.said

    def stop(self) -> None:
        assert self.service is not None
        if self.service.poll() is None:
            self.service.terminate()
        assert self.service.wait(30) == 0, (self._folder / "log").read_text("utf-8")

    def close(self) -> None:
        if self.service is not None and self.service.poll() is None:
            self.service.kill()
            self.service.wait()
        self.listening.close()
        self._told.close()


@pytest.fixture
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    found = Systemd(tmp_path_factory.mktemp("s"))
    yield found
    found.close()


@pytest.mark.timeout(240)  # two starts
async def test_a_restart_refuses_no_hit(systemd: Systemd) -> None:
    """Each hit comes by a connection of its own, as readers'; those that come meanwhile wait in systemd's socket. The
    watchdog hears of the service all the time."""
    systemd.start()

    async def ready(times: int) -> bool:
        return systemd.hear().count("READY=1") >= times

    await until(lambda: ready(1), "it says that it is ready", 60)
    added = [str(PROGRAM), "site", "add", "t1", "--host", HOST]
    folder = systemd._folder
    await asyncio.to_thread(subprocess.run, added, env=environ(folder), cwd=folder, check=True, capture_output=True)
    readers, sent, statuses = crowd(HITS, "restart"), 0, list[int]()

    async def send(seconds: float = 60) -> int:
        nonlocal sent
        hit = Hit(readers[sent], "/a")
        sent += 1
        connection = await Connection.open(systemd.port)
        try:
            return (await connection.hit("t1", hit, seconds=seconds)).status
        finally:
            connection.close()

    async def known() -> bool:
        connection = await Connection.open(systemd.port)
        answer = await connection.request("GET", "/v1/sites/t1/stats")
        connection.close()
        return answer.status == 200

    await until(known, "the site is known", 10)

    async def reader() -> None:
        while sent < HITS:
            statuses.append(await send())
            await asyncio.sleep(0.02)

    reading = [asyncio.create_task(reader()) for _ in range(4)]
    await until(lambda: _is(len(statuses) > 8), "hits come")
    await asyncio.to_thread(systemd.stop)
    systemd.start()
    await until(lambda: ready(2), "it is ready again", 60)
    await asyncio.gather(*reading)
    assert set(statuses) <= {200, 202}
    assert len(statuses) == HITS

    async def counted() -> bool:
        connection = await Connection.open(systemd.port)
        found = await connection.numbers("t1")
        connection.close()
        return bool(found["total"] == HITS)

    await until(counted, "every hit is counted, once", 10)
    alive = systemd.hear().count("WATCHDOG=1")
    await until(lambda: _is(systemd.hear().count("WATCHDOG=1") >= alive + 2), "the watchdog hears of it", 10)
    await asyncio.to_thread(systemd.stop)
    assert "STOPPING=1" in systemd.hear()


async def _is(true: bool) -> bool:
    return true


def test_settings_that_are_wrong_end_it_with_a_status_of_their_own(tmp_path: Path) -> None:
    """systemd would start it every two seconds for ever."""
    for command in (("serve",), ("config", "check")):
        done = subprocess.run(
            [str(PROGRAM), *command], env=environ(tmp_path, VISITSTATS_WORKERS="many"), cwd=tmp_path,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 78
        assert done.stderr == 'visitstats: VISITSTATS_WORKERS is "many"; expected a whole number from 1 to 64\n'
    assert "\nRestartPreventExitStatus=78\n" in (UNITS / "visitstats.service").read_text("utf-8")


def test_the_unit_gives_the_service_no_right_that_it_does_not_need() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=15", str(UNITS / "visitstats.service")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "not supported" in done.stderr or "Unknown" in done.stderr or "unrecognized" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
