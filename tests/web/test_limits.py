"""What one network may send, through HTTP: limited, counted as such, and nobody near or in an office is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.client import HOST, Answer, Connection, Hit, Visitor, crowd
from tests.web.inprocess import Running, running
from visitstats.core.beacon import HitBeacon
from visitstats.sites.directory import LiveSite
from visitstats.web.app import ROUTES
from visitstats.web.beacons import rules
from visitstats.web.routes import public
from visitstats.web.table import Route

ANN = Visitor("203.0.113.9", crowd(1, "limits")[0].agent, "visit-id-of-ann")
BURST = 20


async def send(app: Running, visitors: list[Visitor], site: str = "t1") -> list[Answer]:
    return [await app.connection.hit(site, Hit(visitor, "/a")) for visitor in visitors]


def counted(answers: list[Answer]) -> int:
    assert {answer.status for answer in answers} == {200}
    assert {answer.ignored for answer in answers} <= {"", "rate"}
    return sum(not answer.ignored for answer in answers)


async def test_a_network_that_sends_too_much(tmp_path: Path, redis_url: str) -> None:
    """hostile-inputs row 20: hits beyond the bucket are answered with the numbers, and are counted apart as `rate`."""
    async with running(
        tmp_path / "data", redis_url, network_burst=BURST, network_hits_per_second=2, answer_timeout_ms=5000
    ) as app:
        await app.put_site(views="every-load", office_networks=["198.51.100.0/24", "2001:db8:1::/48"])
        flood = [replace(ANN, address=f"203.0.113.{n % 250 + 1}") for n in range(BURST + 30)]
        answers = await send(app, flood)
        assert counted(answers) == BURST
        assert answers[-1].json["total"] > 0
        await app.ignored({"rate": 30})
        # Another network is another bucket; and this one's fills up again.
        assert counted(await send(app, [replace(ANN, address="203.0.114.1")])) == 1
        app.clock.advance(5)
        assert counted(await send(app, flood)) == 10
        # 10^5 addresses of one IPv6 /64 are one network.
        many = [replace(ANN, address=f"2001:db8:0:7::{n:x}") for n in range(1, BURST + 11)]
        assert counted(await send(app, many)) == BURST
        # An office of the site is not limited, nor is this machine itself.
        assert counted(await send(app, [replace(ANN, address="198.51.100.7")] * (BURST + 10))) == BURST + 10
        assert counted(await send(app, [replace(ANN, address="2001:db8:1:2::3")] * (BURST + 10))) == BURST + 10
        assert counted(await send(app, [replace(ANN, address="127.0.0.1")] * (BURST + 10))) == BURST + 10


async def test_ten_thousand_visitors_of_one_network_lose_nothing_by_default(app: Running) -> None:
    """The limit is for what no provider's network does: here every hit of 200 readers of one /24 counts."""
    visitors = [replace(ANN, address=f"203.0.113.{n + 1}", visit_id=f"visit-{n:08d}") for n in range(200)]
    answers = await send(app, visitors * 3)
    assert counted(answers) == 600
    assert (await app.numbers())["today"] == 200


async def test_made_up_visitors(app: Running) -> None:
    """hostile-inputs rows 20 and 22: visit ids, browsers, and addresses of one network, however many are made up, are
    so many visitors as the site allows, and one more; all hits count, and it is told how many were not told apart."""
    await app.put_site(visitors_per_network=20, views="every-load", office_networks=["198.51.100.7/32"])
    made_up = [
        Visitor(f"203.0.113.{n % 200 + 1}", f"{ANN.agent} Edg/{n % 7}", f"made-up-{n:06d}" if n % 3 else "")
        for n in range(100)
    ]
    assert counted(await send(app, made_up)) == 100
    numbers = await app.numbers()
    assert (numbers["today"], numbers["online"]) == (21, 21)
    assert await app.connection.views("t1", ["/a"]) == {"/a": 100}
    await app.ignored({})
    # Who was told apart before still is; so are another network, an office, and the next half hour.
    assert counted(await send(app, made_up[:20])) == 20
    assert (await app.numbers())["today"] == 21
    await send(app, [replace(each, address="203.0.114.9") for each in made_up[20:30]])
    assert (await app.numbers())["today"] == 31
    await send(app, [replace(each, address="198.51.100.7") for each in made_up[:40]])
    office = len({(each.agent, each.visit_id) for each in made_up[:40]})
    assert (await app.numbers())["today"] == 31 + office
    app.clock.advance(1801)
    await send(app, made_up[50:60])
    assert (await app.numbers())["today"] == 41 + office
    noted = await app.connection.request(
        "GET", "/v1/admin/sites/t1/ignored", headers={"authorization": await app.token("viewer", "t1")}
    )
    assert noted.json["ignored"] == {}
    assert noted.json["visitors_capped"] == 80


async def test_addresses_of_one_ipv6_customer(app: Running) -> None:
    """A customer who has a /48 is one network; another /48 is another."""
    await app.put_site(visitors_per_network=5)
    await send(app, [replace(ANN, address=f"2001:db8:7:{n:x}::{n:x}") for n in range(1, 30)])
    assert (await app.numbers())["today"] == 6
    await send(app, [replace(ANN, address=f"2001:db8:8:{n:x}::1") for n in range(1, 4)])
    assert (await app.numbers())["today"] == 9


async def test_a_school_is_carried_by_default(app: Running) -> None:
    """1,000 pupils with a phone of one kind each behind one address, some without a visit id: only those whose browser
    has more than 500 visit ids are not told apart."""
    pupils = [replace(ANN, agent=f"{ANN.agent} kind/{n % 4}", visit_id=f"pupil-{n:04d}") for n in range(1000)]
    assert counted(await send(app, pupils)) == 1000
    assert (await app.numbers())["today"] == 1000


# Every way in ---------------------------------------------------------------------------------------------------------

OWN = f"https://{HOST}"
PAGES: list[tuple[str, dict[str, str], str]] = [
    ("our page", {"referer": f"{OWN}/a?b=c#d"}, ""),
    ("our page, its origin alone", {"referer": OWN}, ""),
    ("nothing told", {}, ""),
    ("a foreign page", {"referer": "https://elsewhere.example/page"}, "origin"),
    ("a foreign page with our name in it", {"referer": f"https://elsewhere.example/{OWN}"}, "origin"),
    ("a foreign page below our name", {"referer": f"{OWN}.elsewhere.example/"}, "origin"),
    ("a foreign page without its name, on our host", {"sec-fetch-site": "cross-site", "host": HOST}, "origin"),
    ("a page without its name, elsewhere", {"sec-fetch-site": "cross-site", "host": "counter.example.vn"}, ""),
    ("our page without its name", {"sec-fetch-site": "same-origin", "host": HOST}, ""),
    ("opened by hand", {"sec-fetch-mode": "navigate", "sec-fetch-site": "none"}, "origin"),
    ("a link on our page", {"sec-fetch-mode": "navigate", "referer": f"{OWN}/a"}, "origin"),
    ("not an address", {"referer": "hidden by a proxy"}, ""),
]


@pytest.mark.parametrize(("headers", "reason"), [row[1:] for row in PAGES], ids=[row[0] for row in PAGES])
async def test_a_picture_counts_for_the_page_that_shows_it(app: Running, headers: dict[str, str], reason: str) -> None:
    """A picture has no Origin: its page is known by Referer and fetch metadata (hostile-inputs row 24)."""
    sent = {"x-forwarded-for": ANN.address, "user-agent": ANN.agent} | headers
    answer = await app.connection.request("GET", f"/v1/sites/t1/hit.gif?u={OWN}/a", headers=sent)
    assert (answer.status, answer.ignored) == (200, reason)
    assert (await app.numbers())["today"] == (0 if reason else 1)
    body = {"u": f"{OWN}/a"}
    assert (await app.connection.request("POST", "/v1/sites/t1/hit", body, sent)).ignored == reason


@pytest.mark.parametrize(
    ("headers", "site", "reason"),
    [
        ({"origin": "https://elsewhere.example"}, {}, "origin"),
        ({"referer": "https://elsewhere.example/"}, {}, "origin"),
        ({"user-agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}, {}, "bot"),
        ({"user-agent": ""}, {}, "empty-agent"),
        ({}, {"excluded_networks": ["203.0.113.0/24"]}, "excluded"),
        ({}, {"archived": True}, "archived"),
    ],
)
async def test_a_heartbeat_goes_by_the_rules_of_a_hit(
    app: Running, headers: dict[str, str], site: dict[str, object], reason: str
) -> None:
    """Who would not be counted is not kept online either; the answer says why, and the numbers come all the same."""
    await app.connection.hit("t1", Hit(ANN, "/a"))
    await app.put_site(**site)
    app.clock.advance(200)
    sent = {"x-forwarded-for": ANN.address, "user-agent": ANN.agent} | headers
    answer = await app.connection.request("POST", "/v1/sites/t1/alive", {"v": ANN.visit_id}, sent)
    assert (answer.status, answer.ignored) == (200, reason)
    assert answer.json["total"] == 1
    await app.settle_heartbeats()
    app.clock.advance(200)
    assert (await app.numbers())["online"] == 0
    text = (await app.connection.request("GET", "/metrics")).body.decode()
    assert f'visitstats_heartbeats_ignored_total{{reason="{reason}",site="t1"}} 1.0' in text
    await app.ignored({})


async def test_heartbeats_are_taken_from_the_same_bucket(tmp_path: Path, redis_url: str) -> None:
    async with running(
        tmp_path / "data", redis_url, network_burst=5, network_hits_per_second=1, answer_timeout_ms=5000
    ) as app:
        assert counted(await send(app, [ANN] * 3)) == 3
        beats = [await app.connection.alive("t1", ANN) for _ in range(4)]
        assert [answer.ignored for answer in beats] == ["", "", "rate", "rate"]
        assert counted(await send(app, [ANN])) == 0


async def asks(app: Running, address: str, keys: list[str]) -> Answer:
    headers = {"x-forwarded-for": address, "content-type": "application/json"}
    return await app.connection.request("POST", "/v1/sites/t1/views", {"keys": keys}, headers)


async def test_dear_questions_are_charged_to_the_network_that_asks(tmp_path: Path, redis_url: str) -> None:
    """By their bytes, and by the rules of the site; hits and questions have one bucket. Others are answered, and an
    office is not limited."""
    long = [f"/{n}-{'x' * 110}" for n in range(500)]
    async with running(
        tmp_path / "data", redis_url, network_burst=100, network_hits_per_second=10, answer_timeout_ms=5000
    ) as app:
        await app.put_site(office_networks=["198.51.100.0/24"])
        statuses = [(await asks(app, "203.0.113.9", long)).status for _ in range(3)]
        assert statuses == [200, 429, 429]
        refused = await asks(app, "203.0.113.200", long)
        assert (refused.json["error"], refused.headers["retry-after"]) == ("rate", "2")
        assert counted(await send(app, [ANN] * 60)) < 60
        assert [(await asks(app, "203.0.114.9", ["/a"])).status for _ in range(40)] == [200] * 40
        assert [(await asks(app, "198.51.100.9", long)).status for _ in range(5)] == [200] * 5
        app.clock.advance(10)
        assert (await asks(app, "203.0.113.9", long)).status == 200
        await app.put_site(rules=[[f"^/nothing-{n}", "/x"] for n in range(20)])
        assert (await asks(app, "203.0.115.9", long)).status == 429, "with 20 rules it is three times as dear"
        assert (await asks(app, "203.0.115.9", long[:100])).status == 200


async def test_a_list_of_64_kib_is_the_longest(app: Running) -> None:
    assert (await asks(app, ANN.address, ["/" + "x" * 4000] * 20)).status == 413


async def test_others_go_on_while_a_long_list_is_worked_out(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is given back between two keys, whenever its turn is over."""
    monkeypatch.setattr(public, "TURN_SECONDS", 0.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert (await asks(app, ANN.address, [f"/{n}" for n in range(400)])).status == 200
    task.cancel()
    assert turns >= 400


async def test_a_visitor_who_is_not_told_apart_stays_online_by_heartbeats(app: Running) -> None:
    """The heartbeat of such a reader prolongs the visit that the hit was counted for."""
    await app.put_site(visitors_per_network=2)
    first, second = (replace(ANN, visit_id=f"visit-{n}") for n in range(2))
    await send(app, [first, second])
    assert (await app.numbers())["online"] == 2
    app.clock.advance(200)
    await app.connection.alive("t1", second)
    await app.settle_heartbeats()
    app.clock.advance(200)
    assert (await app.numbers())["online"] == 1
    await send(app, [second])
    assert (await app.numbers())["today"] == 2


async def test_this_machine_may_have_any_number_of_visitors(app: Running) -> None:
    """Behind a proxy that says nothing of its readers, everybody has its address."""
    await app.put_site(visitors_per_network=5)
    await send(app, [replace(ANN, address="127.0.0.1", visit_id=f"visit-{n:06d}") for n in range(50)])
    assert (await app.numbers())["today"] == 50


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"forwarded": "for=203.0.113.9"}, 1),
        ({"forwarded": 'for="203.0.113.9:4711";proto=https, for=127.0.0.1'}, 1),
        ({"forwarded": "for=198.51.100.7", "x-forwarded-for": "203.0.113.9"}, 1),
        ({"forwarded": "for=unknown"}, 2),
    ],
)
async def test_a_proxy_may_write_forwarded(app: Running, headers: dict[str, str], expected: int) -> None:
    """RFC 7239: the same reader, whichever header the proxy writes."""
    await app.connection.hit("t1", Hit(ANN, "/a"))
    body = Hit(ANN, "/a").body()
    sent = {"user-agent": ANN.agent, "origin": f"https://{HOST}"} | headers
    assert (await app.connection.request("POST", "/v1/sites/t1/hit", body, sent)).status == 200
    assert (await app.numbers())["today"] == expected


async def test_several_forwarding_lines_are_one_list(app: Running) -> None:
    """A proxy that adds a line of its own does not hide the reader."""
    await app.connection.hit("t1", Hit(ANN, "/a"))
    body = b'{"u":"https://%b/a","v":"%b"}' % (HOST.encode(), ANN.visit_id.encode())
    lines = (
        f"POST /v1/sites/t1/hit HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {ANN.agent}\r\n"
        f"x-forwarded-for: {ANN.address}\r\nx-forwarded-for: 127.0.0.2\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    assert (await app.connection.send(lines.encode() + body)).status == 200
    assert (await app.numbers())["today"] == 1


READ = [route for route in ROUTES if route.scope is None and "{site}" in route.path and route.method == "GET"]


@pytest.mark.parametrize("route", READ, ids=lambda route: route.path.rpartition("/")[2])
async def test_whatever_is_read_of_a_site_is_charged_to_its_network(
    tmp_path: Path, redis_url: str, route: Route
) -> None:
    """By the table of routes: the sixth read of what costs a hit is refused, of a picture already the second; a hit of
    the same network has no room then. Another network reads and counts."""
    async with running(
        tmp_path / "data", redis_url, network_burst=5, network_hits_per_second=1, answer_timeout_ms=5000
    ) as app:
        await app.put_site(publish_top=True)
        path, price = route.path.replace("{site}", "t1") + "?key=/a", max(route.price, 1)
        if path.startswith("/v1/sites/t1/hit.gif"):
            path += f"&u=https://{HOST}/a"

        async def read(address: str) -> bytes:
            # Of a stream that never ends the head is enough.
            connection = await Connection.open(app.ports[0])
            lines = (
                f"host: {HOST}\r\nx-forwarded-for: {address}\r\nuser-agent: {ANN.agent}\r\nreferer: https://{HOST}/a"
            )
            await connection.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
            head = await connection.head()
            connection.cut()
            return b"429" if b"reason=rate" in head else head.split()[1]

        expected = [b"200"] * (5 // price)
        assert [await read(ANN.address) for _ in range(7)] == expected + [b"429"] * (7 - len(expected))
        assert counted(await send(app, [ANN] * 5)) == 5 % price
        assert await read("198.51.100.1") == b"200"
        app.clock.advance(5)
        assert await read(ANN.address) == b"200"


async def test_a_beacon_that_takes_long_to_work_out_has_its_price_before_it_is_worked_out(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,000 characters are as dear as twenty hits more; what is refused is refused before anything is done with them.
    An address with a long tail of what only tracks costs a hit, as ever."""
    worked_out: list[HitBeacon] = []
    real = rules._article_of

    def noted(live: LiveSite, beacon: HitBeacon) -> rules.Article:
        worked_out.append(beacon)
        return real(live, beacon)

    monkeypatch.setattr(rules, "_article_of", noted)
    async with running(
        tmp_path / "data", redis_url, network_burst=50, network_hits_per_second=1, answer_timeout_ms=5000
    ) as app:
        long = f"{'x' * 480}?a={'y' * 3490}"
        readers = [replace(ANN, visit_id=f"visit-{n:06d}") for n in range(4)]
        said = [await app.connection.hit("t1", Hit(reader, f"/{n}{long}")) for n, reader in enumerate(readers)]
        assert [answer.ignored for answer in said] == ["", "", "rate", "rate"]
        assert len(worked_out) == 2
        assert counted(await send(app, [ANN] * 20)) == 50 - 2 * 21
        other = replace(ANN, address="198.51.100.7")
        tails = [await app.connection.hit("t1", Hit(other, f"/a?fbclid={'z' * 300}{n}")) for n in range(51)]
        assert [answer.ignored for answer in tails].count("rate") == 1


async def test_parameters_have_a_bound_before_they_are_taken_apart(app: Running) -> None:
    for query, error in (("key=/a&" * 400, ""), ("k&" * 1001, "bad-query")):
        connection = await Connection.open(app.ports[0])
        answer = await connection.request("GET", f"/v1/sites/t1/views?key=/a&{query}", headers=ANN.headers)
        assert answer.json.get("error", "") == error
        connection.close()
