"""One name for all spellings of a host: a portal is known by it, however its pages and their links write it.

A site's hosts are such names, or `*.NAME` for the name and every host below it.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv6Address

from visitstats.core.errors import HitRejected

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([^:]*))(?::[0-9]{0,5})?")
_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_BARE_IPV6 = re.compile(r"[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*")
# Nearly every host, once in lower case; up to 63 characters no label can be too long.
_USUAL_HOST = re.compile(r"(?:(?:www|m)\.)*((?:[a-z0-9]+[.-])*[a-z0-9]+)")
_FOLDED = re.compile(r"\A(?:(?:www|m)\.)+")


# Suffixes below which many owners have hosts: no site can own all of *.gov.vn.
_SHARED_SUFFIX = re.compile(
    r"(?:(?:ac|biz|co|com|edu|go|gob|gouv|gov|gv|health|info|int|mil|name|net|or|org|pro)\.)?(?:[a-z]{2,}|xn--[a-z0-9-]+)"
)
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
WILDCARD = "*."
TRANSLATED = ".translate.goog"


def fold_host(host: str) -> str:
    """One name for all spellings of a host: lower case, IDNA (ASCII), no port, no final dot, no leading www. or m.; the
    portal's own where Google Translate shows its page (`portal-example-vn.translate.goog`).

    An IPv6 address loses its brackets and is compressed. Folding twice changes nothing. Raises HitRejected "host".
    """
    if len(host) <= 63 and (usual := _USUAL_HOST.fullmatch(host)) and not host.endswith(TRANSLATED):
        return usual[1]  # 0.4 us instead of 1.2
    name = host.strip().lower()
    if _BARE_IPV6.fullmatch(name):
        return _fold_ipv6(name)
    match = _AUTHORITY.fullmatch(name)
    if match is None:
        raise _no_host(host)
    if match[1] is not None:
        return _fold_ipv6(match[1])
    name = match[2]
    if len(name) > 255:
        raise _no_host(host)
    if not name.isascii():
        # Browsers send IDNA already; this is for people who type a host.
        try:
            name = name.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise _no_host(host) from error
    name = name.removesuffix(".")
    if len(name) > 253 or not _HOST.fullmatch(name):
        raise _no_host(host)
    name = _FOLDED.sub("", name)
    if name.endswith(TRANSLATED):
        original = _untranslated(name.removesuffix(TRANSLATED))
        if _HOST.fullmatch(original):
            # It is shorter, so this ends.
            return fold_host(original)
    return name


def fold_pattern(host: str) -> str:
    """Fold a host of a site, or `*.HOST`. Raises HitRejected "host", also for a pattern that is too wide (`*.vn`)."""
    text = host.strip()
    if not text.startswith(WILDCARD):
        return fold_host(text)
    name = fold_host(text.removeprefix(WILDCARD))
    if ":" in name or name.replace(".", "").isdigit() or _SHARED_SUFFIX.fullmatch(name):
        raise HitRejected("host", f"{host[:80]!r} is too wide: a pattern is like *.example.vn")
    return WILDCARD + name


def meant_host(text: str) -> str:
    """Return the host, or the pattern, of a text that a person has typed, which may be an address:
    `https://portal.example.vn/tin` gives portal.example.vn. Raises HitRejected "host"."""
    rest = text.strip()
    begin = _ADDRESS.match(rest)
    if begin:
        rest = rest[begin.end() :]
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if begin or authority != rest:
        authority = authority.rpartition("@")[2]
    return fold_pattern(authority)


class Hosts:
    """The hosts of a site; `in` says whether a folded host is one of them."""

    __slots__ = ("_below", "_exact")

    def __init__(self, hosts: Iterable[str]) -> None:
        hosts = tuple(hosts)
        self._exact = frozenset(host.removeprefix(WILDCARD) for host in hosts)
        self._below = tuple(host[1:] for host in hosts if host.startswith(WILDCARD))

    def __contains__(self, host: str) -> bool:
        """Whether it is one of them, or below a pattern."""
        return host in self._exact or (bool(self._below) and host.endswith(self._below))

    def common(self, others: "Hosts") -> str:
        """Return a host that both have, "" for none."""
        found = [host for host in self._exact if host in others] + [host for host in others._exact if host in self]
        return min(found, default="")


def _untranslated(label: str) -> str:
    """The host that a label of Google Translate names: a dot is a hyphen, and a hyphen is two (Google's "Convert
    the Google Translate URL to the original URL", read on 2026-11-29)."""
    if label[:2] == "1-" and label[4:6] == "--":
        label = label[2:]
    unicode, label = label[:2] == "0-", label.removeprefix("0-")
    host = re.sub(r"\b-\b", ".", label).replace("--", "-")
    return f"xn--{host}" if unicode else host


def _fold_ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError as error:
        raise _no_host(text) from error
    # Python 3.13 writes a mapped address with dots, 3.11 without: an IPv4 address is the same in all of them.
    return str(address.ipv4_mapped or address)


def _no_host(host: str) -> HitRejected:
    return HitRejected("host", f"{host[:80]!r} is not a host name or an address")
