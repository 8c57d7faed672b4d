"""The examples of deploy/ for a portal's own web server, started as they are: only ports and folders are replaced.

Each is a portal at two ports: with the example as it is, and with the line that it names for a proxy before it. Both
have a page at `/`, and the widget below `/vs/`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.ports import free_port
from tests.web import proxies

DEPLOY = Path(__file__).parents[1] / "deploy"
STATIC = Path(__file__).parents[1] / "src" / "visitstats" / "web" / "static"
PAGE = """<!DOCTYPE html><meta charset=utf-8><title>Cổng thông tin</title>
<p data-vs-box>Đang online: <b data-vs=online>—</b>, tất cả: <b data-vs=total>—</b></p>
<script async src=/vs/widget.js data-site=portal></script>
"""
SERVICE = "127.0.0.1:8080"
"""Where the examples find the service."""


class Ports(NamedTuple):
    """The portal as it is, and behind another proxy."""

    portal: int
    chained: int


def nginx(folder: Path, ports: Ports, service: int) -> list[str]:
    upstream = replaced(example("nginx/visitstats-upstream.conf"), SERVICE, f"127.0.0.1:{service}")
    upstream = replaced(upstream, "/var/cache/nginx/visitstats", f"{folder}/cache")
    location = example("nginx/visitstats-location.conf")
    chained = replaced(location, "X-Forwarded-For $remote_addr;", "X-Forwarded-For $proxy_add_x_forwarded_for;")
    servers = "\n".join(
        f"server {{ listen 127.0.0.1:{port}; root {folder}/portal;\n{text}\n}}"
        for port, text in zip(ports, (location, chained), strict=True)
    )
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        # Started as root it would give its rights away, and could not read this folder any more.
        f"{'user root root;' if os.geteuid() == 0 else ''}\n"
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 256; }}\n"
        f"http {{ access_log off; {temporary}\n{upstream}\n{servers}\n}}\n",
        encoding="utf-8",
    )
    return ["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def caddy(folder: Path, ports: Ports, service: int) -> list[str]:
    text = replaced(
        example("caddy/visitstats.caddy"), f"reverse_proxy {SERVICE} {{", f"reverse_proxy 127.0.0.1:{service} {{"
    )
    text = replaced(text, "root * /var/lib/caddy/visitstats", f"root * {folder}/copy")
    chained = replaced(text, "transport http {", "trusted_proxies 127.0.0.1/32\n\t\ttransport http {")
    parts = [f"{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {folder}\n}}\n"]
    for name, port, said in (("portal", ports.portal, text), ("chained", ports.chained, chained)):
        (folder / f"{name}.caddy").write_text(said, encoding="utf-8")
        parts.append(
            f"http://:{port} {{\n\tbind 127.0.0.1\n\timport {folder}/{name}.caddy\n"
            f"\troot * {folder}/portal\n\tfile_server\n}}\n"
        )
    (folder / "Caddyfile").write_text("\n".join(parts), encoding="utf-8")
    return ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]


def apache(folder: Path, ports: Ports, service: int) -> list[str]:
    names = (
        "mpm_event", "authz_core", "proxy", "proxy_http", "headers", "cache", "cache_disk", "alias", "dir", "mime",
    )  # fmt: skip
    modules = "\n".join(f"LoadModule {name}_module {proxies.APACHE_MODULES}/mod_{name}.so" for name in names)
    text = example("apache/visitstats.conf").replace(SERVICE, f"127.0.0.1:{service}")
    text = replaced(text, "/var/cache/apache2/mod_cache_disk", f"{folder}/cache")
    (folder / "cache").mkdir()
    (folder / "types").write_text("text/html html\n", encoding="utf-8")
    chained = replaced(text, "RequestHeader unset X-Forwarded-For early", "")
    hosts = "\n".join(
        f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nDocumentRoot {folder}/portal\n{said}\n</VirtualHost>"
        for port, said in zip(ports, (text, chained), strict=True)
    )
    (folder / "apache.conf").write_text(
        f"{modules}\nServerRoot {folder}\nServerName 127.0.0.1\nTypesConfig {folder}/types\n"
        f"PidFile {folder}/pid\nErrorLog {folder}/error.log\nDirectoryIndex index.html\n"
        f"StartServers 1\nServerLimit 1\nThreadsPerChild 64\nMaxRequestWorkers 64\nMutex pthread\n{hosts}\n",
        encoding="utf-8",
    )
    return ["apache2", "-d", str(folder), "-f", f"{folder}/apache.conf", "-DFOREGROUND"]


def haproxy(folder: Path, ports: Ports, service: int) -> list[str]:
    front = replaced(
        example("haproxy/visitstats-frontend.cfg"),
        "file /etc/haproxy/visitstats-widget.js",
        f"file {folder}/copy/widget.js",
    )
    back = replaced(example("haproxy/visitstats-backend.cfg"), SERVICE, f"127.0.0.1:{service}")
    chained = replaced(back, "http-request set-header X-Forwarded-For %[src]", "option forwardfor")
    page = f"http-request return status 200 content-type text/html file {folder}/portal/index.html if {{ path / }}"
    fronts = "\n".join(
        f"frontend {name}-portal\n    bind 127.0.0.1:{port}\n    {page}\n"
        f"{replaced(front, 'use_backend visitstats', f'use_backend {name}')}"
        for name, port in (("visitstats", ports.portal), ("chained", ports.chained))
    )
    (folder / "haproxy.cfg").write_text(
        "defaults\n    mode http\n    timeout client 60s\n    timeout server 5s\n    timeout connect 5s\n"
        f"{fronts}\n{back}\n{replaced(chained, 'backend visitstats', 'backend chained')}\n",
        encoding="utf-8",
    )
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


SHIPPED = {"nginx": nginx, "Caddy": caddy, "Apache": apache, "HAProxy": haproxy}


@contextlib.contextmanager
def portal(name: str, folder: Path, service: int) -> Iterator[Ports]:
    """Start the example of a web server before a service; gives its ports. Skips where it is not installed."""
    (folder / "portal").mkdir(parents=True)
    (folder / "portal" / "index.html").write_text(PAGE, encoding="utf-8")
    (folder / "copy").mkdir()
    (folder / "copy" / "widget.js").write_bytes((STATIC / "widget.js").read_bytes())
    ports = Ports(free_port(), free_port())
    command = SHIPPED[name]
    _, program, how = proxies.PROXIES[name]
    with proxies.run(name, program, how, lambda: command(folder, ports, service), folder, ports.portal):
        yield ports


def is_installed(name: str) -> bool:
    """Whether the web server of an example is there."""
    return shutil.which(proxies.PROXIES[name][1], path=proxies.PATH) is not None


def example(name: str) -> str:
    """A file of deploy/."""
    return (DEPLOY / name).read_text(encoding="utf-8")


def replaced(text: str, old: str, new: str) -> str:
    """The example with one thing changed, which must be in it exactly once."""
    assert text.count(old) == 1, f"{old} is not in the example exactly once"
    return text.replace(old, new)
