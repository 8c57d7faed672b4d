"""Where the service listens: unix sockets, sockets that systemd has opened, a path that a proxy keeps."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.client import HOST, Answer, Connection, Hit, crowd, until
from tests.driver import PROGRAM
from tests.waiting import eventually
from tests.web.inprocess import Running, running
from visitstats.settings import Settings
from visitstats.trust.doctor import Machine, Row, check_folder
from visitstats.web.beacons.unnamed import READERS
from visitstats.web.listeners import CannotListen, listening

ANN, BEN = crowd(2, "listens")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's: the kernel takes 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="vs-", dir="/tmp") as found:
        yield Path(found)


async def ask(path: Path, request: str) -> Answer:
    connection = Connection(*await asyncio.open_unix_connection(path))
    try:
        return await connection.send(f"{request} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    finally:
        connection.close()


def test_a_unix_socket_is_for_the_services_group_and_is_gone_with_it(short: Path) -> None:
    path = short / "s"
    settings = Settings.load({"socket": path, "metrics_socket": short / "m"})
    with listening(settings) as listeners:
        assert [stat.S_IMODE(each.stat().st_mode) for each in (path, short / "m")] == [0o660, 0o660]
        assert listeners.shown == f"unix:{path}"
        with pytest.raises(CannotListen, match="another program does"), listening(settings):
            pass
    assert list(short.iterdir()) == []


def test_a_socket_that_a_killed_service_has_left_is_replaced_and_a_file_is_not(short: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(short / "s"))
    with listening(Settings.load({"socket": short / "s"})):
        pass
    (short / "file").write_text("precious")
    with pytest.raises(CannotListen), listening(Settings.load({"socket": short / "file"})):
        pass
    assert (short / "file").read_text() == "precious"


async def test_sockets_that_systemd_has_opened_are_served(short: Path) -> None:
    """That of the name `metrics` for operators. The peer of a unix socket is the proxy: it says who the reader is."""
    with socket.socket(socket.AF_UNIX) as main, socket.create_server(("127.0.0.1", 0)) as private:
        main.bind(str(short / "s"))
        main.listen()
        port = private.getsockname()[1]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VISITSTATS_")}
        environ |= {"VISITSTATS_DATA_DIR": str(short / "data"), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "main:metrics"}
        files = (os.dup(main.fileno()), os.dup(private.fileno()))

        def hand_over() -> None:
            for number, file in enumerate(files, 3):
                os.dup2(file, number)

        with (short / "log").open("wb") as log:
            service = subprocess.Popen(  # noqa: ASYNC220 - it only forks
                ["sh", "-c", f'LISTEN_PID=$$ exec "{PROGRAM}" serve'],
                env=environ, cwd=short, stdout=log, stderr=log, preexec_fn=hand_over, pass_fds=(3, 4),
            )  # fmt: skip
        try:

            async def there() -> bool:
                return (await ask(short / "s", "GET /readyz")).status == 200

            await until(there, "it is served", 30)
            added = [str(PROGRAM), "site", "add", "t1", "--host", HOST]
            await asyncio.to_thread(subprocess.run, added, env=environ, cwd=short, check=True, capture_output=True)
            connection = Connection(*await asyncio.open_unix_connection(short / "s"))

            async def counted() -> bool:
                return (await connection.hit("t1", Hit(ANN, "/a"))).status == 200

            await until(counted, "the site is known", 5)
            assert (await connection.hit("t1", Hit(BEN, "/a"))).json["total"] == 2
            assert (await ask(short / "s", "GET /metrics")).status == 401
            connection.close()
            other = await Connection.open(port)
            assert b'visitstats_visits{period="total",site="t1"} 2.0' in (await other.request("GET", "/metrics")).body
            assert (await other.request("GET", "/v1/sites/t1/stats")).status == 404
            other.close()
        finally:
            service.terminate()
            assert service.wait(30) == 0, (short / "log").read_text("utf-8")
            for file in files:
                os.close(file)
    assert (short / "s").exists(), "it is systemd's"


async def test_a_proxy_may_keep_the_path_under_which_it_has_us(tmp_path: Path, redis_url: str) -> None:
    """On every way of a request, and for nothing that only begins like it."""
    async with running(tmp_path / "data", redis_url, base_path="/counter/") as app:
        for n, prefix in enumerate(("/counter", ""), 1):
            body = {"u": f"https://{HOST}/a"}
            headers = (ANN, BEN)[n - 1].headers
            answer = await app.connection.request("POST", f"{prefix}/v1/sites/t1/hit", body, headers)
            assert (answer.status, answer.json["total"]) == (200, n)
            for path in ("/v1/sites/t1/stats", "/widget.js", "/healthz", "/v1/sites/t1/views?key=/a"):
                assert (await app.connection.request("GET", prefix + path)).status == 200, prefix + path
        for path in ("/counterv1/sites/t1/stats", "/counter", "/counter/counter/healthz"):
            assert (await app.connection.request("GET", path)).status == 404, path


async def test_the_log_says_once_that_a_proxy_does_not_name_its_readers(
    app: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """All readers of a portal would pass for one, and nobody would know why its numbers are so low."""
    nameless = {name: value for name, value in ANN.headers.items() if name != "x-forwarded-for"}
    await app.connection.hit("t1", Hit(BEN, "/a"))
    assert "without a reader's address" not in caplog.text
    for headers in (nameless, nameless | {"x-forwarded-for": "unknown"}):
        for _ in range(3):
            body = {"u": f"https://{HOST}/a"}
            assert (await app.connection.request("POST", "/v1/sites/t1/hit", body, headers)).status == 200
    assert caplog.text.count("hits come from 127.0.0.1, a trusted proxy, without a reader's address") == 1


async def test_a_proxy_that_is_not_named_is_told_once_and_by_the_doctor(
    tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its readers are one network, with the limits of one. One reader who sends such a header is no proxy."""
    async with running(tmp_path / "data", redis_url, trusted_proxies=["10.0.0.0/8"]) as app:
        settings = Settings.load({"data_dir": tmp_path / "data", "trusted_proxies": ["10.0.0.0/8"]})

        def row(found: Settings) -> Row:
            rows = {each.check: each for each in check_folder(found, Machine())}
            return rows["proxy"]

        for n in (1, 1, 1, *range(1, READERS)):
            await app.connection.hit("t1", Hit(replace(ANN, address=f"203.0.{n}.9"), "/a"))
        assert row(settings).status == "ok"
        assert "not in trusted_proxies" not in caplog.text
        for n in range(READERS, READERS + 30):
            await app.connection.hit("t1", Hit(replace(ANN, address=f"203.0.{n}.9"), "/a"))
        assert caplog.text.count("come from 127.0.0.1, which is not in trusted_proxies") == 1
        await eventually(lambda: row(settings).status == "warn", "the doctor knows")
        assert 'trusted_proxies = ["127.0.0.1"]' in row(settings).advice
        named = Settings.load({"data_dir": tmp_path / "data", "trusted_proxies": ["127.0.0.0/8"]})
        assert row(named).status == "ok"
