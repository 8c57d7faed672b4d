"""Numbers as they change, and what is read most: for everybody, and never counted."""

from __future__ import annotations

import asyncio
import json
import resource
from pathlib import Path
from typing import Any

import pytest

from tests.client import Hit, crowd, until
from tests.web.inprocess import Running, running
from visitstats.web.beacons import live as live_module


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service looks twenty times a second, so that no test waits."""
    monkeypatch.setattr(live_module, "LOOK_SECONDS", 0.05)


class Listener:
    """A browser's EventSource, or somebody who does not read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, head: str) -> None:
        self.reader = reader
        self.writer = writer
        self.status = status
        self.head = head

    @classmethod
    async def open(cls, port: int, site: str = "t1", headers: str = "") -> Listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /v1/sites/{site}/live HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        return cls(reader, writer, int(head.split()[1]), head)

    async def event(self) -> dict[str, Any]:
        """The next numbers."""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), 10)
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                found: dict[str, Any] = json.loads(line[6:])
                return found

    def close(self) -> None:
        self.writer.close()


async def count(app: Running, key: str, readers: int = 1, who: str = "x") -> None:
    for reader in crowd(readers, who):
        assert (await app.connection.hit("t1", Hit(reader, key))).status == 200


@pytest.mark.usefixtures("quick")
async def test_a_stream_tells_the_numbers_now_and_whenever_they_change(app: Running) -> None:
    await count(app, "/a")
    listener = await Listener.open(app.ports[0])
    assert listener.status == 200
    assert "content-type: text/event-stream" in listener.head
    assert "cache-control: no-store" in listener.head
    assert "access-control-allow-origin: *" in listener.head
    assert (await listener.event())["today"] == 1
    await count(app, "/a", who="second")
    app.clock.advance(1.1)
    changed = await listener.event()
    assert (changed["site"], changed["today"]) == ("t1", 2)
    listener.close()


@pytest.mark.usefixtures("quick")
async def test_listening_counts_nothing(app: Running) -> None:
    listener = await Listener.open(app.ports[0])
    await listener.event()
    listener.close()
    assert (await app.numbers())["today"] == 0
    assert (await app.numbers())["online"] == 0


@pytest.mark.usefixtures("quick")
async def test_a_silent_stream_is_kept_open_by_comments(app: Running) -> None:
    listener = await Listener.open(app.ports[0])
    await listener.event()
    seen = b""
    while b"\n:\n" not in seen:
        seen += await asyncio.wait_for(listener.reader.readline(), 10)
    listener.close()


async def test_too_many_streams_are_refused_clearly_and_a_place_is_free_again(tmp_path: Path, redis_url: str) -> None:
    async with running(tmp_path / "data", redis_url, live_streams=2) as app:
        two = [await Listener.open(app.ports[0]) for _ in range(2)]
        assert [each.status for each in two] == [200, 200]
        third = await app.connection.request("GET", "/v1/sites/t1/live")
        assert (third.status, third.json["error"]) == (503, "too-many-streams")
        assert int(third.headers["retry-after"]) >= 30
        two[0].close()

        async def free() -> bool:
            again = await Listener.open(app.ports[0])
            again.close()
            return again.status == 200

        await until(free, "the place is free", 5)
        two[1].close()


@pytest.mark.parametrize(
    ("addresses", "another"),
    [
        (["203.0.113.7"] * 3, "203.0.113.8"),
        (["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:9::"], "2001:db8:0:1::1"),
    ],
    ids=["IPv4", "an IPv6 /64"],
)
async def test_one_address_does_not_take_all_of_them(
    tmp_path: Path, redis_url: str, addresses: list[str], another: str
) -> None:
    """Readers behind the trusted proxy are told apart by what it says; a customer has an IPv6 /64 at least."""
    async with running(tmp_path / "data", redis_url, live_streams=40) as app:
        opened = [await Listener.open(app.ports[0], headers=f"X-Forwarded-For: {each}\r\n") for each in addresses]
        assert [each.status for each in opened] == [200, 200, 503]
        other = await Listener.open(app.ports[0], headers=f"X-Forwarded-For: {another}\r\n")
        assert other.status == 200
        for each in (*opened, other):
            each.close()


async def test_none_are_carried_when_the_operator_says_so(tmp_path: Path, redis_url: str) -> None:
    async with running(tmp_path / "data", redis_url, live_streams=0) as app:
        answer = await app.connection.request("GET", "/v1/sites/t1/live")
        assert (answer.status, answer.json["error"]) == (503, "too-many-streams")


async def test_an_unknown_site_and_another_method_are_refused(app: Running) -> None:
    assert (await app.connection.request("GET", "/v1/sites/nobody/live")).status == 404
    answer = await app.connection.request("POST", "/v1/sites/t1/live", {})
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.usefixtures("quick")
async def test_a_stream_ends_after_a_while_and_the_connection_goes_on(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that does not tell that its reader has gone must not keep a place for ever."""
    monkeypatch.setattr(live_module, "LIFE_SECONDS", 0.2)
    listener = await Listener.open(app.ports[0])
    while await asyncio.wait_for(listener.reader.readline(), 10) != b"0\r\n":
        pass
    await listener.reader.readline()
    listener.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" in await asyncio.wait_for(listener.reader.readline(), 10)
    listener.close()


@pytest.mark.usefixtures("quick")
async def test_who_does_not_read_is_let_go_and_the_others_get_their_numbers(
    app: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "DEAF_LOOKS", 3)
    monkeypatch.setattr(live_module, "_event", lambda snapshot: b"data: " + b"x" * 3_000_000 + b"\n\n")
    deaf = await Listener.open(app.ports[0])
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    assert app.app.worker is not None
    metrics = app.app.worker.metrics
    assert metrics.live_streams == 1

    async def gone() -> bool:
        await count(app, "/a", who=str(asyncio.get_running_loop().time()))
        app.clock.advance(1.1)
        return metrics.live_streams == 0

    await until(gone, "the stream is closed", 10)
    deaf.close()


async def test_open_streams_do_not_hold_up_the_end_of_a_connection(app: Running) -> None:
    listener = await Listener.open(app.ports[0])
    await listener.event()
    streams = app.app._streams
    assert streams is not None
    (channel,) = streams._channels.values()
    (stream,) = channel.streams
    stream._protocol.shutdown()  # as the server does when it is told to end
    assert await asyncio.wait_for(listener.reader.read(), 10) is not None
    listener.close()


# What is read most --------------------------------------------------------------------------------------------------


@pytest.fixture
async def top(app: Running) -> Running:
    await app.put_site(publish_top=True)
    for key, readers in (("/a", 3), ("/b", 5), ("/c", 1)):
        await count(app, key, readers, key)
    return app


async def test_a_site_that_publishes_it_tells_what_is_read_most(top: Running) -> None:
    for period in ("day", "week", "month", "all"):
        answer = await top.connection.request("GET", f"/v1/sites/t1/top?period={period}&limit=2")
        assert answer.status == 200
        assert [(each["key"], each["views"]) for each in answer.json["articles"]] == [("/b", 5), ("/a", 3)]
    first = answer.json["articles"][0]
    assert list(first) == ["key", "title", "url", "views"]
    assert first["url"].startswith("http")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "max-age" in answer.headers["cache-control"]
    assert (await top.numbers())["total"] == 9


async def test_a_site_that_does_not_publish_it_says_so(app: Running) -> None:
    await count(app, "/a")
    answer = await app.connection.request("GET", "/v1/sites/t1/top")
    assert (answer.status, answer.json["error"]) == (403, "not-published")
    assert "/a" not in answer.body.decode()


@pytest.mark.parametrize("query", ["period=years", "limit=0", "limit=51", "limit=-1", "limit=x", "limit=²", "period="])
async def test_a_list_that_cannot_be_made_as_asked_is_refused(top: Running, query: str) -> None:
    answer = await top.connection.request("GET", "/v1/sites/t1/top?" + query.replace("²", "%C2%B2"))
    assert (answer.status, answer.json["error"]) == (400, "bad-query")


async def test_many_readers_of_a_list_are_one_question_to_the_store(
    top: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert top.app.worker is not None
    asked: list[str] = []
    real = top.app.worker.desk.top

    def counted(*given: Any, **more: Any) -> Any:
        asked.append(given[1])
        return real(*given, **more)

    monkeypatch.setattr(top.app.worker.desk, "top", counted)
    for limit in (1, 2, 50):
        assert (await top.connection.request("GET", f"/v1/sites/t1/top?period=week&limit={limit}")).status == 200
    assert asked == ["week"]


async def test_a_thousand_streams_cost_little_memory(app: Running) -> None:
    """A stream is a connection and one waiting coroutine: far below the 64 KiB that a buffer of its own would be."""
    app.app._streams._most = 20_000  # type: ignore[union-attr]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opened = [await Listener.open(app.ports[0]) for _ in range(200)]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    for each in opened:
        each.close()
    assert grown < 200 * 64  # KiB, both ends of the connections
