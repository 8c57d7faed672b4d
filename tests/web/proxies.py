"""Real reverse proxies in front of a service, each with its stock way of speaking to it.

All let the site `open` through and nothing else, and keep their connections to the service: a request that hides in
another one's body would get past the rule, and its answer would be the next reader's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.waiting import POLL_SECONDS, wait_until

OPEN = "/v1/sites/open/"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/local/go/bin"
APACHE_MODULES = Path("/usr/lib/apache2/modules")


def nginx(folder: Path, port: int, service: int) -> list[str]:
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""
        {"user root root;" if os.geteuid() == 0 else ""}
        daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 256; }}
        http {{
            access_log off; {temporary}
            upstream service {{ server 127.0.0.1:{service}; keepalive 4; }}
            server {{
                listen 127.0.0.1:{port};
                location {OPEN} {{
                    proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
                    proxy_request_buffering off;
                }}
                location / {{ return 404; }}
            }}
        }}""")
    return ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, service: int) -> list[str]:
    (folder / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
    http-reuse always
frontend readers
    bind 127.0.0.1:{port}
    http-request deny deny_status 404 unless {{ path_beg {OPEN} }}
    default_backend service
backend service
    server one 127.0.0.1:{service}
""")
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def apache(folder: Path, port: int, service: int) -> list[str]:
    if not (APACHE_MODULES / "mod_proxy_http.so").exists():
        pytest.skip("apache2 has no mod_proxy_http here")
    modules = "\n".join(
        f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so"
        for name in ("mpm_event", "authz_core", "proxy", "proxy_http")
    )
    (folder / "apache.conf").write_text(f"""
        {modules}
        ServerRoot {folder}
        ServerName 127.0.0.1
        Listen 127.0.0.1:{port}
        PidFile {folder}/pid
        ErrorLog {folder}/error.log
        StartServers 1
        ServerLimit 1
        ThreadsPerChild 32
        MaxRequestWorkers 32
        Mutex pthread
        ProxyPass {OPEN} http://127.0.0.1:{service}{OPEN} keepalive=On
    """)
    return ["apache2", "-d", str(folder), "-f", str(folder / "apache.conf"), "-DFOREGROUND"]


def caddy(folder: Path, port: int, service: int) -> list[str]:
    (folder / "Caddyfile").write_text(f"""
{{
    admin off
    auto_https off
    storage file_system {folder}
}}
http://:{port} {{
    bind 127.0.0.1
    handle {OPEN}* {{
        reverse_proxy 127.0.0.1:{service}
    }}
    respond 404
}}
""")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def go(folder: Path, port: int, service: int) -> list[str]:
    (folder / "main.go").write_text("""
package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	service, _ := url.Parse("http://127.0.0.1:" + os.Args[2])
	http.Handle(os.Args[3], httputil.NewSingleHostReverseProxy(service))
	http.ListenAndServe("127.0.0.1:"+os.Args[1], nil)
}
""")
    program = shutil.which("go", path=PATH)
    assert program is not None
    subprocess.run(
        [program, "build", "-o", "proxy", "main.go"],
        cwd=folder,
        env={**os.environ, "GO111MODULE": "off", "GOTOOLCHAIN": "local", "HOME": os.environ.get("HOME", str(folder))},
        check=True,
        timeout=170,
    )
    return [str(folder / "proxy"), str(port), str(service), OPEN]


PROXIES: dict[str, tuple[Callable[[Path, int, int], list[str]], str, str]] = {
    "nginx": (nginx, "nginx", "apt install nginx-light"),
    "HAProxy": (haproxy, "haproxy", "apt install haproxy"),
    "Apache": (apache, "apache2", "apt install apache2-bin"),
    "Caddy": (caddy, "caddy", "apt install caddy"),
    "Go's ReverseProxy": (go, "go", "apt install golang-go"),
}


@contextlib.contextmanager
def started(name: str, folder: Path, service: int) -> Iterator[int]:
    """Start a proxy in front of a service; gives its port. Skips where it is not installed."""
    configure, program, how = PROXIES[name]
    port = free_port()
    with run(name, program, how, lambda: configure(folder, port, service), folder, port):
        yield port


@contextlib.contextmanager
def run(
    name: str, program: str, how: str, configure: Callable[[], list[str]], folder: Path, port: int
) -> Iterator[None]:
    """Run the command of `configure`, and wait until it listens at `port`. Skips where the program is not installed."""
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"{program} is not installed (Debian, Ubuntu: {how}): it is NOT TESTED")
    command = configure()
    command[0] = shutil.which(command[0], path=PATH) or command[0]
    stopping = threading.Event()

    def start() -> subprocess.Popen[bytes]:
        with (folder / "said").open("ab") as said:
            environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
            return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)

    process = start()

    def supervise() -> None:
        # As systemd would: Caddy 2.6 panics now and then in Go's own server, when a client that waits for 100-continue
        # goes (net/http, expectContinueReader). A proxy that ends for another reason stays away.
        nonlocal process
        while process.wait() is not None and not stopping.is_set() and b"panic:" in (folder / "said").read_bytes():
            process = start()

    supervisor = threading.Thread(target=supervise)
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), f"{name} listens", 20)
        assert process.poll() is None, (folder / "said").read_text()
        supervisor.start()
        yield
    finally:
        stopping.set()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if supervisor.is_alive():
            supervisor.join()


async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a proxy, also while it is started again."""
    for _ in range(1000):
        with contextlib.suppress(ConnectionRefusedError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError("the proxy is gone")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
