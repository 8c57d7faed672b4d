"""The examples for web servers that the tests cannot start let readers through to the same routes as the others."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from visitstats.web.app import ROUTES

DEPLOY = Path(__file__).parents[2] / "deploy"
OF_READERS = ("/widget.js", "/widget/", "/v1/sites/")
IIS = ElementTree.parse(DEPLOY / "iis" / "web.config")  # noqa: S314 - our own
TRAEFIK = (DEPLOY / "traefik" / "compose.yaml").read_text(encoding="utf-8")
PATHS = sorted(
    {re.sub(r"\{.*?\}", "x", route.path) for route in ROUTES} | {"/metrics", "/v1/admin/sites", "/v1/sitesx"}
)


def iis(path: str) -> str | None:
    """What the service is asked for; None where the reader is told that there is nothing."""
    for rule in IIS.iter("rule"):
        match, action = rule.find("match"), rule.find("action")
        assert match is not None
        assert action is not None
        # IIS compares without the first slash.
        if found := re.search(match.attrib["url"], path.removeprefix("/")):
            if action.attrib["type"] == "CustomResponse":
                assert action.attrib["statusCode"] == "404"
                return None
            return action.attrib["url"].replace("{R:1}", found[1])
    raise AssertionError(f"no rule for {path}: it would be the portal's")


def traefik(path: str) -> str | None:
    """As above."""
    [rule] = re.findall(r"routers\.visitstats\.rule: >-\n\s+(.+)", TRAEFIK)
    [prefix] = re.findall(r"stripprefix\.prefixes: (\S+)", TRAEFIK)
    found = any(
        path == value if kind == "Path" else path.startswith(value)
        for kind, value in re.findall(r"\b(Path|PathPrefix)\(`(.+?)`\)", rule)
    )
    return f"http://127.0.0.1:8080{path.removeprefix(prefix)}" if found else None


@pytest.mark.parametrize("server", [iis, traefik])
@pytest.mark.parametrize("path", PATHS)
def test_readers_get_what_is_theirs_and_nothing_else(server: object, path: str) -> None:
    assert callable(server)
    wanted = f"http://127.0.0.1:8080{path}" if path.startswith(OF_READERS) else None
    assert server(f"/vs{path}") == wanted


def test_both_tell_the_service_who_the_reader_is() -> None:
    """IIS replaces what the request says; Traefik does so by itself, unless it is told to believe it."""
    [address] = [each.attrib for each in IIS.iter("set")]
    assert address == {"name": "HTTP_X_FORWARDED_FOR", "value": "{REMOTE_ADDR}"}
    labels = [line for line in TRAEFIK.splitlines() if not line.lstrip().startswith("#")]
    assert not [line for line in labels if "forwardedHeaders" in line]
    assert 'traefik.http.services.visitstats.loadbalancer.server.port: "8080"' in TRAEFIK
