"""Checks what every key must hold: its type, its end of life, and whole, sensible values. There is one function for
each kind of key; presences are checked with the ring of seconds (`verify.online`), articles with the sums
(`verify.articles`).

A check yields one line for each thing that is wrong. It reads every item of the key, in pieces.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple

import msgspec

from visitstats.core.closing import decode_closing
from visitstats.core.counting import HALF_HOUR_MS, SALT_BYTES
from visitstats.core.entries import claims_in
from visitstats.core.entries import decode as decode_entry
from visitstats.core.errors import InvalidSite
from visitstats.core.keys import article_id
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.core.sites import Site
from visitstats.core.wire import bytes_of
from visitstats.store.import_records import decode_imported, decode_part
from visitstats.store.inspect import Found, Inspector
from visitstats.store.keys import DAY_MS, Named
from visitstats.store.records import AccessToken
from visitstats.store.refusals import read_refusal
from visitstats.store.removals import decode_removed

MOST = 2**53
"""Numbers in a script are exact below this."""
ID_BYTES = 8
SLACK_S = 26 * 3600
"""The name of a key has a date and no zone: its day ends up to 12 hours before or 14 hours after that of UTC. A batch
that is applied late keeps its keys for at least an hour more."""

WRITER = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(rb"\d{1,16}")
_SIGNED = re.compile(rb"-?\d{1,16}")
_PEAK = re.compile(rb"\d{1,16}( \d{1,16})?")
_MARK = re.compile(rb"\d{1,16}:\d{1,16}")
_MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
_decode_site = msgspec.json.Decoder(Site).decode
_decode_pruned = msgspec.msgpack.Decoder(tuple[msgspec.Raw, list[str | int]]).decode
_decode_token = msgspec.json.Decoder(AccessToken).decode


class Complaint(NamedTuple):
    """One problem in a key; `what` tells it from the others."""

    what: str
    detail: str


Lines = AsyncIterator[Complaint]


def valid_date(text: str) -> bool:
    """Whether a text is a date as we write it: 2026-11-24, of these centuries."""
    try:
        return date.fromisoformat(text).isoformat() == text and "1970" < text < "9000"
    except ValueError:
        return False


def valid_number(value: bytes) -> bool:
    """Whether a stored count is a whole number of at least 0 that a script can add to."""
    return bool(_NUMBER.fullmatch(value)) and int(value) < MOST


def valid_sum(value: bytes) -> bool:
    """The same for a sum that corrections may bring below zero."""
    return valid_number(value.removeprefix(b"-"))


def shape(found: Found, named: Named, now_ms: int) -> Iterable[Complaint]:
    """Yield what is wrong with a key's type, name and end of life."""
    kind = named.kind
    if found.type != kind.type:
        yield Complaint("type", f"it is a {found.type}, not a {kind.type}: not written by visitstats")
    for word in named.words:
        if word[:4].isdigit() and "-" in word and not valid_date(f"{word}-01"[:10]):
            yield Complaint("name", f"{word} is no date and no month")
    if kind.life_ms is None:
        # Parts of an import that is not begun yet have an end of life.
        if found.expires_at >= 0 and kind.word != "parts of an import":
            yield Complaint(
                "life", f"the store will forget it at {moment(found.expires_at)}; it is to be kept for ever"
            )
    elif found.expires_at < 0:
        yield Complaint("life", "the store will never forget it; it is to have an end")
    elif found.expires_at > (latest := _latest_end(named, now_ms)):
        yield Complaint("life", f"it is kept until {moment(found.expires_at)}; {moment(latest)} would be the last")


def _latest_end(named: Named, now_ms: int) -> int:
    word, life = named.words[0] if named.words else "", named.kind.life_ms or 0
    if named.kind.word == "hits":
        anchor = int(word) * HALF_HOUR_MS
    elif valid_date(word):
        anchor = int(datetime.fromisoformat(word).replace(tzinfo=UTC).timestamp() * 1000) + DAY_MS
    else:
        anchor = 0
    return max(anchor + life, now_ms if anchor else now_ms + life) // 1000 + SLACK_S


def moment(seconds: int) -> str:
    """Write a moment for people."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s"


# Contents ------------------------------------------------------------------------------------------------------------


async def contents(store: Inspector, name: str, named: Named) -> Lines:
    """Yield what is wrong in a key of the right type."""
    check = _CHECKS.get(named.kind.word)
    if check is not None:
        async for complaint in check(store, name, named):
            yield complaint


def _fields(pattern: str, value: re.Pattern[bytes], expected: str) -> Callable[[Inspector, str, Named], Lines]:
    """Return the check of a hash whose fields and values have these forms."""
    field = re.compile(pattern.encode())

    async def check(store: Inspector, name: str, named: Named) -> Lines:
        async for page in store.fields(name):
            for raw, text in page.items():
                least = text.removeprefix(b"-") if raw in _BELOW_ZERO else text
                if not field.fullmatch(raw) or not value.fullmatch(least) or not _is_small(least):
                    yield Complaint(shown(raw), f"{shown(raw)} is {shown(text)}: {expected}")

    return check


_BELOW_ZERO = frozenset({b"visits:all", b"views:all"})
"""The form of a count that a reset may bring below zero, because a baseline comes on top of it."""


def _is_small(text: bytes) -> bool:
    """Whether a count is one that a script can add to."""
    return abs(int(text.partition(b" ")[0])) < MOST


_KIND, _DAY, _HOUR, _REASON = (
    "(visits|views|hits)",
    "(0[1-9]|[12][0-9]|3[01])",
    "(x|[0-9]|1[0-9]|2[0-4])",
    "[a-z-]{1,40}",
)
_YEAR = r"[1-8]\d{3}"
_counts = _fields(
    rf"{_KIND}:({_YEAR}|all|base)|corrected:({_YEAR}|all)|touched|pruned", _NUMBER,
    "a year, all or base, and a count, are expected",
)  # fmt: skip
_days = _fields(f"({_KIND}|corrected)(:{_DAY})?", _NUMBER, "a day of the month and a count are expected")
_layer = _fields(f"(visits|views|articles):({_YEAR}|all)", _SIGNED, "a year or all, and an amount, are expected")
_layer_days = _fields(f"(visits|views|articles)(:{_DAY})?", _SIGNED, "a day of the month and an amount are expected")
_hours = _fields(f"({_KIND}|uniques|peak):{_HOUR}|ignored:{_HOUR}:{_REASON}", _PEAK, "an hour and a count are expected")
_by_reason = _fields(f"{_DAY}:{_REASON}", _NUMBER, "a day, a reason and a count are expected")


async def _by_date(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            if not valid_date(shown(raw)) or not _PEAK.fullmatch(value) or not _is_small(value):
                yield Complaint(shown(raw), f"{shown(raw)} is {shown(value)}: a date and a count are expected")


async def _digests(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.members(name):
        for member in page:
            if len(member) != ID_BYTES:
                yield Complaint(member.hex(), f"its member {member[:40].hex()} has not {ID_BYTES} bytes")


async def _ids(store: Inspector, name: str, named: Named) -> Lines:
    length, _ = await store.text(name, 1)
    if length % ID_BYTES:
        yield Complaint("", f"it has {length} bytes, which are no whole ids of {ID_BYTES}")


async def _pruned(store: Inspector, name: str, named: Named) -> Lines:
    """Fields are articles, values their entries and days."""
    async for page in store.fields(name):
        for article, value in page.items():
            try:
                entry, days = _decode_pruned(value)
                trouble = entry_trouble(article, bytes_of(entry))
                if not trouble and not all(map(valid_date, map(str, days[::2]))):
                    trouble = f"article {article.hex()} has days that are not dates"
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                trouble = f"article {article[:ID_BYTES].hex()} cannot be read: {error}"
            if trouble:
                yield Complaint(article.hex(), trouble)


async def _salt(store: Inspector, name: str, named: Named) -> Lines:
    length, _ = await store.text(name, 1)
    if length != SALT_BYTES:
        yield Complaint("", f"it has {length} bytes, not {SALT_BYTES}")


async def _sketch(store: Inspector, name: str, named: Named) -> Lines:
    _, start = await store.text(name, 4)
    if start != b"HYLL":
        yield Complaint("", "it is no HyperLogLog")


async def _marks(store: Inspector, name: str, named: Named) -> Lines:
    """Fields are writers, values "sequence:hits"."""
    async for page in store.fields(name):
        for raw, value in page.items():
            writer = shown(raw)
            if not WRITER.fullmatch(writer):
                yield Complaint(writer, f"its field {writer} is no writer")
            elif not _MARK.fullmatch(value):
                yield Complaint(writer, f"the watermark of writer {writer[:8]} is {shown(value)}, not sequence:hits")


async def _redo(store: Inspector, name: str, named: Named) -> Lines:
    """What is put down and not executed yet: a msgpack array of commands (lua/ledger.lua)."""
    _, start = await store.text(name, 1)
    if not start or not (0x90 <= start[0] <= 0x9F or start[0] in (0xDC, 0xDD)):
        yield Complaint("", "it is no list of commands")


async def _schema(store: Inspector, name: str, named: Named) -> Lines:
    _, text = await store.text(name, 20)
    if text != b"%d" % SCHEMA_NUMBER:
        yield Complaint("", f"the store has schema {shown(text)}, this program schema {SCHEMA_NUMBER}")


async def _hosts(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            if not WRITER.fullmatch(shown(raw)) or not value:
                yield Complaint(shown(raw), f"{shown(raw)} is {shown(value)}: a writer and its host are expected")


async def _sites(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            try:
                if _decode_site(value).id != shown(raw):
                    yield Complaint(shown(raw), f"the record of {shown(raw)} is that of another site")
            except (msgspec.DecodeError, InvalidSite, UnicodeDecodeError) as error:
                yield Complaint(shown(raw), f"the record of {shown(raw)} is damaged: {error}")


async def _removed(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            if decode_removed(value) is None:
                yield Complaint(shown(raw), f"the record of removed site {shown(raw)} is damaged")


async def _tokens(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            try:
                _decode_token(value)
                whole = re.fullmatch(rb"[0-9a-f]{64}", raw) is not None
            except (msgspec.DecodeError, UnicodeDecodeError):
                whole = False
            if not whole:
                yield Complaint(shown(raw)[:12], f"the access token {shown(raw)[:12]}… is damaged")


async def _used(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            if not re.fullmatch(rb"[0-9a-f]{64}", raw) or not _MOMENT.fullmatch(value):
                yield Complaint(shown(raw)[:12], f"the last use of the access token {shown(raw)[:12]}… is damaged")


async def _refusals(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            if read_refusal(raw, value) is None:
                yield Complaint(shown(raw)[:40], f"{shown(raw)[:40]} is no refusal and how often it came")


async def _aliases(store: Inspector, name: str, named: Named) -> Lines:
    """Fields are article ids, values the id of another article and its key."""
    async for page in store.fields(name):
        for member, value in page.items():
            if len(member) != ID_BYTES or article_id(_whole(value[ID_BYTES:])) != value[:ID_BYTES]:
                yield Complaint(member.hex(), f"the alias of {member.hex()} leads to no article")


async def _claims(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            try:
                claims_in(value)
                whole = len(raw) == ID_BYTES
            except msgspec.DecodeError:
                whole = False
            if not whole:
                yield Complaint(raw.hex(), f"the claims of article {raw[:40].hex()} are damaged")


async def _taken(store: Inspector, name: str, named: Named) -> Lines:
    """Fields are "#", a network and an hour (5 bytes), or an article."""
    async for page in store.fields(name):
        for raw, value in page.items():
            whole = {1: len(value) == ID_BYTES, 5: valid_number(value), ID_BYTES: len(value) == 4}.get(len(raw), False)
            if not whole:
                yield Complaint(raw.hex(), f"{raw[:40].hex()} is {shown(value)}: no use of a limit")


async def _amounts(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            if len(raw) != ID_BYTES or not valid_sum(value):
                yield Complaint(raw.hex(), f"the amounts of article {raw[:40].hex()} are {shown(value)}: no number")


async def _order(store: Inspector, name: str, named: Named) -> Lines:
    length, _ = await store.text(name, 1)
    if length % ID_BYTES:
        yield Complaint("", f"it has {length} bytes, which are no whole ids of {ID_BYTES}")


async def _lists_of_changes(store: Inspector, name: str, named: Named) -> Lines:
    """Fields are articles, or articles and a byte for a fact; values are ids of changes."""
    size = ID_BYTES + (named.kind.word == "set by")
    async for page in store.fields(name):
        for raw, value in page.items():
            if len(raw) != size or not re.fullmatch(rb"([0-9a-f]{8})+", value):
                yield Complaint(raw.hex(), f"{raw[:40].hex()} is {shown(value)}: an article and changes are expected")


async def _closed(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            try:
                whole = decode_closing(value).period == shown(raw)
            except msgspec.DecodeError:
                whole = False
            if not whole:
                yield Complaint(shown(raw), f"the closing of {shown(raw)} is damaged")


async def _imports(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            try:
                whole = re.fullmatch(rb"[0-9a-f]{8}", raw) is not None
                decode_imported(value)
            except msgspec.DecodeError:
                whole = False
            if not whole:
                yield Complaint(shown(raw), f"the record of import {shown(raw)} is damaged")


async def _parts(store: Inspector, name: str, named: Named) -> Lines:
    async for page in store.fields(name):
        for raw, value in page.items():
            number, _, word = raw.partition(b":")
            whole = number.isdigit() and (word == b"names" or (word in (b"made", b"back") and value == b"1"))
            if not word:
                try:
                    decode_part(value)
                    whole = number.isdigit()
                except msgspec.DecodeError:
                    whole = False
            if not whole:
                yield Complaint(shown(raw), f"{shown(raw)} is {shown(value)[:80]}: no part of an import")


_CHECKS: dict[str, Callable[[Inspector, str, Named], Lines]] = {
    "schema": _schema,
    "sites": _sites,
    "sites:removed": _removed,
    "tokens": _tokens,
    "tokens:used": _used,
    "refusals": _refusals,
    "hosts": _hosts,
    "marks": _marks,
    "redo": _redo,
    "salt": _salt,
    "hits": _digests,
    "counts": _counts,
    "days": _days,
    "hours": _hours,
    "ids": _ids,
    "aliases": _aliases,
    "claims": _claims,
    "taken": _taken,
    "pruned": _pruned,
    "unique": _sketch,
    "unique of an hour": _sketch,
    "uniques": _by_date,
    "ignored": _by_reason,
    "peaks": _by_date,
    "layer": _layer,
    "layer of days": _layer_days,
    "amounts": _amounts,
    "order of changes": _order,
    "changes of articles": _lists_of_changes,
    "set by": _lists_of_changes,
    "closed": _closed,
    "imports": _imports,
    "parts of an import": _parts,
}


def entry_trouble(article: bytes, entry: bytes) -> str:
    """Return what is wrong with an article's dictionary entry, or nothing."""
    try:
        key = decode_entry(entry).key
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"the name of article {article.hex()} is damaged: {error}"
    return "" if article_id(key) == article else f"the name of article {article.hex()} is that of another: {key[:80]}"


def _whole(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def shown(data: bytes) -> str:
    """Write a stored value in a form for people."""
    return data[:80].decode("utf-8", "backslashreplace")
