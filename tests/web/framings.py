"""Families of request smuggling: requests in which one program may see another request than the next one does.

Each carries FORGED, which the rule of the proxies in `tests/web/proxies.py` does not let through.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.client import BROWSERS, HOST
from tests.web.proxies import OPEN

FORGED_BODY = b'{"u":"https://%b/forged"}' % HOST.encode()
FORGED = (
    b"POST /v1/sites/closed/hit HTTP/1.1\r\nHost: x\r\nUser-Agent: %b\r\nContent-Length: %d\r\n\r\n%b"
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Rest: "
) % (BROWSERS[0].encode(), len(FORGED_BODY), FORGED_BODY)
"""Executed by nobody; the last header would swallow the beginning of the next request."""
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(FORGED), FORGED)
BEHIND = b"0\r\n\r\n" + FORGED
LENGTH = b"Content-Length: %d" % len(FORGED)


def framings() -> Iterator[tuple[bytes, bytes]]:
    """(lines of the head, body)."""
    # A length, and something else that may decide.
    for line in (
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA",
        b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHM=",
        b"Connection: Upgrade\r\nUpgrade: anything/1",
        b"Connection: keep-alive, upgrade\r\nUpgrade: tls/1.0, x",
        b"Upgrade: h2c",
        b"Proxy-Connection: upgrade\r\nUpgrade: x",
        b"Connection: content-length",
        b"Connection: close, content-length",
        b"Connection: transfer-encoding, host",
        b"Connection: x-forwarded-for",
        b"Expect: 100-continue",
        b"Expect: 100-Continue, x",
        b"Expect: x 100-continue",
        b"TE: trailers, chunked",
        b"Trailer: content-length",
        b"Content_Length: 0",
        b"Transfer_Encoding: chunked",
        b"X-HTTP-Method-Override: CONNECT",
        b"Content-Encoding: chunked",
    ):
        yield LENGTH + b"\r\n" + line, FORGED
        yield line + b"\r\nTransfer-Encoding: chunked", CHUNK
    # Two lengths.
    for text in (
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Content-Length : 0",
        b"Content-Length:\r\n 0",
        b"Content-Length: +0",
        b"Content-Length:\t0",
        b"X: y\nContent-Length: 0",
        b"X: y\rContent-Length: 0",
        b"Content-Length: 0\0",
        b"Content-Length\0: 0",
        b" Content-Length: 0",
        b"Content-Length\x0b: 0",
        b"\xa0Content-Length: 0",
    ):
        yield LENGTH + b"\r\n" + text, FORGED
        yield text + b"\r\n" + LENGTH, FORGED
    for text in (
        b"%d, %d",
        b"0, %d",
        b"%d, 0",
        b"0%d",
        b"+%d",
        b"%d ",
        b"%d;",
        b"%d\x0b",
        b"0x%x",
        b"-%d",
        b"%d.0",
        b"\x00%d",
    ):
        yield b"Content-Length: " + text.replace(b"%d", str(len(FORGED)).encode()).replace(b"%x", b"5"), FORGED
    # A length and chunks, where one of the two may be overlooked.
    for coding in (
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        b"Transfer-Encoding: , chunked",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: chunked;x",
        b'Transfer-Encoding: "chunked"',
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: chunked\x0b",
        b"Transfer-Encoding:\0chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b" Transfer-Encoding: chunked",
        b"Transfer-Encoding\t: chunked",
        b"Transfer-Encoding\0: chunked",
        b"Transfer-Encoding: \xc3\xa7hunked",
        b"Transfer-Encoding: chun\r\n ked",
        b"Transfer-Encoding: chunked\t",
        b"transfer-encoding:chunked",
        b"Transfer-Encoding: chunked chunked",
        b"Transfer-Encoding: gzip, chunked",
    ):
        yield b"Content-Length: %d\r\n%b" % (len(BEHIND), coding), BEHIND
        yield b"%b\r\nContent-Length: %d" % (coding, len(b"%x\r\n" % len(FORGED))), CHUNK
        yield coding, BEHIND
        yield b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + coding, CHUNK
    # Chunks that one may take for longer or shorter ones.
    size = b"%x" % len(FORGED)
    for line in (
        size + b";\n",
        size + b";x\n",
        b"2;\nxx",
        b"2;\rxx",
        b"2\n;xx",
        size + b" ;x",
        size + b"\n",
        b"0x" + size,
        b"+" + size,
        b"0" * 20 + size,
        b"1" + b"0" * 16 + size,
        size + b";" + b"x" * 5000,
        size + b';x="',
        size + b" ",
        b"\n" + size,
    ):
        yield b"Transfer-Encoding: chunked", line + b"\r\n" + FORGED + b"\r\n0\r\n\r\n"
    for end in (b"", b"\n", b"\r", b"\rX", b"XX", b"\n\n"):
        yield b"Transfer-Encoding: chunked", b"2\r\nhi" + end + BEHIND
    for trailer in (
        b"Content-Length: 0",
        b"Transfer-Encoding: chunked",
        b"X: y\n",
        b"x",
        b": x",
        b"X-Forwarded-For: 9.9.9.9",
        b"\n",
    ):
        yield b"Transfer-Encoding: chunked", b"2\r\nhi\r\n0\r\n" + trailer + b"\r\n\r\n" + FORGED
    # No length at all, and a length that is not needed.
    yield b"X: y", FORGED
    yield b"Content-Length: 0", FORGED
    yield LENGTH, FORGED


def attacks() -> Iterator[tuple[bytes, bytes]]:
    """(head, body): every framing on the usual way, the most common ones on others."""
    agent = b"Host: x\r\nUser-Agent: " + BROWSERS[0].encode() + b"\r\n"
    for lines, body in framings():
        yield b"POST %bhit HTTP/1.1\r\n%b%b\r\n\r\n" % (OPEN.encode(), agent, lines), body
    for first in (
        b"GET %bstats HTTP/1.1",
        b"HEAD %bstats HTTP/1.1",
        b"OPTIONS %bhit HTTP/1.1",
        b"DELETE %bhit HTTP/1.1",
        b"TRACE %bhit HTTP/1.1",
        b"POST %bviews HTTP/1.1",
        b"POST %bnothing HTTP/1.1",
        b"POST %bhit HTTP/1.0",
        b"GET http://x%bstats HTTP/1.1",
        b"GET http://y%bstats HTTP/1.1",
        b"CONNECT %bhit HTTP/1.1",
        b"PRI %bhit HTTP/1.1",
        b"GET %bstats HTTP/1.1\r\nHost: y",
        b"GET %bstats\r\n\r\nGET %bstats HTTP/1.1",
        b"POST %bhit HTTP/2.0",
        b"\r\nPOST %bhit HTTP/1.1",
        b"GET %bstats#/../.. HTTP/1.1",
    ):
        line = first.replace(b"%b", OPEN.encode())
        for lines, body in (
            (LENGTH, FORGED),
            (LENGTH + b"\r\nExpect: 100-continue", FORGED),
            (LENGTH + b"\r\nConnection: Upgrade\r\nUpgrade: h2c", FORGED),
            (b"Transfer-Encoding: chunked", CHUNK),
            (b"Transfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: websocket", CHUNK),
            (b"Content-Length: %d\r\nTransfer-Encoding: chunked" % len(BEHIND), BEHIND),
        ):
            yield b"%b\r\n%b%b\r\n\r\n" % (line, agent, lines), body
