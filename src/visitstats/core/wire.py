"""Bytes as the scripts can read them: Redis's cmsgpack knows msgpack's strings, but not its binary type."""

from collections.abc import Sequence

import msgspec


def text(data: bytes) -> msgspec.Raw:
    """Write bytes as a msgpack string, whatever they are; at most 65,535 of them."""
    size = len(data)
    if size < 32:
        return msgspec.Raw(bytes((0xA0 | size,)) + data)
    if size < 256:
        return msgspec.Raw(bytes((0xD9, size)) + data)
    return msgspec.Raw(b"\xda" + size.to_bytes(2, "big") + data)


def bytes_of(item: msgspec.Raw) -> bytes:
    """Read what `text` wrote, or a script."""
    data = bytes(item)
    return data[{0xD9: 2, 0xDA: 3, 0xDB: 5}.get(data[0], 1) :]


def column(items: Sequence[bytes], size: int = 8) -> msgspec.Raw:
    """Write at most 65,535 items of `size` (below 32) or 0 bytes each as an array of strings.

    One join for the whole column costs 1 µs a batch; a string object for each item 3.6 (60 items).
    """
    head = b"\xdc" + len(items).to_bytes(2, "big")
    mark = bytes((0xA0 | size,))
    if b"" in items:
        return msgspec.Raw(head + b"".join([mark + item if item else b"\xa0" for item in items]))
    return msgspec.Raw(head + mark + mark.join(items) if items else head)
