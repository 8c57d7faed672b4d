"""The identity of an article: from the address of a page to its key.

These rules, in this order, decide it (docs/counting.md says the same to readers):

1. An explicit key, given by the page, is the key.
2. The site is known by the host of the page's address; a host that is not the site's is refused. With the site's
   `use_canonical`, a canonical link to one of the site's own hosts takes the place of the page's address.
3. Path: percent-decoded once to Unicode NFC and encoded again; `;jsessionid`, index names, trailing `/` dropped;
   `.` and `..` resolved; `//` collapsed; case kept unless the site says `ignore_case`.
4. Query: kept, sorted by name, without empty values and without the parameters that only track; when the site
   names its `id_params`, only those.
5. The fragment is dropped.

A key made of an address is a fixed point: the page `https://<host><key>` has that same key. Keys are stored and their
ids are frozen, so a change of these rules splits the counts of articles: it needs a migration.
"""

import re
from hashlib import blake2b
from ipaddress import IPv6Address
from urllib.parse import quote_from_bytes, unquote_to_bytes

from visitstats.core.errors import HitRejected
from visitstats.core.sites import Site
from visitstats.core.text import nfc, visible

MAX_KEY_BYTES = 512
# Our edge reads 8 KiB of body; browsers and proxies stop at 8 KiB of request line, too (Apache, nginx).
MAX_URL_CHARS = 8192
MAX_PARAMS = 8
# What browsers strip around an address (WHATWG URL, "basic URL parser").
C0_AND_SPACE = "".join(map(chr, range(0x21)))

# What stays readable: RFC 3986 "pchar" in a path. In a query `&`, `=` and `+` have a meaning of their own, so as
# data they are always encoded; a space is always %20 there.
PATH_SAFE = "!$&'()*+,;=:@"
QUERY_SAFE = "!$'()*,;:@/?"

INDEX_NAMES = frozenset(
    f"{stem}.{suffix}"
    for stem in ("index", "default")
    for suffix in ("html", "htm", "shtml", "php", "asp", "aspx", "jsp", "jsf", "cfm")
)
# Parameters that tell how a reader came, not what is read. In lower case: they are compared without case.
TRACKING_PREFIXES = ("utm_", "fb_")
# fmt: off
TRACKING_NAMES = frozenset({
    "fbclid", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "msclkid", "yclid", "twclid", "ttclid", "igshid",
    "mc_cid", "mc_eid", "_ga", "_gl", "_openstat", "srsltid", "zarsrc", "zanpid", "gidzl", "typeinapp", "mibextid",
    "replytocom", "nocache", "phpsessid", "jsessionid",
})
# fmt: on

_URL = re.compile(r"https?://([^/?#\\]*)([^?#]*)\??([^#]*)", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://([^/?#\\\s@]+)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([^:]*))(?::[0-9]{0,5})?")
_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_BARE_IPV6 = re.compile(r"[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*")
# Nearly every host, once in lower case; up to 63 characters no label can be too long.
_USUAL_HOST = re.compile(r"(?:(?:www|m)\.)*((?:[a-z0-9]+[.-])*[a-z0-9]+)")
_FOLDED = re.compile(r"\A(?:(?:www|m)\.)+")
_SESSION = re.compile(r";jsessionid(?:=[^;]*)?(?=;|\Z)", re.IGNORECASE)
_CUT_CHARACTER = re.compile(r"%[0-9A-F]?\Z|(?:%[C-F][0-9A-F])(?:%[89AB][0-9A-F]?){0,3}%?\Z")


def article_key(site: Site, url: str, *, explicit: str = "", canonical: str = "") -> str:
    """The key of the article that the page at `url` shows, at most 512 bytes of UTF-8.

    Raises HitRejected: "host" when the page is not the site's, "bad-url" when `url` is not an absolute http or https
    address, "bad-field" for an explicit key that is too long, "bad-text" for what is not Unicode or piles up marks.
    """
    host, path, query = _split(url)
    if host not in site.hosts:
        raise HitRejected("host", f"{host} is not a host of this site")
    if explicit and (key := _clean_explicit(explicit)):
        return key
    if site.use_canonical and canonical:
        path, query = _own_canonical(site, canonical) or (path, query)
    return _fit(_canonical_path(path, site.ignore_case), _canonical_query(query, site))


def article_id(key: str) -> bytes:
    """The 8 bytes under which an article is stored. Frozen: a change would orphan every stored count."""
    return blake2b(key.encode(), digest_size=8, person=b"vs-article").digest()


def page_host(url: str) -> str:
    """The folded host of an absolute http or https address; raises HitRejected "bad-url" or "host"."""
    return _split(url)[0]


def origin_allowed(site: Site, origin: str) -> bool:
    """Whether an `Origin` header names a page of this site; "null" and anything malformed does not."""
    match = _ORIGIN.fullmatch(origin) if len(origin) <= MAX_URL_CHARS else None
    if match is None:
        return False
    try:
        return fold_host(match[1]) in site.hosts
    except HitRejected:
        return False


def fold_host(host: str) -> str:
    """One name for all spellings of a host: lower case, IDNA (ASCII), no port, no final dot, no leading www. or m.

    An IPv6 address loses its brackets and is compressed. Folding twice changes nothing. Raises HitRejected "host".
    """
    if len(host) <= 63 and (usual := _USUAL_HOST.fullmatch(host)):
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
    return _FOLDED.sub("", name)


def _fold_ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError as error:
        raise _no_host(text) from error
    # Python 3.13 writes a mapped address with dots, 3.11 without: an IPv4 address is the same in all of them.
    return str(address.ipv4_mapped or address)


def _no_host(host: str) -> HitRejected:
    return HitRejected("host", f"{host[:80]!r} is not a host name or an address")


def _split(url: str) -> tuple[str, str, str]:
    """Folded host, raw path and raw query of an address. Own code because urlsplit drops and repairs characters."""
    if len(url) > MAX_URL_CHARS:
        raise HitRejected("bad-url", f"the address is longer than {MAX_URL_CHARS} characters", status=400)
    match = _URL.match(url.strip(C0_AND_SPACE))
    if match is None or not match[1]:
        raise HitRejected(
            "bad-url", "the page's address must be absolute and begin with http:// or https://", status=400
        )
    # Credentials before the host are never part of what a page is.
    return fold_host(match[1].rpartition("@")[2]), match[2], match[3]


def _own_canonical(site: Site, canonical: str) -> tuple[str, str] | None:
    """Path and query of a canonical link that stays on the site; a bad or foreign one is as good as none."""
    try:
        host, path, query = _split(canonical)
    except HitRejected:
        return None
    return (path, query) if host in site.hosts else None


def _clean_explicit(text: str) -> str:
    """An explicit key as the page wrote it, in NFC, without what cannot be seen; "" when nothing is left."""
    key = visible(text)
    if len(_encode(key)) > MAX_KEY_BYTES:
        raise HitRejected("bad-field", f"the key is longer than {MAX_KEY_BYTES} bytes", status=400)
    return key


def _canonical_path(path: str, ignore_case: bool) -> str:
    """Rule 3. A backslash separates as `/` does, as in browsers; an encoded one or an encoded `/` is data."""
    kept: list[str] = []
    for raw in path.replace("\\", "/").split("/"):
        segment = _SESSION.sub("", _decode(raw, ignore_case))
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    while kept and kept[-1].lower() in INDEX_NAMES:
        kept.pop()
    return "/" + "/".join(_quote(segment, PATH_SAFE) for segment in kept)


def _canonical_query(query: str, site: Site) -> list[str]:
    """Rule 4: the parameters that are part of the key, as encoded `name=value`, sorted by name."""
    kept: list[tuple[str, str]] = []
    only = frozenset(name.lower() for name in site.id_params)
    extra = tuple(name.lower() for name in site.extra_drop_params)
    names = TRACKING_NAMES.union(extra) if extra else TRACKING_NAMES
    prefixes = TRACKING_PREFIXES + tuple(name[:-1] for name in extra if name.endswith("*"))
    for part in query.split("&"):
        raw_name, _, raw_value = part.replace("+", " ").partition("=")
        if not raw_value:
            continue
        # Values keep their case even then: in SharePoint's addresses they are names of lists.
        name, value = _decode(raw_name, site.ignore_case), _decode(raw_value)
        folded = name.lower()
        if folded in only if only else not (folded in names or folded.startswith(prefixes)):
            kept.append((name, value))
    kept.sort(key=lambda parameter: parameter[0])
    return [f"{_quote(name, QUERY_SAFE)}={_quote(value, QUERY_SAFE)}" for name, value in kept]


def _fit(path: str, parameters: list[str]) -> str:
    """The key of a path and its parameters, within the limits.

    Over 8 parameters or 512 bytes the query gives way to `~` and 128 bits (hex, BLAKE2b) of the whole, put behind the
    path, which is cut when need be: still one key per address, and the path can be read. (The 1,024 bytes that the
    design allows to a query are therefore never reached.)
    """
    whole = f"{path}?{'&'.join(parameters)}" if parameters else path
    if len(whole) <= MAX_KEY_BYTES and len(parameters) <= MAX_PARAMS:
        return whole
    digest = blake2b(whole.encode(), digest_size=16, person=b"vs-long-key").hexdigest()
    room = MAX_KEY_BYTES - 1 - len(digest)
    # Never cut inside a percent-encoded character.
    return f"{path if len(path) <= room else _CUT_CHARACTER.sub('', path[:room])}~{digest}"


def _decode(text: str, ignore_case: bool = False) -> str:
    """Percent-decoded once, NFC. Bytes that are not UTF-8 become surrogates, which `_quote` turns back."""
    if not (text.isascii() and "%" not in text):
        text = nfc(unquote_to_bytes(_encode(text)).decode("utf-8", "surrogateescape"))
    return nfc(text.lower()) if ignore_case else text


def _quote(text: str, safe: str) -> str:
    if text.isascii() and text.isalnum():
        return text
    return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe)


def _encode(text: str) -> bytes:
    """UTF-8; a lone surrogate is refused, since `_decode` would take it for a byte."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise HitRejected("bad-text", "the text holds a lone surrogate", status=400) from error
