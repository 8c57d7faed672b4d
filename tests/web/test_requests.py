"""Where a request begins and ends: RFC 9112 as tables, whatever pieces it comes in (docs/requests.md names each MUST).

A refused request is answered 400 and ends its connection; what was sent before it is executed and answered, in order,
and nothing that was sent behind it is.
"""

from __future__ import annotations

import re
from pathlib import Path

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.web.byhand import Said, connected, sent
from tests.web.smuggling import (
    AFTER,
    BEFORE,
    BODY,
    ENDS,
    FORGED,
    HIT,
    REFUSED,
    SIZE,
    TAKEN,
    VIEWS,
    deliveries,
    request,
)
from visitstats.web.beacons.connections import MOST_WAITING
from visitstats.web.beacons.heads import LONGEST_HEAD, MOST_HEADERS


@pytest.mark.parametrize("name", TAKEN)
async def test_a_body_is_never_a_request(name: str) -> None:
    """Whatever its head asks for: the body goes to its own request, and the next request is the next."""
    raw, body = TAKEN[name]
    for how, pieces in deliveries(BEFORE + raw + AFTER):
        said = await sent(pieces)
        assert [seen[2] for seen in said.seen] == [b"before", body, b"after!"], how
        assert [seen[3] for seen in said.seen] == ["1.1.1.1", "", "2.2.2.2"], how
        assert said.statuses == [200, 200, 200], how
        assert not said.closed, how


@pytest.mark.parametrize("name", ENDS)
async def test_bytes_behind_the_last_request_are_ignored(name: str) -> None:
    """It is answered, the connection is closed, and the bytes behind it are not taken for a request."""
    raw, body = ENDS[name]
    for how, pieces in deliveries(BEFORE + raw + FORGED):
        said = await sent(pieces)
        assert [seen[2] for seen in said.seen] == [b"before", body], how
        assert said.statuses == [200, 200], how
        assert said.closed, how


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("path", [HIT, VIEWS], ids=["hit", "elsewhere"])
async def test_bytes_that_two_programs_could_split_differently_are_refused(name: str, path: str) -> None:
    """400 and close, on the usual way and on the unusual one: nothing of it is executed, and nothing behind it."""
    raw = REFUSED[name].replace(HIT.encode(), path.encode(), 1)
    for how, pieces in deliveries(BEFORE + raw + FORGED):
        said = await sent(pieces)
        assert [seen[2] for seen in said.seen] == [b"before"], how
        assert said.statuses == [200, 400], how
        assert said.closed, how


async def test_an_unknown_expectation_is_refused() -> None:
    """417 (RFC 9110, 10.1.1), and closed: the client may or may not send the body now."""
    for text in ("x", "100-continue, x", "y 100-continue", "100-continue;x"):
        said = await sent([request(f"Expect: {text}", SIZE), BODY])
        assert said == Said([], [417], True), text


@pytest.mark.parametrize("count", [MOST_HEADERS + 1, MOST_HEADERS * 20])
async def test_more_headers_than_anybody_sends(count: int) -> None:
    said = await sent([BEFORE + request(*["a: b"] * count, SIZE, body=BODY)])
    assert ([seen[2] for seen in said.seen], said.statuses, said.closed) == ([b"before"], [200, 431], True)


@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["at once", "in pieces"])
async def test_a_target_that_is_too_long_is_refused(piece: int) -> None:
    """414 (RFC 9112, 3), and no more of it is kept than a head may have."""
    raw = BEFORE + request(path="/" + "a" * LONGEST_HEAD) + FORGED
    said = await sent([raw[n : n + piece] for n in range(0, len(raw), piece)])
    assert ([seen[2] for seen in said.seen], said.statuses, said.closed) == ([b"before"], [200, 414], True)


async def test_a_refusal_waits_for_the_answers_before_it() -> None:
    """It would be taken for the answer to the first request (RFC 9112, 9.3.2): a hit waits for its batch."""
    protocol, app, _, wire = connected()
    protocol.data_received(BEFORE + REFUSED["both lengths"] + FORGED)
    assert (wire.written, wire.closed) == ([], False)
    app.taken[0][3](200, b"", b"{}")
    assert [answer[:12] for answer in wire.written] == [b"HTTP/1.1 200", b"HTTP/1.1 400"]
    assert wire.closed
    assert len(app.taken) == 1


async def test_requests_that_wait_are_taken_in_their_order() -> None:
    """More than may wait, the odd ones last."""
    many = b"".join(BEFORE.replace(b"before", b"%06d" % n) for n in range(5 * MOST_WAITING))
    elsewhere = many.replace(b"/hit", b"/views")
    for raw in (many, elsewhere):
        for pieces in (
            [raw + REFUSED["no Host"]],
            [raw[n : n + 777] for n in range(0, len(raw), 777)] + [REFUSED["no Host"]],
        ):
            said = await sent(pieces)
            assert [seen[2] for seen in said.seen] == [b"%06d" % n for n in range(5 * MOST_WAITING)]
            assert said.statuses == [200] * (5 * MOST_WAITING) + [400]


def test_the_parser_itself_is_strict_about_lines() -> None:
    """We look at heads and bodies; that a line is a line is the parser's part, in the version that is installed."""
    for name in (
        "bare LF behind a header", "bare CR within a value", "a folded line", "a space before the colon",
        "NUL in a value", "an empty name", "a line without a colon",
    ):  # fmt: skip
        with pytest.raises(httptools.HttpParserError):
            httptools.HttpRequestParser(object()).feed_data(REFUSED[name])


# Any order, any pieces -----------------------------------------------------------------------------------------------

PARTS: list[tuple[bytes, bytes | None, bool]] = [
    *((raw, body, False) for raw, body in TAKEN.values()),
    *((raw, body, True) for raw, body in ENDS.values()),
    *((raw, None, True) for raw in REFUSED.values()),
]
"""(bytes, body of the request or None when it is refused, whether the connection ends with it)."""


@settings(max_examples=150, deadline=None)
@given(st.data())
async def test_any_requests_in_any_pieces(data: st.DataObject) -> None:
    """What is executed depends on the bytes, never on the packets that they come in."""
    good = st.integers(0, len(TAKEN) - 1)
    parts = [PARTS[n] for n in data.draw(st.lists(good, max_size=6))]
    parts += [PARTS[data.draw(st.integers(0, len(PARTS) - 1))]]
    raw = b"".join(part[0] for part in parts) + FORGED
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=12)))
    said = await sent([raw[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True)])
    bodies = [body for _, body, _ in parts if body is not None] + ([] if parts[-1][2] else [b"forged"])
    assert [seen[2] for seen in said.seen] == bodies
    assert said.statuses == [200] * len(bodies) + ([400] if parts[-1][1] is None else [])
    assert said.closed == parts[-1][2]


INSERTED = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"5", b"\r\n\r\n", b"chunked", b"\xff"]
DAMAGE = st.tuples(st.integers(0, 400), st.sampled_from([*INSERTED, b"Content-Length: 5\r\n", b""]))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([raw for raw, _ in TAKEN.values()]), st.lists(DAMAGE, min_size=1, max_size=3), st.integers(1, 50)
)
async def test_damaged_requests_in_any_pieces(raw: bytes, damage: list[tuple[int, bytes]], piece: int) -> None:
    """A byte too many or too few anywhere: it means the same whatever pieces it comes in, and there is never a bug."""
    for place, what in damage:
        place = place % (len(raw) + 1)
        raw = raw[:place] + what + raw[place + (what == b"") :]
    raw = BEFORE + raw + AFTER
    at_once = await sent([raw])
    assert at_once.seen[0][2] == b"before"
    assert set(at_once.statuses) <= {200, 400, 413, 417, 431, 501}
    assert await sent([raw[n : n + piece] for n in range(0, len(raw), piece)]) == at_once


def test_the_page_about_requests_names_tests_and_rows_that_exist() -> None:
    """docs/requests.md says for each rule where it is tested."""
    page = (Path(__file__).parents[2] / "docs" / "requests.md").read_text(encoding="utf-8")
    written = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    tests = set(re.findall(r"`(test_\w+)`", page))
    assert tests
    assert {name for name in tests if f"def {name}(" not in written} == set()
    cells = [line.split("|")[3] for line in page.splitlines() if re.match(r"\| \d", line) and line.count("|") > 3]
    rows = {name for cell in cells for name in re.findall(r'"([^"]+)"', cell) if "…" not in name}
    assert len(rows) > 80
    assert rows <= {*TAKEN, *ENDS, *REFUSED}
