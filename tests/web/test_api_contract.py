"""The API does what its description for machines says: whatever is asked within it, the answer has a status, a type and
a form that are described, and none is a fault of ours. And the examples of docs/api.md are run as they stand there.

What is asked is drawn with a fixed seed. Schemathesis, run by hand on a service (54 operations, 282 requests), found
no fault; it is not a part of the tests, because of the packages that it brings along.
"""

from __future__ import annotations

import random
import re
import shlex
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.client import HOST, Answer, Hit, crowd
from tests.schemas import Schemas
from tests.web.inprocess import Running
from visitstats.web.app import ROUTES
from visitstats.web.routes import openapi

DOCUMENT = openapi.document(ROUTES)
ENDLESS = "/v1/sites/{site}/live"
TIMES = 6
OPERATIONS = [
    (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods if path != ENDLESS
]
PATHS = ("/v1/admin/sites", "/v1/admin", "/v1/sites", "")
"""Operations are asked in groups, each on one application."""
API = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")


def of_group(group: str) -> list[tuple[str, str]]:
    return [each for each in OPERATIONS if next(start for start in PATHS if each[1].startswith(start)) == group]


async def some_past(app: Running) -> None:
    for n, visitor in enumerate(crowd(3, "contract")):
        await app.connection.hit("t1", Hit(visitor, f"/a{n}"))


def asked(schemas: Schemas, draw: random.Random, operation: dict[str, Any], path: str) -> tuple[str, Any]:
    """Draw an address and a body of an operation."""
    query: list[tuple[str, str]] = []
    for parameter in operation["parameters"]:
        name, drawn = parameter["name"], schemas.some(parameter["schema"])
        if parameter["in"] == "path":
            value = (
                "t1" if name == "site" and draw.random() < 0.9 else re.sub(r"[^A-Za-z0-9.-]", "x", str(drawn)) or "x"
            )
            path = path.replace("{" + name + "}", value)
        elif parameter["required"] or draw.random() < 0.35:
            query += [(name, str(each)) for each in (drawn if isinstance(drawn, list) else [drawn]) if each is not None]
    body = None
    if content := operation.get("requestBody"):
        body = schemas.some(next(iter(content["content"].values()))["schema"])
    return f"{path}?{urlencode(query)}" if query else path, body


def check(schemas: Schemas, operation: dict[str, Any], answer: Answer, told: str) -> None:
    """The answer is one that the description has."""
    assert answer.status < 500 or answer.json["error"] in ("index-building", "not-known-yet"), told
    assert answer.status not in (405, 401), told
    described = operation["responses"].get(str(answer.status))
    if described is None:
        assert answer.status in (304,) or answer.status >= 400, told
        described = operation["responses"]["default"]
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if answer.status == 304 or not answer.body:
        return
    assert kind in described["content"], f"{told}: {kind}"
    if schema := described["content"][kind].get("schema"):
        assert schemas.misfit(answer.json, schema) == "", told


@pytest.mark.parametrize("group", PATHS)
async def test_whatever_is_asked_is_answered_as_it_is_described(app: Running, group: str) -> None:
    await some_past(app)
    admin = {"authorization": await app.token("admin")}
    for method, path in of_group(group):
        draw = random.Random(zlib.crc32(f"{method} {path}".encode()))  # a row more changes no other
        schemas = Schemas(DOCUMENT, draw)
        operation = DOCUMENT["paths"][path][method.lower()]
        headers = admin if "security" in operation else {"accept": "*/*"}
        for _ in range(TIMES):
            where, body = asked(schemas, draw, operation, path)
            if "explain=" in where:  # to count needs no token, to ask why does
                headers = admin
            answer = await app.connection.request(method, where, body, headers)
            check(schemas, operation, answer, f"{method} {where} {body} → {answer}")
    assert (await app.connection.request("GET", "/healthz")).status == 200


# The examples of the documentation -----------------------------------------------------------------------------------


def examples() -> list[str]:
    """Each command line of docs/api.md that begins with curl, its lines joined."""
    found = re.findall(r"^\$ (curl .*?[^\\])$", API, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\\n\s*", " ", each) for each in found]


def test_every_way_in_has_an_example() -> None:
    text = "\n".join(examples())
    for word in ("/hit", "/stats", "/views", "/articles", "/report", "/tokens", "Bearer"):
        assert word in text, word


async def test_the_examples_of_the_documentation_run_as_they_stand_there(app: Running) -> None:
    """One after the other, as somebody types them who has set TOKEN and SITE; each is answered with success."""
    await app.put_site(id="laocai", hosts=(HOST, "laocai.gov.vn"))
    token = (await app.token("admin", name="reader")).removeprefix("Bearer ")
    for example in examples():
        words = shlex.split(example.replace("$TOKEN", token))
        method, url, headers, body = "GET", "", dict[str, str](), ""
        rest = iter(words[1:])
        for word in rest:
            if word in ("-X", "--request"):
                method = next(rest)
            elif word in ("-H", "--header"):
                name, _, value = next(rest).partition(":")
                headers[name.lower()] = value.strip()
            elif word in ("-d", "--data"):
                body, method = next(rest), "POST" if method == "GET" else method
            elif word in ("-o", "--output"):
                next(rest)
            elif not word.startswith("-"):
                url = word
        path = quote(re.sub(r"^https?://[^/]+", "", url), safe="/?&=%")
        answer = await app.connection.request(method, path, body.encode() if body else None, headers)
        assert answer.status in (200, 201, 202), (example, answer)
