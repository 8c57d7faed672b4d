"""What docs/privacy.md promises: what a reader's browser sends and what is never stored is nowhere to be found."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import redis

from tests.client import HOST
from tests.web.inprocess import Running
from visitstats.core.counting import SALT_LIFE_MS
from visitstats.store import keys

DOCS = Path(__file__).parents[2] / "docs"
ADDRESS, MAPPED = "198.51.77.201", "2001:db8:7777:6666:5555::77"
AGENT = "Mozilla/5.0 (Unmistakable 77.88; rv:140.0) Gecko/20100101 Firefox/140.0"
VISIT, REFERRER, CREDENTIALS = (
    "visit-id-7788990011",
    "https://elsewhere.example/secret-page?who=7788",
    "user7788:pass7788",
)


async def test_nothing_of_a_reader_is_written_anywhere(
    app: Running, redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in Redis, a file of the data folder, a log line, a metric; of hits that count and of those that do not, by
    beacon, picture and heartbeat, and of an explanation. The article's own facts are there."""
    caplog.set_level(logging.DEBUG)
    token = await app.token("viewer")
    for address in (ADDRESS, MAPPED):
        sent = {"x-forwarded-for": address, "user-agent": AGENT, "origin": f"https://{HOST}", "cookie": "sid=7788"}
        page = f"https://{CREDENTIALS}@{HOST}/tin-tuc/a.html?utm_source=track7788#part7788"
        body = {"u": page, "t": "Tên bài 42", "r": REFERRER, "v": VISIT, "h": "hit-id-77889900"}
        for what in (body, body | {"w": True}, body | {"u": "x"}):
            await app.connection.request("POST", "/v1/sites/t1/hit", what, sent)
        await app.connection.request("POST", "/v1/sites/t1/alive", {"v": VISIT}, sent)
        await app.connection.request("GET", f"/v1/sites/t1/hit.gif?u=https://{HOST}/b", headers=sent)
        asked = sent | {"authorization": token}
        await app.connection.request("POST", "/v1/sites/t1/hit?explain=1", body, asked)
        asked["authorization"] = "Bearer vs_wrong"
        await app.connection.request("GET", "/v1/admin/sites/t1/claims", headers=asked)
    await app.settle_heartbeats()
    assert app.app.worker is not None
    await app.app.worker._keep()
    await app.app.worker.refusals.keep()
    places = {"the log": "\n".join(record.getMessage() for record in caplog.records).encode()}
    places["the metrics"] = (await app.connection.request("GET", "/metrics")).body
    with redis.Redis.from_url(redis_url) as raw:
        for name in raw.scan_iter():
            kind = raw.type(name)
            value = {b"hash": raw.hgetall, b"set": raw.smembers, b"string": raw.get}[kind](name)
            places[name.decode()] = name + repr(value).encode()
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            places[str(file)] = file.read_bytes()
    secret = [
        ADDRESS, MAPPED, "Unmistakable", "77.88", VISIT, "elsewhere.example", "secret-page", "7788", "hit-id-77889900",
    ]  # fmt: skip
    for place, content in places.items():
        assert [word for word in secret if word.encode() in content] == [], place
    together = b"".join(places.values())
    assert "Tên bài 42".encode() in together or b"T\\xc3\\xaan b\\xc3\\xa0i 42" in together
    assert b"/tin-tuc/a.html" in together


@pytest.mark.parametrize("name", ["privacy.md", "privacy.vi.md"])
def test_the_lifetimes_are_those_of_the_program(name: str) -> None:
    """In both languages."""
    text = (DOCS / name).read_text(encoding="utf-8")
    numbers = {int(n) for n in re.findall(r"\b(\d+)\b", text)}
    days, hours = keys.DAY_MS, keys.DAY_MS // 24
    for life, unit in (
        (keys.DECIDING_MS, hours), (SALT_LIFE_MS, hours), (keys.UNIQUES_LIFE_MS, days), (keys.CLAIMS_LIFE_MS, days),
        (keys.HOURS_LIFE_MS, days), (keys.PRUNED_LIFE_MS, days), (keys.REFUSALS_LIFE_MS, days),
    ):  # fmt: skip
        assert life // unit in numbers, (life, name)
