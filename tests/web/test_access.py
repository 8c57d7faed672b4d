"""Least privilege, from the table of routes: each route, asked with each scope, for a site of the token's own, a
foreign one and one that does not exist; and the routes by which tokens are made, listed and revoked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.client import Answer, Connection
from tests.driver import Service
from tests.waiting import eventually
from tests.web.inprocess import Running
from visitstats.web.app import ROUTES
from visitstats.web.table import Route

RANKS = {"viewer": 1, "editor": 2, "admin": 3}
TOKENS = [(scope, sites) for scope in ("admin", "editor", "viewer", "metrics") for sites in ("t1", "t1 t2", "")]
SITES = ("t1", "foreign", "absent")
"""Of the tokens' own; another; one that does not exist."""
GUARDED = [route for route in ROUTES if route.scope is not None or route.path.startswith("/v1/admin")]


def may(scope: str, sites: str, least: str, site: str) -> bool:
    """What the words of docs/api.md allow, said once more."""
    if least == "metrics":
        return scope in ("admin", "metrics") and not sites
    return RANKS.get(scope, 0) >= RANKS[least] and (not sites or site in sites.split())


async def asked(app: Running, method: str, path: str, site: str, headers: dict[str, str]) -> Answer:
    path = path.replace("{site}", site).replace("{token}", "0123456789abcdef")
    path += "?explain=1" if path.endswith("/hit") else ""
    body: dict[str, str] | None = {} if method in ("POST", "PUT", "PATCH") else None
    return await app.connection.request(method, path, body, {"accept": "*/*"} | headers)


def test_every_route_below_admin_needs_a_token() -> None:
    assert [route.path for route in GUARDED if route.scope is None] == []


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
async def test_a_route_is_open_to_whom_the_table_says_and_to_nobody_else(app: Running, route: Route) -> None:
    """Refusals are the same to the byte whether the site exists or not; nothing was changed by any of them."""
    assert route.scope is not None
    least, method, path = route.scope, route.method, route.path
    for site in ("t2", "foreign"):
        await app.put_site(id=site, hosts=(f"{site}.example",))
    sites = SITES if "{site}" in path else ("",)
    nobody = {(await asked(app, method, path, site, {})).body for site in sites}
    assert len(nobody) == 1
    for scope, own in TOKENS:
        headers = {"authorization": await app.token(scope, own)}
        refusals = set()
        for site in sites:
            answer = await asked(app, method, path, site, headers)
            if not may(scope, "" if route.own_sites else own, least, site):
                assert (answer.status, answer.json["error"]) == (403, "denied"), (scope, own, site, answer)
                refusals.add((answer.body, tuple(sorted(answer.headers.items()))))
            else:
                assert answer.status not in (401, 403, 405, 500), (scope, own, site, answer)
                assert (answer.status == 404) >= (site == "absent"), (scope, own, site, answer)
        assert len(refusals) <= 1
    assert (await asked(app, method, path, sites[0], {})).status == 401
    wrong = {"authorization": "Bearer vs_wrong"}
    assert (await asked(app, method, path, sites[0], wrong)).status == 401


async def test_tokens_are_made_listed_and_revoked_over_the_api(app: Running) -> None:
    headers = {"authorization": await app.token("admin", name="boss")}
    order = {"name": "Phòng tin", "scope": "editor", "sites": ["t1", "beats"]}
    made = await app.connection.request("POST", "/v1/admin/tokens", order, headers)
    assert made.status == 201, made
    shown = made.json
    text = shown.pop("token")
    expected = {
        "name": "Phòng tin", "scope": "editor", "sites": ["t1", "beats"], "created": "2040-05-16T05:00:00+00:00",
        "by": "boss", "used": None, "expires": "2041-05-16T05:00:00+00:00",
    }  # fmt: skip
    assert shown == {"id": shown["id"]} | expected
    theirs = {"authorization": f"Bearer {text}"}
    articles = "/v1/admin/sites/t1/articles"
    assert (await app.connection.request("GET", articles, headers=theirs)).status == 200
    listed = (await app.connection.request("GET", "/v1/admin/tokens", headers=headers)).json
    assert [each["name"] for each in listed["tokens"]] == ["Phòng tin", "boss"]
    assert listed["tokens"][0] == shown | {"used": "2040-05-16T05:00:00+00:00"}
    assert text not in str(listed)
    path = f"/v1/admin/tokens/{made.json['id']}"
    assert (await app.connection.request("DELETE", path, headers=headers)).json == {"id": made.json["id"]}
    assert (await app.connection.request("GET", articles, headers=theirs)).status == 401
    assert (await app.connection.request("DELETE", path, headers=headers)).status == 404


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"name": "n", "scope": "owner"}, 400),
        ({"name": "n", "scope": "viewer", "sites": ["absent"]}, 404),
        ({"name": "n", "scope": "viewer", "days": -1}, 400),
        ({"name": "n", "scope": "viewer", "days": 99999}, 400),
        ({"name": "\u202en", "scope": "viewer"}, 400),
        ({"name": "n", "scope": "viewer", "site": "t1"}, 400),
        ({"name": "boss", "scope": "viewer"}, 400),
        ({}, 400),
    ],
    ids=str,
)
async def test_a_token_that_cannot_be_made_changes_nothing(app: Running, order: dict[str, object], status: int) -> None:
    headers = {"authorization": await app.token("admin", name="boss")}
    assert (await app.connection.request("POST", "/v1/admin/tokens", order, headers)).status == status
    listed = (await app.connection.request("GET", "/v1/admin/tokens", headers=headers)).json
    assert [each["name"] for each in listed["tokens"]] == ["boss"]


async def test_refusals_are_told_to_administrators_of_all_sites(app: Running) -> None:
    """Who, from which network (never an address), what and how often; of sites only those that exist."""
    viewer = await app.token("viewer", "t1", name="Lan")
    admin = {"authorization": await app.token("admin")}
    reader, other = {"x-forwarded-for": "203.0.113.77"}, {"x-forwarded-for": "2001:db8:1:2::5"}
    for headers, site in (
        (reader | {"authorization": viewer}, "beats"),
        (reader | {"authorization": viewer}, "absent"),
        (reader | {"authorization": "Bearer guess"}, "t1"),
        (reader | {"authorization": "Bearer guess"}, "beats"),
        (other, "t1"),
        (other | {"authorization": viewer, "origin": "https://elsewhere.example"}, "t1"),
    ):
        answer = await app.connection.request("GET", f"/v1/admin/sites/{site}/articles", headers=headers)
        assert answer.status in (401, 403)
    found = (await app.connection.request("GET", "/v1/admin/refusals?days=1", headers=admin)).json["refusals"]
    route, v4, v6 = "GET /v1/admin/sites/{site}/articles", "203.0.113.0/24", "2001:db8:1::/48"
    assert {tuple(row[name] for name in ("status", "reason", "who", "network", "site", "times")) for row in found} == {
        (403, "site", "Lan", v4, "beats", 1),
        (403, "site", "Lan", v4, "", 1),
        (401, "unknown-token", "", v4, "", 2),
        (401, "no-token", "", v6, "", 1),
        (403, "origin", "", v6, "", 1),
    }
    assert {row["route"] for row in found} == {route}
    assert {row["last"] for row in found} == {"2040-05-16T05:00:00+00:00"}


async def test_a_flood_of_guesses_from_many_networks_stays_bounded_and_lets_a_token_in(app: Running) -> None:
    headers = {"authorization": await app.token("admin")}
    assert app.app.worker is not None
    for n in range(520):
        stranger = {"authorization": "Bearer x", "x-forwarded-for": f"10.{n % 250}.{n // 250}.1"}
        assert (await app.connection.request("GET", "/v1/admin/tokens", headers=stranger)).status == 401
    assert len(app.app.worker.refusals._found) <= 501
    found = (await app.connection.request("GET", "/v1/admin/refusals", headers=headers)).json["refusals"]
    assert sum(row["times"] for row in found) == 520
    assert len(found) <= 501


async def test_the_command_line_makes_lists_and_revokes_and_shows_what_was_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a running service; a person's token ends after a year, a machine's never."""
    monkeypatch.setitem(service.environ, "COLUMNS", "220")
    service.add_site("access")
    await service.known("access")
    text = service.cli("token", "add", "Lan [b]", "--scope", "viewer", "--site", "t1", "--site", "access").split()[0]
    service.cli("token", "add", "máy đo", "--scope", "metrics")
    connection = await Connection.open(service.port)
    headers = {"authorization": f"Bearer {text}"}
    for site, status in (("t1", 200), ("access", 200), ("absent", 403)):
        path = f"/v1/admin/sites/{site}/uniques"
        assert (await connection.request("GET", path, headers=headers)).status == status, site
    listed = service.cli("token", "list")
    assert re.search(r"Lan \[b\] +│ viewer +│ t1, access", listed), listed
    next_year = (datetime.now(UTC) + timedelta(days=365)).date().isoformat()
    lines = {line.split("│")[2].strip(): line for line in listed.splitlines() if line.count("│") > 2}
    assert (next_year in lines["Lan [b]"], next_year in lines["máy đo"]) == (True, False)

    def shown() -> bool:
        """A worker tells the store every few seconds."""
        told = service.cli("token", "refusals")
        return bool(
            re.search(r"403 +│ site +│ Lan \[b\] +│ 127\.0\.0\.0/24 +│ GET /v1/admin/sites/{site}/uniques", told)
        )

    await eventually(shown, "what was refused is shown", 20)
    service.cli("token", "revoke", "Lan [b]")
    assert (await connection.request("GET", "/v1/admin/sites/t1/uniques", headers=headers)).status == 401
    connection.close()
