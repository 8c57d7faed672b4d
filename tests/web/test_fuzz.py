"""Whatever strangers send: no answer 500, no traceback, memory that stays. Some here, many by `make fuzz`.

An example that fails is in the failure's text: add it to tests/web/corpus under a name of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import random
import re
import sys

import msgspec
import pytest

from tests.client import HOST, Connection
from tests.web.inprocess import Running
from tests.web.mutation import MANY, changed, corpus, encoded, examples
from visitstats.core.beacon import decode_alive, decode_hit
from visitstats.core.entries import MAX_BYTES, Entry, fitting
from visitstats.core.entries import encode as encode_entry
from visitstats.core.errors import HitRejected
from visitstats.core.keys import MAX_KEY_BYTES
from visitstats.core.sites import Site
from visitstats.sites.directory import LiveSite
from visitstats.system.networks import written
from visitstats.web.beacons.address import ClientAddress
from visitstats.web.beacons.rules import Articles

SEED = int(os.environ.get("VISITSTATS_SEED", "1"))
LINES = re.compile(rb"HTTP/1\.1 (\d{3}) ")
SITES = [
    LiveSite(Site(id="t1", hosts=(HOST,))),
    LiveSite(Site(id="t1", hosts=(HOST,), preset=("joomla",), rules=((r"^/(.*)-(\d+)\.html$", r"/\2"),))),
    LiveSite(Site(id="t1", hosts=(HOST,), use_canonical=True)),
]


async def answered(port: int, sent: bytes) -> bytes:
    """Send something as it is, and read what is answered until nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(sent)
        if chance_of_end := len(sent) % 3 == 0:
            writer.write_eof()
        async with asyncio.timeout(2 if chance_of_end else 0.05):
            while piece := await reader.read(65_536):
                found += piece
    writer.transport.abort()
    return found


async def test_raw_requests_against_a_running_worker(app: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Each is sent twice: the second time nothing more is kept than after the first."""
    caplog.set_level(logging.WARNING)
    blocks = []
    for _ in range(2):
        for sent in examples(SEED, MANY or 150, corpus()):
            said = await answered(app.ports[0], sent)
            statuses = {int(status) for status in LINES.findall(said)}
            trouble = [record for record in caplog.records if record.exc_info or "Traceback" in record.getMessage()]
            if 500 in statuses or trouble:
                pytest.fail(f"{statuses} {trouble} after {encoded(sent)}")
        caplog.clear()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert blocks[1] - blocks[0] < 20_000
    connection = await Connection.open(app.ports[0])
    assert (await connection.request("GET", "/v1/sites/t1/stats")).status == 200
    connection.close()


def test_beacons_become_an_article_with_a_short_key_or_are_refused() -> None:
    """Texts fit into what is kept of them, whatever they are; the site's rules do not matter."""
    start = {name: sent.partition(b"\r\n\r\n")[2] for name, sent in corpus().items() if name.startswith("hit")}
    for n, body in enumerate(examples(SEED, MANY or 3000, {name: body for name, body in start.items() if body})):
        try:
            beacon = decode_hit(body)
            article = Articles().of(SITES[n % len(SITES)], beacon, 0)
        except HitRejected:
            continue
        assert 0 < len(article.key.encode()) <= MAX_KEY_BYTES, encoded(body)
        assert article.key.isprintable() or " " in article.key, encoded(body)
        said = Entry(article.key, beacon.title, article.url, beacon.author, beacon.category, beacon.published)
        assert len(encode_entry(fitting(said))) <= MAX_BYTES, encoded(body)
        with contextlib.suppress(HitRejected):
            decode_alive(body)


def test_forwarding_headers_give_an_address_or_are_ignored() -> None:
    """From a trusted peer an address comes out that can be read again; from another one its own, always."""
    chance = random.Random(SEED)
    start = [
        b"203.0.113.9", b"unknown, 203.0.113.9:4711, [2001:db8::1]:80", b'for="[2001:db8::2]:1";proto=https, for=_x',
        b"for=203.0.113.9;by=10.0.0.1, for=10.0.0.2", b"::ffff:203.0.113.9, 10.0.0.1", b"fe80::1%eth0", b", ,,",
    ]  # fmt: skip
    trusting, hops = ClientAddress(("10.0.0.0/8",)), ClientAddress((), hops=2)
    for n in range(MANY or 6000):
        value = changed(chance.choice(start), chance, start)
        for header in (b"x-forwarded-for", b"forwarded"):
            for addresses in (trusting, hops):
                found, network = addresses.of("10.0.0.7", {header: value})
                assert written(ipaddress.ip_address(found).packed) == found, encoded(value)
                assert 0 <= network < 1 << 64
            if n % 8 == 0:
                assert trusting.of("198.51.100.1", {header: value})[0] == "198.51.100.1", encoded(value)


def test_bodies_of_lists_are_read_or_refused() -> None:
    """What editors' routes and `POST views` read is refused by an error of ours alone."""

    class KeyList(msgspec.Struct):
        keys: list[str]

    start = {"views": corpus()["views-of-many"].partition(b"\r\n\r\n")[2]}
    for body in examples(SEED, MANY or 1500, start):
        try:
            for text in msgspec.json.decode(body, type=KeyList).keys:
                SITES[0].key_rules.named(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, HitRejected):
            continue
