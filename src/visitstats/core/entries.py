"""The dictionary entry of an article: what a site knows about it beside its counts. The layout is frozen.

An entry says of each fact how far it can be trusted (`Standing`). What readers' beacons say of an article that has an
entry is a claim; the commit script (`store/lua/claims.lua`) weighs claims by these numbers:

- The first that is said is taken, provisionally. It gives way to what more networks say, and to another word of the
  network that said it, as long as no other has read the page.
- What AGREEING networks say alike on one day, over AGREEING_MS, is agreed. It gives way to what CHANGING networks say
  on one day, over CHANGING_MS, when they are more than those that go on saying it.
- What is signed by the portal, set by an editor or imported gives way to no reader.

A network has one voice for each fact of an article on a day: its last.
"""

from enum import StrEnum

import msgspec

AS_KEY = "="
"""Sent in place of an address that is the site's main host followed by the key; "" says nothing about the address."""
FACTS = ("title", "url", "author", "category", "published")
"""The facts, in the order of the entry."""
AGREEING, AGREEING_MS = 3, 10 * 60 * 1000
CHANGING, CHANGING_MS = 5, 3 * 3600 * 1000
MOST_VOICES = 8
"""How many networks are kept of a claim: further ones make no difference."""
MOST_CLAIMS, MOST_CLAIM_BYTES = 16, 1024
"""How many claims are kept of one article and day. A claim of a single network gives way to a new claim."""
MOST_CLAIMED = 5000
"""For how many articles of a site claims are kept on one day: 5 MiB at most. The facts of further articles stay as they
are."""
CLAIM_NETWORK_BYTES = 5
"""How a record names the network of a claim: one byte that stands for it at this article on every day, and four that
stand for it on this day alone. The network cannot be found from them."""

MAX_BYTES = 880
"""The most bytes of a stored entry: with its field and what the store adds it takes less than 1 KB, whatever is
sent."""
MAX_TITLE_BYTES = 300
MAX_LABEL_BYTES = 100
MAX_MOMENT_BYTES = 42
_ROOM = 32
"""Bytes of an entry beside its texts: marks of lengths, standings, origin."""
MOST_TEXT_BYTES = MAX_BYTES - _ROOM


class Standing(StrEnum):
    """How far a fact can be trusted."""

    NONE = "-"
    PROVISIONAL = "p"
    AGREED = "a"
    IMPORTED = "i"
    SIGNED = "s"
    EDITOR = "e"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Texts are text, never markup; `url` is empty when it is the site's host followed by the key."""

    key: str
    title: str = ""
    url: str = ""
    author: str = ""
    category: str = ""
    published: str = ""
    """ISO 8601, or empty."""
    standings: str = ""
    """A letter of `Standing` for each fact. An entry without letters was imported."""
    origin: int = 0
    """While only one network has read the article: 256 times the day (since the epoch) on which it was first read, plus
    the byte that stands for the network; the day is 0 for a network that the site trusts. 0 as soon as a second network
    has read it."""
    type: str = ""
    hidden: bool = False
    """Whether an editor has taken it out of the lists; it is counted as before."""

    def standing(self, fact: str) -> Standing:
        """How far a fact (one of FACTS) can be trusted."""
        place = FACTS.index(fact)
        letter = self.standings[place : place + 1]
        if letter and letter in _LETTERS and (fact == "url" or getattr(self, fact)):
            return Standing(letter)
        return Standing.IMPORTED if getattr(self, fact) else Standing.NONE


_LETTERS = frozenset(standing.value for standing in Standing)

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def decode(data: bytes) -> Entry:
    """Read a stored entry; raises msgspec.DecodeError for anything else."""
    try:
        return _decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error


def fitting(entry: Entry) -> Entry:
    """Return an entry with its texts cut so that it has at most MAX_BYTES; an address that does not fit is left out."""
    left = MOST_TEXT_BYTES - len(entry.key.encode())
    found: dict[str, str] = {}
    for name, most in (
        ("title", MAX_TITLE_BYTES),
        ("published", MAX_MOMENT_BYTES),
        ("author", MAX_LABEL_BYTES),
        ("category", MAX_LABEL_BYTES),
    ):
        found[name] = _cut(getattr(entry, name), min(most, left))
        left -= len(found[name].encode())
    found["url"] = entry.url if len(entry.url.encode()) <= left else ""
    return msgspec.structs.replace(entry, **found)


def _cut(text: str, most: int) -> str:
    data = text.encode()
    return text if len(data) <= most else data[: max(most, 0)].decode(errors="ignore").rstrip()


class Claim(msgspec.Struct, frozen=True):
    """What readers say of a fact on one day."""

    fact: str
    value: str
    """Empty for the value that the entry has; AS_KEY for an address that follows from the key."""
    since_s: int
    """When it was said first, in seconds since the day began."""
    voices: int
    """How many networks say it; MOST_VOICES at most."""


def claims_in(data: bytes) -> list[Claim]:
    """Read the claims of an article on a day, as the script writes them: (place in FACTS from 1, value, second, four
    bytes for each network). Raises msgspec.DecodeError."""
    try:
        found = _decode_claims(data)
        # `voices` is packed as a text but holds bytes: only its length is read, behind one to three bytes of its mark.
        return [Claim(FACTS[fact - 1], value, since, len(bytes(voices)) // 4) for fact, value, since, voices in found]
    except (UnicodeDecodeError, IndexError) as error:
        raise msgspec.DecodeError(str(error)) from error


_decode_claims = msgspec.msgpack.Decoder(list[tuple[int, str, int, msgspec.Raw]]).decode
