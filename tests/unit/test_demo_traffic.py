"""The demo's traffic player: visitors who do what the widget does, against a service of a few lines."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import crawleruseragents
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import eventually
from visitstats.demo.articles import load_articles
from visitstats.demo.crowd import BOTS, BROWSERS, IPV4_RANGES, IPV6_RANGE, Visitor, draw_visitor, next_gap
from visitstats.demo.loopback import CONNECTIONS, LoopbackClient, NoAnswer
from visitstats.demo.traffic import HEARTBEAT, TrafficStats, play

ARTICLES = load_articles()
SEED = 2022
RATE = 30.0

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
IGNORED = b"HTTP/1.1 200 OK\r\nX-Visitstats: ignored; reason=bot\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Beacon:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Service:
    """Takes beacons and answers each with the bytes that `answer` gives; None is silence."""

    answer: Callable[[Beacon], bytes | None]
    close_after_answer: bool = False
    beacons: list[Beacon] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                request, *lines = head.strip().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines)
                body = json.loads(await reader.readexactly(int(headers["Content-Length"])))
                beacon = Beacon(request.split(" ")[1], headers, body)
                self.beacons.append(beacon)
                answer = self.answer(beacon)
                if answer is None:
                    continue
                writer.write(answer)
                if self.close_after_answer:
                    return
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()


def as_the_service(beacon: Beacon) -> bytes:
    return IGNORED if beacon.headers["User-Agent"] in BOTS else COUNTED


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[Service]:
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield service


def crowd(count: int) -> tuple[list[Visitor], float]:
    """The first visitors that the player draws from SEED, and the gap after the last of them."""
    rng = random.Random(SEED)
    visitors = []
    for _ in range(count):
        next_gap(rng, RATE)
        visitors.append(draw_visitor(rng, ARTICLES))
    return visitors, next_gap(rng, RATE)


def door_shut_after(gap: float) -> Callable[[float], Awaitable[None]]:
    """A clock on which all waiting is over at once, except the wait that begins with `gap`: that one never ends."""

    async def sleep(seconds: float) -> None:
        await (asyncio.Event().wait() if seconds == gap else asyncio.sleep(0))

    return sleep


@asynccontextmanager
async def playing(url: str, sleep: Callable[[float], Awaitable[object]]) -> AsyncIterator[TrafficStats]:
    """The player at work; its numbers, the same object all the time. Fails when it does not stop at once."""
    stop = asyncio.Event()
    seen: list[TrafficStats] = []
    task = asyncio.create_task(play(url, stop, rate=RATE, seed=SEED, report=seen.append, sleep=sleep))
    try:
        await eventually(lambda: bool(seen) or task.done(), "the player reports")
        yield seen[0]
    finally:
        stop.set()
        await asyncio.wait_for(task, 2)


async def test_every_visitor_sends_what_the_widget_would() -> None:
    """One hit per article with a heartbeat for each full minute, in order, from one address, browser and visit id."""
    visitors, last_gap = crowd(60)
    service = Service(as_the_service)
    async with running(service), playing(service.url, door_shut_after(last_gap)) as stats:
        await eventually(
            lambda: stats.visitors + stats.bots == len(visitors) and stats.reading == 0, "everybody has come and left"
        )
        await eventually(
            lambda: stats.answered == sum(len(expected(visitor)) for visitor in visitors), "every beacon is answered"
        )

    for visitor in visitors:
        sent = [beacon for beacon in service.beacons if beacon.body["v"] == visitor.visit_id]
        assert [beacon.path.rsplit("/", 1)[1] for beacon in sent] == expected(visitor)
        assert {beacon.headers["X-Forwarded-For"] for beacon in sent} == {visitor.address}
        assert {beacon.headers["User-Agent"] for beacon in sent} == {visitor.agent}
        assert {beacon.headers["Origin"] for beacon in sent} == {service.url}
        hits = [beacon.body for beacon in sent if beacon.path == "/v1/sites/demo/hit"]
        addresses = [f"{service.url}/demo/{reading.article.path}" for reading in visitor.readings]
        assert [hit["u"] for hit in hits] == addresses
        assert [hit["r"] for hit in hits] == [visitor.referrer, *addresses[:-1]]
        assert [hit["t"] for hit in hits] == [reading.article.title for reading in visitor.readings]
        assert [hit["h"] for hit in hits] == [reading.hit_id for reading in visitor.readings]

    people = [visitor for visitor in visitors if not visitor.is_bot]
    assert stats.visitors == len(people)
    assert stats.hits == sum(len(visitor.readings) for visitor in people)
    assert stats.bot_hits == sum(len(visitor.readings) for visitor in visitors if visitor.is_bot) > 0
    assert stats.heartbeats > 0
    assert not stats.failed
    assert not stats.errors
    assert service.connections <= CONNECTIONS


def expected(visitor: Visitor) -> list[str]:
    routes = []
    for reading in visitor.readings:
        minutes = 0 if visitor.is_bot else int((reading.seconds - 1e-9) // HEARTBEAT)
        routes += ["hit", *["alive"] * minutes]
    return routes


async def test_a_service_that_closes_its_connections_loses_no_beacon() -> None:
    visitors, last_gap = crowd(20)
    service = Service(as_the_service, close_after_answer=True)
    async with running(service), playing(service.url, door_shut_after(last_gap)) as stats:
        await eventually(
            lambda: stats.answered == sum(len(expected(visitor)) for visitor in visitors), "every beacon is answered"
        )
    assert not stats.errors


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", "status-503"),
        (b"SSH-2.0-OpenSSH_9.6 is no answer\r\n", "bad-answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "bad-answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad-answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "bad-answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", "closed"),
    ],
)
async def test_what_goes_wrong_is_counted_by_name_and_the_visitors_go_on(answer: bytes, name: str) -> None:
    visitors, last_gap = crowd(5)
    service = Service(lambda beacon: answer, close_after_answer=True)
    async with running(service), playing(service.url, door_shut_after(last_gap)) as stats:
        beacons = sum(len(expected(visitor)) for visitor in visitors)
        await eventually(lambda: stats.failed == beacons, "every beacon has failed")
    assert stats.errors == {name: beacons}
    assert stats.answered == 0


async def test_a_service_that_is_away_is_named() -> None:
    async with running(Service(as_the_service)) as service:
        pass
    _, last_gap = crowd(3)
    async with playing(service.url, door_shut_after(last_gap)) as stats:
        await eventually(lambda: stats.failed > 3, "beacons have failed")
    assert set(stats.errors) == {"refused"}


async def test_a_bot_that_was_counted_and_a_person_that_was_not_are_called_errors() -> None:
    visitors, last_gap = crowd(60)
    service = Service(lambda beacon: IGNORED if as_the_service(beacon) == COUNTED else COUNTED)
    async with running(service), playing(service.url, door_shut_after(last_gap)) as stats:
        await eventually(
            lambda: stats.answered == sum(len(expected(visitor)) for visitor in visitors), "every beacon is answered"
        )
    assert stats.errors == {"bot-counted": stats.bot_hits, "ignored-bot": stats.hits + stats.heartbeats}
    assert not stats.failed


async def test_stopping_does_not_wait_for_a_service_that_hangs_nor_for_readers() -> None:
    service = Service(lambda beacon: None)
    _, last_gap = crowd(20)
    async with running(service):
        stop = asyncio.Event()
        stats: list[TrafficStats] = []
        sleep = door_shut_after(last_gap)
        task = asyncio.create_task(play(service.url, stop, rate=RATE, seed=SEED, report=stats.append, sleep=sleep))
        await eventually(lambda: len(service.beacons) == CONNECTIONS, "every connection waits for an answer")
        stop.set()
        await asyncio.wait_for(task, 2)
    assert stats[-1].reading == 0  # everybody has left


async def test_stopping_before_anybody_came_is_fine() -> None:
    stop = asyncio.Event()
    stop.set()
    await asyncio.wait_for(play("http://127.0.0.1:9", stop, rate=1, seed=1, report=lambda stats: None), 2)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
async def test_a_rate_that_brings_nobody_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="visitors a minute"):
        await play("http://127.0.0.1:9", asyncio.Event(), rate=rate, seed=1, report=lambda stats: None)


@pytest.mark.parametrize("url", ["https://127.0.0.1:8080", "127.0.0.1:8080", "http://"])
async def test_an_address_that_is_not_plain_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not an address like"):
        await play(url, asyncio.Event(), rate=1, seed=1, report=lambda stats: None)


async def test_the_client_reads_chunked_answers_and_keeps_the_prefix_of_a_proxy() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3;x=y\r\n[1]\r\n0\r\n\r\n"
    async with running(Service(lambda beacon: chunked)) as service:
        client = LoopbackClient(f"{service.url}/vs/")
        for _ in range(2):
            assert (await client.post("/v1/x", b"{}", {})).body == b"{}[1]"
        await client.close()
    assert [beacon.path for beacon in service.beacons] == ["/vs/v1/x"] * 2
    assert service.connections == 1


async def test_the_client_gives_up_on_a_silent_service() -> None:
    async with running(Service(lambda beacon: None)) as service:
        client = LoopbackClient(service.url, answer_within=0.05)
        with pytest.raises(NoAnswer) as caught:
            await client.post("/", b"{}", {})
        await client.close()
    assert caught.value.name == "timeout"


@given(st.integers())
def test_a_visitor_reads_one_to_five_different_articles_from_a_documentation_address(seed: int) -> None:
    visitor = draw_visitor(random.Random(seed), ARTICLES)
    read = [reading.article.path for reading in visitor.readings]
    assert 1 <= len(read) == len(set(read)) <= 5
    address = ip_address(visitor.address)
    networks: list[IPv4Network | IPv6Network] = [*IPV4_RANGES, IPV6_RANGE]
    assert any(address in network for network in networks)
    assert (visitor.agent in BOTS, visitor.agent in BROWSERS) == (visitor.is_bot, not visitor.is_bot)
    assert all(0 < reading.seconds <= 400 for reading in visitor.readings)
    assert visitor == draw_visitor(random.Random(seed), ARTICLES)


def test_the_first_article_is_the_one_that_most_people_read() -> None:
    visitors, _ = crowd(400)
    readers = [sum(article in [r.article for r in v.readings] for v in visitors) for article in ARTICLES]
    assert readers == sorted(readers, reverse=True)


def test_browsers_are_people_and_bots_are_bots_to_the_list_that_the_service_uses() -> None:
    assert not [agent for agent in BROWSERS if crawleruseragents.is_crawler(agent)]
    assert all(crawleruseragents.is_crawler(agent) for agent in BOTS)


def test_arrivals_come_at_the_rate_that_was_asked_for() -> None:
    rng = random.Random(SEED)
    gaps = [next_gap(rng, RATE) for _ in range(2000)]
    assert sum(gaps) / len(gaps) == pytest.approx(60 / RATE, rel=0.1)
