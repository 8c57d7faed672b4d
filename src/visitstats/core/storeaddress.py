"""The store's address, `redis_url`: what is allowed, what of it may be shown, and where its password goes.

    redis://[user:password@]host[:port][/db][?option=…]     rediss://… with TLS
    unix://[user:password@]/path/of/socket[?db=1]
    redis+sentinel://[user:password@]host[:port],host[:port]…/service[/db][?sentinel_username=…&sentinel_password=…]
                                                            rediss+sentinel://… with TLS, to Sentinel too

User and password are the store's; Sentinel has its own. The grammar with Sentinel is the one of other Python programs
(docket, Prefect); redis-py has none. Characters that mean something in an address are percent-encoded in a password.
"""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

SENTINEL_PORT = 26379
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_OF_SENTINEL = ("sentinel_username", "sentinel_password")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@/,\s]+)(?::(\d{1,5}))?")
_HIDDEN = "***"


class StoreAddress(NamedTuple):
    """An address, taken apart."""

    url: str
    """As redis-py takes it (redis://, rediss:// or unix://). With Sentinel its host is the first Sentinel's, and has to
    be replaced by the primary's."""
    sentinels: tuple[tuple[str, int], ...] = ()
    """Host and port of each Sentinel; none without."""
    service: str = ""
    """The name by which the Sentinels know the primary."""
    sentinel_username: str = ""
    sentinel_password: str = ""


def parse_address(url: str) -> StoreAddress:
    """Take an address apart. Raises ValueError; its text shows nothing of the address."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    if parts.scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"it begins with none of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if parts.fragment or "#" in url or "@" in user or ("@" in parts.path and parts.scheme != "unix"):
        # What follows a # or a / in a password would quietly be taken for something else.
        raise ValueError("a #, / or @ in a password must be percent-encoded (%23, %2F, %40)")
    if parts.scheme == "unix":
        if place or not parts.path.strip("/"):
            raise ValueError("the path of the socket is missing")
        return StoreAddress(url)
    found = [_host(each) for each in place.split(",")]
    names = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if not parts.scheme.endswith("+sentinel"):
        if len(found) > 1:
            raise ValueError("several hosts are for redis+sentinel:// only")
        _check_db(names)
        return StoreAddress(url)
    if not names:
        raise ValueError("the name of Sentinel's service is missing: redis+sentinel://host:port/service")
    _check_db(names[1:])
    sentinels = tuple((host, port or SENTINEL_PORT) for host, port in found)
    options = parse_qsl(parts.query, keep_blank_values=True)
    of_sentinel = {name: value for name, value in options if name in _OF_SENTINEL}
    plain = urlunsplit(
        (
            parts.scheme.removesuffix("+sentinel"),
            (f"{user}@" if user else "") + place.split(",")[0],
            "/" + "/".join(names[1:]),
            urlencode([(name, value) for name, value in options if name not in _OF_SENTINEL]),
            "",
        )
    )
    return StoreAddress(plain, sentinels, unquote(names[0]), *(of_sentinel.get(name, "") for name in _OF_SENTINEL))


def has_password(url: str) -> bool:
    """Whether an address names the store's password."""
    parts = urlsplit(url)
    return ":" in parts.netloc.rpartition("@")[0] or any(name == "password" for name, _ in parse_qsl(parts.query))


def with_password(url: str, password: str) -> str:
    """Return an address with the store's password put into it. Raises ValueError when it has one."""
    if has_password(url):
        raise ValueError("it has a password already")
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}"))


def shown(url: str) -> str:
    """Return an address for logs and messages, without its passwords. Of an address that cannot be taken apart, nothing
    is shown that might be a part of a password."""
    try:
        parse_address(url)
    except ValueError:
        before, slashes, after = url.partition("//")
        if slashes:
            return before + slashes + ("…" if after else "")
        return "…" if "@" in url else url
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    query = re.sub(r"(?<=password=)[^&]*", _HIDDEN, parts.query)
    return urlunsplit(parts._replace(netloc=name + colon + (_HIDDEN if colon else "") + at + place, query=query))


def _host(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or int(found[2] or 0) > 65_535:
        raise ValueError("a host is missing, or its port is no number from 0 to 65535")
    return unquote(found[1].strip("[]")), int(found[2] or 0)


def _check_db(names: list[str]) -> None:
    if names and (len(names) > 1 or not re.fullmatch(r"\d{1,4}", names[0], re.ASCII)):
        raise ValueError("what follows the address is the number of a database, as in /0")
