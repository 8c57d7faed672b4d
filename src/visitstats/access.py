"""Who may do what: bearer tokens, shown once, kept as a hash."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Literal

from visitstats.core.errors import Denied, NotFound, VisitstatsError
from visitstats.store.records import AccessToken, Records

Scope = Literal["admin", "editor", "viewer", "metrics"]
SCOPES: tuple[Scope, ...] = ("admin", "editor", "viewer", "metrics")
GOOD_FOR: Mapping[Scope, frozenset[str]] = {
    "admin": frozenset({"admin"}),
    "editor": frozenset({"admin", "editor"}),
    "viewer": frozenset({"admin", "editor", "viewer"}),
    "metrics": frozenset({"admin", "metrics"}),
}
"""What needs a scope → the scopes that will do."""
PREFIX = "vs_"
"""So that a token that leaked into a file or a log can be searched for."""
LONGEST_TOKEN = 100


class InvalidToken(VisitstatsError):
    """A token that cannot be made as asked."""


class Access:
    """Makes, checks and revokes tokens. Every method may raise StoreUnavailable."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, name: str, scope: str, site: str, now: datetime) -> str:
        """Make a token and return its text, which is not kept anywhere. Raises InvalidToken."""
        if scope not in SCOPES:
            raise InvalidToken(f"scope {scope!r}: use one of {', '.join(SCOPES)}")
        if not name.strip() or len(name) > 80 or not name.isprintable():
            raise InvalidToken("a token's name is 1 to 80 printable characters")
        if any(token.name == name for token in (await self._records.tokens()).values()):
            raise InvalidToken(f"there is a token {name!r} already; revoke it first")
        text = PREFIX + secrets.token_urlsafe(32)
        created = now.isoformat(timespec="seconds")
        await self._records.put_token(_digest(text), AccessToken(name=name, scope=scope, site=site, created=created))
        return text

    async def revoke(self, name: str) -> None:
        """Make a token useless from now on. Raises NotFound."""
        for digest, token in (await self._records.tokens()).items():
            if token.name == name:
                await self._records.remove_token(digest)
                return
        raise NotFound(f"there is no token {name!r}")

    async def all(self) -> list[AccessToken]:
        """Return all tokens, by name."""
        return sorted((await self._records.tokens()).values(), key=lambda token: token.name)

    async def bearer(self, authorization: str, scope: Scope, site_id: str = "") -> AccessToken:
        """Return the token of a request for what needs a scope, in a site or in all of them (""). Raises Denied."""
        token = await self._known(authorization)
        if token.scope not in GOOD_FOR[scope] or token.site not in ("", site_id):
            raise Denied("this access token is not good for that", status=403)
        return token

    async def _known(self, authorization: str) -> AccessToken:
        # The text is looked up by its SHA-256: what an attacker could learn from the time of that look-up is about a
        # hash that he does not choose.
        scheme, _, text = authorization.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or not text:
            raise Denied("this needs an access token: Authorization: Bearer …", status=401)
        token = await self._records.token(_digest(text)) if len(text) <= LONGEST_TOKEN and text.isascii() else None
        if token is None:
            raise Denied("this access token is not known", status=401)
        return token


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
