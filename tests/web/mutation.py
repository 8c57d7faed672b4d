"""Changes examples at random, as a fuzzer does: by a seed, so that a failure can be made again."""

from __future__ import annotations

import codecs
import os
import random
from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
MANY = int(os.environ.get("VISITSTATS_EXAMPLES", "0"))
"""As many examples as `make fuzz` asks for; 0 in `make test`, which takes a few."""
TOKENS = [
    b"\r\n", b"\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"%00", b"%", b"{", b"}", b"[" * 300, b'"',
    b"\\u0000", b"\\ud800", b"\xff\xfe", b"\xc0\xaf", "ắ\u200b\u202e".encode(), b"1e400", b"NaN", b"-1", b"9" * 40,
    b"null", b"true", b"__proto__", b"{}", b"*", b"../", b"//", b"<script>", b"\x1b[31m", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"X-Forwarded-For: 1.2.3.4\r\n", b"Host: a\r\n", b"HTTP/1.0", b"HTTP/9.9", b"x" * 5000,
    b"&key=" * 600,
]  # fmt: skip
"""What is put in: what has broken parsers."""


def corpus() -> dict[str, bytes]:
    """The examples that are kept, by name: what has failed once is added to them."""
    return {path.stem: decoded(path.read_text("ascii").rstrip("\n")) for path in sorted(CORPUS.glob("*.txt"))}


def decoded(text: str) -> bytes:
    """Read an example, which is written with escapes."""
    found, _ = codecs.escape_decode(text.encode("ascii"))
    return bytes(found)


def encoded(data: bytes) -> str:
    """Write an example for the corpus."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def changed(data: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """Change an example in some places."""
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((0, 1, 1, 2, 8, 40, 400)))
        way = chance.randrange(6)
        if way == 0:
            data = data[:at] + data[end:]
        elif way == 1:
            data = data[:at] + data[at:end] * chance.choice((2, 3, 50)) + data[end:]
        elif way == 2:
            data = data[:at] + bytes(chance.randrange(256) for _ in range(end - at)) + data[end:]
        elif way == 3:
            other = chance.choice(others)
            data = data[:at] + other[chance.randrange(len(other)) :]
        else:
            data = data[:at] + chance.choice(TOKENS) + data[end:]
    return data[:200_000]


def examples(seed: int, many: int, start: dict[str, bytes]) -> Iterator[bytes]:
    """Yield so many examples, the kept ones first."""
    chance, others = random.Random(seed), list(start.values())
    yield from others
    for _ in range(many):
        yield changed(chance.choice(others), chance, others)
