"""Every answer of every route says what browsers may do with it: by the table of routes, errors among them."""

from __future__ import annotations

import pytest

from tests.client import HOST, Answer, Connection
from tests.web.inprocess import Running
from tests.web.test_limits import ANN
from visitstats.web.app import ROUTES
from visitstats.web.table import Route

FRAMED = ("/v1/sites/{site}/box", "/v1/sites/{site}/box.svg")
"""What any page may show in a frame."""
PRIVATE = ("/v1/admin/", "/admin", "/metrics", "/healthz", "/readyz")
"""What no page of another origin may read."""
NAMED = {
    "site": "t1", "version": "0.1.0", "sha": "0" * 16, "name": "box.css", "path": "main.js", "id": "0" * 16,
    "token": "0" * 16,
}  # fmt: skip


def target(route: Route) -> str:
    path = route.path.replace("{path:path}", "main.js")
    return path.format(**NAMED) + ("?key=/a" if path.endswith("views") else "")


def check(headers: dict[str, str], path: str, status: int) -> None:
    """The headers of an answer."""
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in ("no-referrer", "same-origin")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy or "default-src 'self'" in policy
    assert "unsafe" not in policy
    ancestors = "*" if path in FRAMED and status < 400 else "'none'"
    assert f"frame-ancestors {ancestors}" in policy
    private = path.startswith(PRIVATE)
    assert headers["cross-origin-resource-policy"] == ("same-origin" if private else "cross-origin")
    assert not (private and "access-control-allow-origin" in headers)
    if path.startswith("/v1/admin/"):
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_says_what_browsers_may_do_with_its_answers(app: Running, route: Route) -> None:
    """With the token of an administrator, and without one; with a body, or an empty one that is refused."""
    if route.path.startswith("/demo") or route.path == "/":
        pytest.skip("a page of the demo's portal, with a policy of its own (tests/unit/test_demo.py)")
    token = await app.token("admin")
    for headers in ({"authorization": token}, {}):
        connection = await Connection.open(app.ports[0])
        lines = {"host": "127.0.0.1", "user-agent": ANN.agent, "referer": f"https://{HOST}/a", **headers}
        body = b"{}" if route.method in ("POST", "PUT") else b""
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        sent = f"{route.method} {target(route)} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n"
        await connection.write(sent.encode() + body)
        first, *found = (await connection.head())[:-4].decode().split("\r\n")
        connection.cut()
        named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in found)}
        check(named, route.path, int(first.split()[1]))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("GET /nothing HTTP/1.1\r\nhost: h\r\n\r\n", 404),
        ("GET /%2e%2e/admin HTTP/1.1\r\nhost: h\r\n\r\n", 404),
        ("DELETE /v1/sites/t1/stats HTTP/1.1\r\nhost: h\r\n\r\n", 405),
        ("GET /v1/sites/nowhere/stats HTTP/1.1\r\nhost: h\r\n\r\n", 404),
        ("POST /v1/sites/t1/hit HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n{x}", 400),
        ("POST /v1/sites/t1/hit HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999\r\n\r\n", 413),
        ("GET / HTTP/1.1\r\nhost: h h\r\n\r\n", 400),
        ("BREW / HTTP/1.1\r\nhost: h\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nhost: h\r\n" + "a: b\r\n" * 200 + "\r\n", 431),
    ],
)
async def test_what_is_refused_says_so_too(app: Running, sent: str, status: int) -> None:
    connection = await Connection.open(app.ports[0])
    answer: Answer = await connection.send(sent.encode())
    assert answer.status == status
    check(answer.headers, "/", status)
    connection.cut()
