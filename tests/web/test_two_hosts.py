"""Two hosts on one store behind nginx: a rolling restart refuses no hit and counts each once, with the lines of
deploy/nginx/visitstats-upstream-two-hosts.conf; without them it refuses some."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Connection, Hit, crowd, until
from tests.driver import EACH_ITS_OWN, Service
from tests.ports import free_port
from tests.waiting import wait_until

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: several hosts are NOT TESTED"),
    pytest.mark.timeout(240),  # six starts
]
RECIPE = (Path(__file__).parents[2] / "deploy" / "nginx" / "visitstats-upstream-two-hosts.conf").read_text("utf-8")
LINES = "\n".join(re.findall(r"^#     (proxy_next_upstream.*;)$", RECIPE, re.MULTILINE))
READERS = 4


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, shared_store: object) -> Iterator[list[Service]]:
    url: str = shared_store.url  # type: ignore[attr-defined]
    found = [
        Service(tmp_path_factory.mktemp("hosts") / name, workers=1, redis_url=url, options=("--port", str(free_port())))
        for name in ("a", "b")
    ]
    try:
        found[0].add_site("hosts", *EACH_ITS_OWN)
        for each in found:
            each.start()
        yield found
    finally:
        for each in found:
            each.stop()


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, lines: str) -> Iterator[int]:
    port = free_port()
    (folder / "nginx.conf").write_text(
        f"""
        worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 512; }}
        http {{
            access_log off;
            client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
            uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            {upstream}
            server {{
                listen 127.0.0.1:{port};
                location /vs/ {{
                    proxy_pass http://visitstats/; proxy_http_version 1.1; proxy_set_header Connection "";
                    proxy_set_header X-Forwarded-For $http_x_reader; proxy_set_header Host $host;
                    {lines}
                }}
            }}
        }}
        """,
        encoding="utf-8",
    )
    process = subprocess.Popen([str(NGINX), "-c", str(folder / "nginx.conf"), "-p", str(folder)])

    def listens() -> bool:
        return subprocess.run(["sh", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], check=False).returncode == 0 or (
            f":{port:04X}" in Path("/proc/net/tcp").read_text("ascii")
        )

    try:
        wait_until(listens, "nginx listens", 10)
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def rolling(port: int, hosts: list[Service], name: str) -> Counter[int]:
    """Restart one host after the other while hits come, and return the statuses of the answers."""
    statuses, done, sent = Counter[int](), asyncio.Event(), 0
    visitors = crowd(20_000, name)

    async def reader() -> None:
        nonlocal sent
        connection = await Connection.open(port)
        while not done.is_set():
            visitor = visitors[sent]
            sent += 1
            headers = {"x-reader": visitor.address, "user-agent": visitor.agent}
            body = Hit(visitor, f"/{name}", f"{name}-{sent:012d}").body()
            answer = await connection.request("POST", "/vs/v1/sites/hosts/hit", body, headers, seconds=30)
            statuses[answer.status] += 1
            await asyncio.sleep(0.01)
        connection.close()

    reading = [asyncio.create_task(reader()) for _ in range(READERS)]
    for host in hosts:
        await _more(statuses, 20)
        await asyncio.to_thread(host.stop)
        await asyncio.to_thread(host.start)
    await _more(statuses, 20)
    done.set()
    await asyncio.gather(*reading)
    return statuses


async def _more(statuses: Counter[int], hits: int) -> None:
    least = sum(statuses.values()) + hits

    async def came() -> bool:
        return sum(statuses.values()) >= least

    await until(came, "hits come")


async def test_a_rolling_restart_refuses_no_hit_and_counts_each_once(tmp_path: Path, hosts: list[Service]) -> None:
    assert LINES.count(";") == 2
    servers = iter(hosts)
    upstream = re.sub(r"server 10[\d.]+:\d+", lambda _: f"server 127.0.0.1:{next(servers).port}", RECIPE)
    before = await total(hosts)
    with nginx(tmp_path, upstream, LINES) as port:
        statuses = await rolling(port, hosts, "right")
    assert set(statuses) <= {200, 202}, statuses

    async def counted() -> bool:
        return await total(hosts) - before == sum(statuses.values())

    await until(counted, "each hit is counted once", 15)


async def test_the_obvious_lines_refuse_some(tmp_path: Path, hosts: list[Service]) -> None:
    """Two servers and nothing else: this is why the recipe is as it is."""
    servers = "".join(f"server 127.0.0.1:{host.port};" for host in hosts)
    with nginx(tmp_path, f"upstream visitstats {{ {servers} }}", "") as port:
        statuses = await rolling(port, hosts, "obvious")
    assert sum(n for status, n in statuses.items() if status >= 500) > 0


async def total(hosts: list[Service]) -> int:
    connection = await Connection.open(hosts[0].port)
    found = (await connection.numbers("hosts"))["total"]
    connection.close()
    assert isinstance(found, int)
    return found
