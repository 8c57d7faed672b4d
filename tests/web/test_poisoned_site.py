"""What is damaged of one site in the store is told, and leaves all other sites as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.client import HOST, Hit, crowd
from tests.web.inprocess import Running, running
from visitstats.store import keys

READERS = crowd(80, "poison")


@pytest.mark.parametrize(
    "poison",
    [
        ("articles", "text"), ("counts", "count"), ("marks", "text"), ("aliases", "text"), ("ids", "hash"),
        ("online", "hash"),
    ],
    ids=lambda poison: f"{poison[0]} is a {poison[1]}",
)  # fmt: skip
async def test_hits_of_others_are_answered_as_ever(tmp_path: Path, redis_url: str, poison: tuple[str, str]) -> None:
    """While hits of the poisoned site come between them: none of theirs turns into 202."""
    # Long enough for a busy machine: who is answered 202 waited for nothing.
    async with running(tmp_path / "data", redis_url, answer_timeout_ms=5000) as app:
        await _poisoned(app, redis_url, *poison)


async def _poisoned(app: Running, redis_url: str, what: str, how: str) -> None:
    await app.put_site(id="t2", hosts=("other.vn",))
    await app.connection.request("POST", "/v1/sites/t2/hit", {"u": "https://other.vn/a"}, READERS[0].headers)
    with redis.Redis.from_url(redis_url) as raw:
        name = getattr(keys, what)("t2")
        if how == "count":
            raw.hset(name, mapping=dict.fromkeys(raw.hkeys(name), "many"))
        else:
            raw.delete(name)
            raw.set(name, "x") if how == "text" else raw.hset(name, "x", "y")
    statuses, others = [], []
    for reader in READERS:
        poisoned = replace(reader, address="198.51.100.9")
        sent = await app.connection.request(
            "POST", "/v1/sites/t2/hit", {"u": "https://other.vn/b", "v": poisoned.visit_id}, poisoned.headers
        )
        others.append(sent.status)
        statuses.append((await app.connection.hit("t1", Hit(reader, "/a"))).status)
    assert set(others) <= {200, 202, 503}
    assert statuses == [200] * len(READERS)
    assert (await app.numbers())["today"] == len(READERS)


async def test_a_damaged_record_hides_no_other_site(
    app: Running, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A junk record, one of another id, one without hosts: the site goes on as it was known, later changes of others
    are seen, a new site can be made, and the log says it once."""
    assert app.app.worker is not None
    sites = app.app.worker.sites
    await app.put_site(id="t2", hosts=("other.vn",))
    with redis.Redis.from_url(redis_url) as raw:
        junk = {
            "t2": b"{junk",
            "t3": b'{"id":"t9","hosts":["x.vn"]}',
            b"\xff": b"1",
            "t4": b'{"id":"t4"}',
            "T 5": b"{}",
        }
        raw.hset(keys.SITES, mapping=junk)
        raw.set(keys.SITES_VERSION, "another")
    await sites.refresh()
    assert {live.site.id for live in sites.all()} == {"t1", "t2", "beats"}
    assert sites.get("t2") is not None, "it is counted as it was known"
    await app.put_site(id="t1", hosts=(HOST, "www2.example.vn"))
    await app.put_site(id="t6", hosts=("six.vn",))
    known = sites.get("t1")
    assert known is not None
    assert known.site.hosts == (HOST, "www2.example.vn")
    assert sites.get("t6") is not None
    for _ in range(3):
        await sites.refresh()
    assert caplog.text.count("the record of site 't3'") == 1
