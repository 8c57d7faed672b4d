"""A real server that speaks TLS, with a certificate authority of one's own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import uvloop

from tests.ports import free_port
from tests.waiting import wait_until
from visitstats.core.errors import StoreUnavailable
from visitstats.store.client import open_client, translated
from visitstats.store.line import ScriptLine

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None or shutil.which("openssl") is None,
    reason="redis-server and openssl are needed",
)


def authority(folder: Path, name: str) -> Path:
    """A certificate authority that has signed one certificate, for localhost; return its own."""
    openssl = (
        "openssl",
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-x509",
        "-days",
        "2",
    )
    ca, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [*openssl, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(ca)], check=True, capture_output=True
    )
    subprocess.run(
        [*openssl, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-CA", str(ca),
         "-CAkey", str(key), "-keyout", str(folder / f"{name}-server.key"), "-out", str(folder / f"{name}-server.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return ca


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a server, and the authority that its certificate is of."""
    ca = authority(tmp_path, "ours")
    port = free_port()
    options = {
        "port": 0, "tls-port": port, "tls-cert-file": tmp_path / "ours-server.pem", "dir": tmp_path, "save": "",
        "tls-key-file": tmp_path / "ours-server.key", "tls-ca-cert-file": ca, "tls-auth-clients": "no",
        "requirepass": "s3cret", "logfile": tmp_path / "log",
    }  # fmt: skip
    command = ["redis-server", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:

        def answers() -> bool:
            try:
                with redis.Redis("localhost", port, password="s3cret", ssl=True, ssl_ca_certs=str(ca)) as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        wait_until(answers, "the server speaks TLS")
        yield port, ca
    finally:
        server.kill()
        server.wait()


def test_reads_and_commits_go_through_tls(tls: tuple[int, Path]) -> None:
    """On the loop of the tests, and on the one of the service, which has TLS of its own."""
    port, ca = tls
    url = f"rediss://:s3cret@localhost:{port}/0?ssl_ca_certs={ca}"

    async def check() -> None:
        client, line = open_client(url), ScriptLine(url, {"echo": b"#!lua\nreturn ARGV[1]"})
        try:
            assert await client.ping()
            # More than a TLS record takes, in one write.
            text = b"x" * 200_000
            assert await line.run([("echo", [], [text])] * 3) == [text] * 3
        finally:
            await line.close()
            await client.aclose()
            await client.connection_pool.disconnect()

    asyncio.run(check())
    uvloop.run(check())


def test_a_server_that_another_authority_vouches_for_is_not_believed(tls: tuple[int, Path], tmp_path: Path) -> None:
    """Nor one under another name, nor one that is asked without TLS: the password is not sent to it."""
    port, ca = tls
    other = authority(tmp_path, "other")
    for url in (
        f"rediss://:s3cret@localhost:{port}/0?ssl_ca_certs={other}",
        f"rediss://:s3cret@127.0.0.1:{port}/0?ssl_ca_certs={ca}",
        f"redis://:s3cret@localhost:{port}/0",
    ):

        async def check(url: str = url) -> None:
            client = open_client(url, 2)
            try:
                with pytest.raises(StoreUnavailable), translated():
                    await client.ping()
            finally:
                await client.aclose()
                await client.connection_pool.disconnect()

        asyncio.run(check())
