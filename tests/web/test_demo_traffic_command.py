"""`visitstats demo --traffic`: visitors who come by themselves, beside workers that are forked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.driver import PROGRAM, alive_pids, children_of
from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Its process and its port."""
    port = free_port()
    options = {"--rate": 600, "--port": port, "--data-dir": tmp_path / "data"}
    command = [str(PROGRAM), "demo", "--traffic", *(str(each) for pair in options.items() for each in pair)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process.pid, port
        process.terminate()
        process.wait(30)


def visits(port: int) -> int:
    """What the box says of today; -1 while nothing answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/v1/sites/demo/stats", timeout=5) as answer:
            return int(json.load(answer)["today"])
    except OSError:  # refused, or not answered in time: it listens before its workers are there
        return -1


def test_its_visitors_are_counted_also_by_a_worker_that_takes_a_dead_ones_place(demo: tuple[int, int]) -> None:
    """The supervisor has no thread for them: what is forked beside a thread may wait for its locks for ever."""
    pid, port = demo
    wait_until(lambda: visits(port) > 0, "somebody is counted", 60)
    assert [entry.name for entry in Path(f"/proc/{pid}/task").iterdir()] == [str(pid)]
    own = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    [worker] = [child for child, command in children_of(pid).items() if command == own]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in children_of(pid), "it is gone")
    before = visits(port)
    wait_until(lambda: visits(port) > max(before, 0), "visitors are counted again", 60)


def test_its_visitors_go_with_it_also_by_kill_9(demo: tuple[int, int]) -> None:
    pid, port = demo
    wait_until(lambda: visits(port) > 0, "somebody is counted", 60)
    family = [pid, *children_of(pid)]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive_pids(family), "all of its processes have ended", 20)
