"""Requests as bytes: what is taken, what ends its connection, and what two readers could take for different requests.

`tests/web/test_requests.py` sends them to our protocol, `test_proxies.py` through real proxies.
"""

from __future__ import annotations

from collections.abc import Iterable

from visitstats.web.beacons.chunks import LONGEST_LINE

FORGED = b"POST /v1/sites/t1/hit HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\nContent-Length: 6\r\n\r\nforged"
"""What must never be executed."""
BEFORE = b"POST /v1/sites/t1/hit HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nContent-Length: 6\r\n\r\nbefore"
AFTER = BEFORE.replace(b"before", b"after!").replace(b"1.1.1.1", b"2.2.2.2")
HIT, VIEWS, STATS = "/v1/sites/t1/hit", "/v1/sites/t1/views", "/v1/sites/t1/stats"


def request(*lines: str | bytes, body: bytes = b"", path: str = HIT, method: str = "POST", first: str = "") -> bytes:
    """A request with these lines behind Host; the framing is the test's."""
    head = [first.encode() or f"{method} {path} HTTP/1.1".encode(), b"Host: x", *(_bytes(line) for line in lines)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def _bytes(line: str | bytes) -> bytes:
    return line.encode("latin-1") if isinstance(line, str) else line


def chunked(*parts: bytes, more: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + more + b"\r\n"


def deliveries(raw: bytes) -> Iterable[tuple[str, list[bytes]]]:
    """The ways in which bytes can come."""
    yield "at once", [raw]
    yield "byte by byte", [raw[n : n + 1] for n in range(len(raw))]
    yield "lines", raw.splitlines(keepends=True)
    heads = raw.split(b"\r\n\r\n")
    yield "heads and bodies apart", [*(each + b"\r\n\r\n" for each in heads[:-1]), heads[-1]]


BODY = FORGED
SIZE = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"

TAKEN: dict[str, tuple[bytes, bytes]] = {
    # What is ignored, with its body where it belongs: (request, body).
    "Upgrade: h2c, as curl --http2": (
        request("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA", SIZE, body=BODY), BODY,
    ),
    "Upgrade: websocket": (request("Connection: upgrade", "Upgrade: websocket", SIZE, body=BODY), BODY),
    "Upgrade: anything": (request("connection:upgrade", "UPGRADE:  TLS/1.0, x/2 ", SIZE, body=BODY), BODY),
    "Upgrade, twice": (request("Upgrade: a", "Connection: upgrade", "upgrade: b", SIZE, body=BODY), BODY),
    "Upgrade, empty": (request("Upgrade:", "Connection: upgrade", SIZE, body=BODY), BODY),
    "Upgrade by Proxy-Connection": (request("Upgrade: x", "Proxy-Connection: upgrade", SIZE, body=BODY), BODY),
    "Upgrade without Connection": (request("Upgrade: websocket", SIZE, body=BODY), BODY),
    "Connection: upgrade without Upgrade": (request("Connection: upgrade", SIZE, body=BODY), BODY),
    "Upgrade of a body in chunks": (
        request("Connection: upgrade", "Upgrade: h2c", CHUNKED, body=chunked(BODY[:9], BODY[9:])), BODY,
    ),
    "Upgrade of a body in chunks elsewhere": (
        request("Connection: upgrade", "Upgrade: h2c", CHUNKED, body=chunked(BODY), path=VIEWS), BODY,
    ),
    "GET with a body": (request(SIZE, body=BODY, method="GET", path=STATS), BODY),
    "GET with a body and an upgrade": (
        request("Connection: upgrade", "Upgrade: h2c", SIZE, body=BODY, method="GET", path=STATS), BODY,
    ),
    "a method that nobody knows here": (request(SIZE, body=BODY, method="PROPFIND"), BODY),
    "chunks": (request(CHUNKED, body=chunked(BODY)), BODY),
    "chunks, one byte each": (request(CHUNKED, body=chunked(*(BODY[n : n + 1] for n in range(len(BODY))))), BODY),
    "chunked in capitals": (request("TRANSFER-ENCODING:CHUNKED", body=chunked(BODY)), BODY),
    "chunks with extensions": (
        request(CHUNKED, body=b'6 ; a = "x;\\"y" ; b=c;d\r\nbefore\r\n0;last\r\n\r\n'), b"before",
    ),
    "chunk sizes with zeros": (request(CHUNKED, body=b"00000006\r\nbefore\r\n000\r\n\r\n"), b"before"),
    "trailers that would be a head": (
        request(CHUNKED, body=chunked(BODY, more=b"X-Forwarded-For: 9.9.9.9\r\nContent-Length: 5\r\n")), BODY,
    ),
    "trailers elsewhere": (
        request(CHUNKED, path=VIEWS, body=chunked(BODY, more=b"X-Forwarded-For: 9.9.9.9\r\nHost: y\r\n")), BODY,
    ),
    "an empty chunked body": (request(CHUNKED, body=b"0\r\n\r\n"), b""),
    "no body": (request(), b""),
    "Content-Length: 0": (request("Content-Length: 0"), b""),
    "spaces around a value": (request(f"Content-Length: \t {len(BODY)} \t ", body=BODY), BODY),
    "an empty line before the request": (b"\r\n" + request(SIZE, body=BODY), BODY),
    "absolute form": (request(SIZE, body=BODY, path="http://X/v1/sites/t1/hit"), BODY),
    "empty headers": (request("X-Empty:", "X-Also: ", SIZE, body=BODY), BODY),
    "a body of blank lines": (request("Content-Length: 8", body=b"\r\n\r\n\r\n\r\n"), b"\r\n\r\n\r\n\r\n"),
}  # fmt: skip


ENDS: dict[str, tuple[bytes, bytes]] = {
    "Connection: close": (request("Connection: close", SIZE, body=BODY), BODY),
    "close among others": (request("Connection: keep-alive, Close ,x", SIZE, body=BODY), BODY),
    "close in a second line": (request("Connection: close", "Connection: keep-alive", SIZE, body=BODY), BODY),
    "close and upgrade": (request("Connection: close, upgrade", "Upgrade: h2c", SIZE, body=BODY), BODY),
    "HTTP/1.0": (request(SIZE, body=BODY, first=f"POST {HIT} HTTP/1.0"), BODY),
    "HTTP/1.0 that wants to stay": (
        request("Connection: keep-alive", SIZE, body=BODY, first=f"POST {HIT} HTTP/1.0"), BODY,
    ),
    "HTTP/1.0 with an expectation": (
        request("Expect: 100-continue", SIZE, body=BODY, first=f"POST {HIT} HTTP/1.0"), BODY,
    ),
    "HTTP/1.0 without a Host": (f"POST {HIT} HTTP/1.0\r\n{SIZE}\r\n\r\n".encode() + BODY, BODY),
    # Nobody could tell whether the body still comes, if it is answered before it was asked for.
    "Expect: 100-continue": (request("Expect: 100-Continue", SIZE, body=BODY), BODY),
    "Expect, elsewhere": (request("Expect: 100-continue", SIZE, body=BODY, path=STATS, method="GET"), BODY),
    "Expect without a body": (request("Expect: 100-continue", path=STATS, method="GET"), b""),
}  # fmt: skip


HELLO = b"5\r\nhello\r\n0\r\n\r\n"
REFUSED: dict[str, bytes] = {
    # 2.2, 2.3 and 3: message and request line
    "two empty lines": b"\r\n\r\n" + request(),
    "an empty line that is only LF": b"\n" + request(),
    "a space before the method": b" " + request(),
    "a method in small letters": request(method="post"),
    "a tab behind the method": request(first=f"POST\t{HIT} HTTP/1.1"),
    "two spaces behind the method": request(first=f"POST  {HIT} HTTP/1.1"),
    "two spaces behind the target": request(first=f"POST {HIT}  HTTP/1.1"),
    "a space behind the version": request(first=f"POST {HIT} HTTP/1.1 "),
    "a space in the target": request(first=f"POST {HIT} x HTTP/1.1"),
    "HTTP/0.9": f"POST {HIT}\r\n\r\n".encode(),
    "HTTP/0.9 and a request": f"POST {HIT}\r\n".encode() + FORGED,
    "HTTP/0.9 by name": request(first=f"POST {HIT} HTTP/0.9"),
    "HTTP/1.2": request(first=f"POST {HIT} HTTP/1.2"),
    "HTTP/2.0": request(first=f"POST {HIT} HTTP/2.0"),
    "HTTP/1.10": request(first=f"POST {HIT} HTTP/1.10"),
    "http/1.1": request(first=f"POST {HIT} http/1.1"),
    "RTSP": request(first=f"POST {HIT} RTSP/1.0"),
    "ICE": request(first=f"SOURCE {HIT} ICE/1.0"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": request(method="CONNECT", path="x:443"),
    "CONNECT to a path": request(SIZE, body=BODY, method="CONNECT"),
    "asterisk form": request(method="OPTIONS", path="*"),
    "a fragment": request(path=f"{HIT}#x"),
    "a target that is no path": request(path="v1/sites/t1/hit"),
    "absolute form of another host": request(path=f"http://y{HIT}"),
    "absolute form with a user": request(path=f"http://x@y{HIT}"),
    "absolute form without a host": request(path=f"http://{HIT}"),
    "absolute form of another scheme": request(path=f"ftp://x{HIT}"),
    "a control character in the target": request(path=f"{HIT}\x01"),
    "bytes beyond ASCII in the target": request(first="POST /v1/sites/t1/h\xc3\xadt HTTP/1.1"),
    # 2.2 and 5: lines
    "bare LF everywhere": request().replace(b"\r\n", b"\n"),
    "bare LF behind the request line": request("A: b").replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"),
    "bare LF behind a header": request(b"A: b\nC: d"),
    "bare LF before the blank line": request(b"A: b\n"),
    "bare CR within a value": request(b"A: b\rContent-Length: 5"),
    "bare CR before CR LF": request(b"A: b\r"),
    "NUL in a value": request(b"A: b\0c"),
    "NUL in a name": request(b"A\0: b"),
    "other control characters": request(b"A: b\x0bc"),
    "DEL in a value": request(b"A: b\x7f"),
    "a folded line": request("A: b\r\n c"),
    "a folded line with a tab": request("A: b\r\n\tContent-Length: 5"),
    "a folded line behind an empty value": request("A:\r\n b"),
    "a folded Content-Length": request("Content-Length:\r\n 6", body=b"before"),
    "a space before the first header": b"POST / HTTP/1.1\r\n Host: x\r\n\r\n",
    "a line without a colon": request("nothing"),
    "a space before the colon": request("Content-Length : 6", body=b"before"),
    "a tab before the colon": request("Transfer-Encoding\t: chunked", body=HELLO),
    "an empty name": request(": b"),
    "a name that is no token": request("a b: c"),
    "a name in brackets": request("(a): c"),
    "a name beyond ASCII": request("\xa0Transfer-Encoding: chunked", body=HELLO),
    "quoted name": request('"Content-Length": 5'),
    # 3.2: Host
    "no Host": f"POST {HIT} HTTP/1.1\r\n\r\n".encode(),
    "two Hosts": request("Host: x"),
    "two different Hosts": request("Host: y"),
    "a Host with a path": request().replace(b"Host: x", b"Host: x/y"),
    "a Host with a user": request().replace(b"Host: x", b"Host: y@x"),
    "a list of Hosts": request().replace(b"Host: x", b"Host: x, y"),
    "no Host, in absolute form": f"POST http://x{HIT} HTTP/1.1\r\n\r\n".encode(),
    # 6.1: Transfer-Encoding
    "both lengths": request("Content-Length: 5", CHUNKED, body=HELLO),
    "both lengths, the other way round": request(CHUNKED, "Content-Length: 0", body=HELLO),
    "Content-Length and an unknown coding": request("Content-Length: 5", "Transfer-Encoding: x", body=b"hello"),
    "chunked in HTTP/1.0": request(CHUNKED, body=HELLO, first=f"POST {HIT} HTTP/1.0"),
    "chunked twice": request("Transfer-Encoding: chunked, chunked", body=HELLO),
    "chunked in two lines": request(CHUNKED, CHUNKED, body=HELLO),
    "another coding before chunked": request("Transfer-Encoding: gzip, chunked", body=HELLO),
    "another coding in a line before": request("Transfer-Encoding: gzip", CHUNKED, body=HELLO),
    "another coding in a line behind": request(CHUNKED, "Transfer-Encoding: identity", body=HELLO),
    "another coding alone": request("Transfer-Encoding: gzip", body=HELLO),
    "identity": request("Transfer-Encoding: identity", body=HELLO),
    "an empty coding": request("Transfer-Encoding:", body=HELLO),
    "a comma before chunked": request("Transfer-Encoding: , chunked", body=HELLO),
    "a comma behind chunked": request("Transfer-Encoding: chunked,", body=HELLO),
    "chunked with a parameter": request("Transfer-Encoding: chunked;q=0", body=HELLO),
    "chunked in quotes": request('Transfer-Encoding: "chunked"', body=HELLO),
    "chunked with a vertical tab": request(b"Transfer-Encoding: \x0bchunked", body=HELLO),
    "chunked with bytes around it": request(b"Transfer-Encoding: \xa0chunked", body=HELLO),
    "nearly chunked": request("Transfer-Encoding: xchunked", body=HELLO),
    "chunked and an upgrade and a length": request(
        "Connection: upgrade", "Upgrade: h2c", CHUNKED, "Content-Length: 3", body=HELLO
    ),
    # 6.2 and 6.3: Content-Length
    "two lengths": request("Content-Length: 6", "Content-Length: 7", body=b"before"),
    "the same length twice": request("Content-Length: 6", "Content-Length: 6", body=b"before"),
    "a list of lengths": request("Content-Length: 6, 6", body=b"before"),
    "two lengths and an upgrade": request(
        "Upgrade: h2c", "Connection: upgrade", "Content-Length: 6", "Content-Length: 0", body=b"before"
    ),
    **{
        f"Content-Length: {text!r}": request(b"Content-Length: " + text, body=b"before")
        for text in (
            b"", b"+6", b"-6", b"6.0", b"6e0", b"0x6", b"06", b"00", b"6_0", b"6 6", b"\xb2", b"six", b"6;",
            b"9" * 30, b"18446744073709551622",
        )
    },
    # 7.1: chunks
    **{
        f"chunk size {text!r}": request(CHUNKED, body=text + b"hello\r\n0\r\n\r\n")
        for text in (
            b"\r\n", b"+5\r\n", b"-5\r\n", b"0x5\r\n", b"5 \r\n", b" 5\r\n", b"5\n", b"5\r", b"5;\r\n", b"5;a\n",
            b"5;\n", b"5;a=\r\n", b'5;a="\n"\r\n', b'5;a="\r\n', b"5;a\rb\r\n", b"5;a\0\r\n", b"5,5\r\n", b"5_0\r\n",
            b"000000005\r\n", b"fffffffffffffffff\r\n", b"100000005\r\n", b"g\r\n", b"5;%b\r\n" % (b"a" * LONGEST_LINE),
        )
    },
    **{
        f"chunk ends {text!r}": request(CHUNKED, body=b"5\r\nhello" + text)
        for text in (
            b"\n0\r\n\r\n", b"0\r\n\r\n", b"XX0\r\n\r\n", b"\r\n0\n\r\n", b"\r\n0\r\nno trailer\r\n\r\n",
            b"\r\n0\r\nA: b\nC: d\r\n\r\n", b"\r\n0\r\nA : b\r\n\r\n", b"\r\n0\r\n A: b\r\n\r\n",
            b"\r\n0\r\nA: b\r\n c\r\n\r\n", b"\r\n0\r\nA: \0\r\n\r\n", b"\r\n0\r\n\n", b"\r\n0\r\n\rX",
        )
    },
    # RFC 9110: what has one value
    "two user agents": request("User-Agent: a", "User-Agent: b"),
    "two origins": request("Origin: https://a", "Origin: https://b"),
    "two content types": request("Content-Type: text/plain", "Content-Type: x/y"),
    "two authorizations": request("Authorization: a", "Authorization: b"),
}  # fmt: skip
