"""What one network may send, through HTTP: limited, counted as such, and nobody near or in an office is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.client import HOST, Answer, Hit, Visitor, crowd
from tests.web.inprocess import Running, running

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


async def test_made_up_visit_ids(app: Running) -> None:
    """hostile-inputs row 22: a thousand visit ids from one address and agent are so many visitors as the site allows,
    and one more; all hits count, and it is told how many were not told apart."""
    await app.put_site(visitors_per_network=20, views="every-load", office_networks=["198.51.100.7/32"])
    made_up = [replace(ANN, visit_id=f"made-up-{n:06d}") for n in range(100)]
    assert counted(await send(app, made_up)) == 100
    numbers = await app.numbers()
    assert (numbers["today"], numbers["online"]) == (21, 21)
    assert await app.connection.views("t1", ["/a"]) == {"/a": 100}
    await app.ignored({})
    # Who was told apart before still is; so are another agent, an office, and the next half hour.
    assert counted(await send(app, made_up[:20])) == 20
    assert (await app.numbers())["today"] == 21
    await send(app, [replace(each, agent="Mozilla/5.0 (X11; Linux x86_64; rv:127.0)") for each in made_up[20:30]])
    assert (await app.numbers())["today"] == 31
    await send(app, [replace(each, address="198.51.100.7") for each in made_up[:40]])
    assert (await app.numbers())["today"] == 71
    app.clock.advance(1801)
    await send(app, made_up[50:60])
    assert (await app.numbers())["today"] == 81
    noted = await app.connection.request(
        "GET", "/v1/admin/sites/t1/ignored", headers={"authorization": await app.token("viewer", "t1")}
    )
    assert noted.json["ignored"] == {}
    assert noted.json["visitors_capped"] == 80


async def test_a_visitor_who_is_not_told_apart_stays_online_by_heartbeats(app: Running) -> None:
    """The heartbeat of such a reader prolongs the visit that the hit was counted for."""
    await app.put_site(visitors_per_network=1)
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
