"""Old numbers over the API: a file is sent, looked at, imported and taken back, at its own site alone."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.client import Connection, Hit, crowd
from tests.driver import Service


class Editor:
    """Asks the API as an editor."""

    def __init__(self, service: Service, name: str = "lan") -> None:
        said = service.cli("token", "add", name, "--scope", "editor")
        found = re.search(r"vs_[\w-]{30,}", said)
        assert found is not None, said
        self._token = found[0]
        self._base = f"http://127.0.0.1:{service.port}/v1/admin/sites/"

    async def ask(self, path: str, body: bytes | dict[str, str] | None = None) -> Any:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}

        def send() -> Any:
            with urlopen(Request(self._base + path, data, headers), timeout=30) as answer:
                return json.loads(answer.read())

        return await asyncio.to_thread(send)

    async def until(self, job: str, *states: str) -> Any:
        """How far an import is, as soon as it is in one of these states."""
        async for found in polled(lambda: self.ask(f"t1/imports/job?job={job}")):
            if found["state"] in states:
                return found
        raise AssertionError(job)


async def polled(ask: Callable[[], Awaitable[Any]]) -> AsyncIterator[Any]:
    """Answers, ten a second, for less than a minute."""
    for _ in range(500):
        yield await ask()
        await asyncio.sleep(0.1)


async def test_a_file_is_sent_looked_at_imported_and_taken_back(service: Service) -> None:
    editor = Editor(service)
    sent = await editor.ask("t1/imports/upload?name=so%20cu.csv", "url;title;views\n/cu;Bài cũ;500\n;lạ;3\n".encode())
    job = {"job": sent["job"]}
    await editor.ask("t1/imports/look", job)
    looked = await editor.until(sent["job"], "looked", "refused")
    assert looked["outcome"]["in_file"]["views"] == {"read": 503, "taken": 500, "left_out": 3}
    assert looked["outcome"]["lists"]["changed"]["rows"] == [["Bài cũ", None, 500, 500]]
    before = looked["outcome"]["plan"]["views"]["now"]
    with pytest.raises(HTTPError, match="404"):
        await editor.ask(f"t2/imports/job?job={sent['job']}")
    await editor.ask("t1/imports/make", job | {"why": "Bộ đếm cũ"})
    made = await editor.until(sent["job"], "made", "refused")
    assert made["outcome"]["plan"]["views"] == {"now": before, "will_be": before + 500}
    again = await editor.ask("t1/imports/upload?name=other.csv", "url;title;views\n/cu;Bài cũ;500\n;lạ;3\n".encode())
    await editor.ask("t1/imports/look", {"job": again["job"]})
    known = await editor.until(again["job"], "looked")
    assert (known["outcome"]["already"]["change"], known["outcome"]["already"]["who"]) == (
        made["outcome"]["change"],
        "lan",
    )
    service.cli("undo", "t1", made["outcome"]["change"])
    broken = await editor.ask("t1/imports/upload?name=x.csv", b"url;views\n/a;1.5\n")
    await editor.ask("t1/imports/look", {"job": broken["job"]})
    refused = (await editor.until(broken["job"], "refused"))["outcome"]["refused"]
    assert (refused["line"], refused["cell"]) == (2, "views")
    with pytest.raises(HTTPError, match="400"):
        await editor.ask("t1/imports/upload", b"")


async def test_history_says_which_days_are_imported_and_since_when_we_count(service: Service) -> None:
    """So that a plot can tell two counters apart; where nothing is imported there was no change of counter."""
    editor, [reader] = Editor(service, "mai"), crowd(1, "change-of-counter")
    connection = await Connection.open(service.port)
    assert (await connection.hit("t1", Hit(reader, "/moi"))).status in (200, 202)
    connection.close()
    sent = await editor.ask(
        "t1/imports/upload?name=ngay.csv", "ngày;lượt truy cập\n2020-01-01;5\n2020-01-02;7\n".encode()
    )
    await editor.ask("t1/imports/look", {"job": sent["job"]})
    await editor.until(sent["job"], "looked")
    await editor.ask("t1/imports/make", {"job": sent["job"], "why": "Bộ đếm cũ"})
    made = await editor.until(sent["job"], "made", "refused")
    try:
        found = await editor.ask("t1/history?from=2020-01-01&to=2020-01-02")
        assert [(row["name"], row["kind"], row["visits"], row["imported"]["visits"]) for row in found["rows"]] == [
            ("2020-01-01", "imported", 5, 5),
            ("2020-01-02", "imported", 7, 7),
        ]
        newest = await editor.ask("t1/history?by=year")
        assert found["changed"][:4] == newest["rows"][-1]["name"]
        assert (await editor.ask(f"t1/history?from={found['changed']}"))["changed"] is None
    finally:
        service.cli("undo", "t1", made["outcome"]["change"])
