"""The dictionary entry of an article: what a site knows about it beside its counts. The layout is frozen."""

import msgspec


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Texts are text, never markup; `url` is empty when it is the site's host followed by the key."""

    key: str
    title: str = ""
    url: str = ""
    author: str = ""
    category: str = ""
    published: str = ""
    """ISO 8601, or empty."""


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def decode(data: bytes) -> Entry:
    """Read a stored entry; raises msgspec.DecodeError for anything else."""
    try:
        return _decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error
