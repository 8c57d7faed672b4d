"""Access tokens: bearer tokens with a scope, shown once and kept as a hash."""

import asyncio
import logging
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from visitstats.core.errors import Denied, NotFound, StoreUnavailable, VisitstatsError
from visitstats.files import write_file
from visitstats.store.records import AccessToken, Records

Scope = Literal["admin", "editor", "viewer", "metrics"]
SCOPES: tuple[Scope, ...] = ("admin", "editor", "viewer", "metrics")
GOOD_FOR: Mapping[Scope, frozenset[str]] = {
    "admin": frozenset({"admin"}),
    "editor": frozenset({"admin", "editor"}),
    "viewer": frozenset({"admin", "editor", "viewer"}),
    "metrics": frozenset({"admin", "metrics"}),
}
"""Scope that is needed → scopes that are sufficient."""
PREFIX = "vs_"
"""A fixed prefix, by which leaked tokens can be searched for in files and logs."""
LONGEST_TOKEN = 100
SHORTEST_TOKEN = 32
"""Characters of a text that was not made here."""
_SECRET = re.compile(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST_TOKEN},{LONGEST_TOKEN}}}")
KEPT = "scrapers.json"
SECONDS = 1.0
"""For the store to say whose a token of a scrape is."""

log = logging.getLogger(__name__)


class InvalidToken(VisitstatsError):
    """A token that cannot be made as asked."""


class Access:
    """Makes, checks and revokes tokens. Every method may raise StoreUnavailable.

    The hashes of tokens that may read the metrics are remembered, and kept in a folder where there is one: while the
    store is away somebody must be able to see that.
    """

    def __init__(self, records: Records, kept: Path | None = None) -> None:
        self._records = records
        self._kept = kept
        self._scrapers: dict[str, AccessToken] = {}
        self._none_since_last = False
        self._lost = False

    async def add(self, name: str, scope: str, site: str, now: datetime, text: str = "") -> str:
        """Make a token and return its text, which is not kept anywhere; or one of a text that somebody else has made,
        which may be done again. Raises InvalidToken."""
        if scope not in SCOPES:
            raise InvalidToken(f"scope {scope!r}: use one of {', '.join(SCOPES)}")
        if not name.strip() or len(name) > 80 or not name.isprintable():
            raise InvalidToken("a token's name is 1 to 80 printable characters")
        if text and not _SECRET.fullmatch(text):
            raise InvalidToken(
                f"a token's text is {SHORTEST_TOKEN} to {LONGEST_TOKEN} letters, digits and -._~+/=, drawn at random"
            )
        known = await self._records.tokens()
        same = known.get(_digest(text)) if text else None
        if same is not None and (same.name, same.scope, same.site) == (name, scope, site):
            return text
        if same is not None or any(token.name == name for token in known.values()):
            raise InvalidToken(f"there is a token {name if same is None else same.name!r} already; revoke it first")
        text = text or PREFIX + secrets.token_urlsafe(32)
        created = now.isoformat(timespec="seconds")
        await self._records.put_token(_digest(text), AccessToken(name=name, scope=scope, site=site, created=created))
        return text

    async def revoke(self, name: str) -> None:
        """Revoke a token. Raises NotFound."""
        for digest, token in (await self._records.tokens()).items():
            if token.name == name:
                await self._records.remove_token(digest)
                return
        raise NotFound(f"there is no token {name!r}")

    async def all(self) -> list[AccessToken]:
        """Return all tokens, by name."""
        return sorted((await self._records.tokens()).values(), key=lambda token: token.name)

    async def bearer(self, authorization: str, scope: Scope, site_id: str = "") -> AccessToken:
        """Return the token of a request if it has a scope for a site, or for all of them (""). Raises Denied.

        What may read the metrics is remembered (`remember`): the store is asked only for what is not, and for a second
        at most.
        """
        if scope == "metrics":
            if remembered := self._scrapers.get(_digest(_text(authorization))):
                return remembered
            try:
                async with asyncio.timeout(SECONDS):
                    token = await self._known(authorization)
            except TimeoutError as error:
                raise StoreUnavailable("the access token cannot be looked up just now") from error
        else:
            token = await self._known(authorization)
        if token.scope not in GOOD_FOR[scope] or token.site not in ("", site_id):
            raise Denied("this access token is not good for that", status=403)
        return token

    def load(self) -> None:
        """Read which tokens may read the metrics, as it was kept in the folder."""
        if self._kept is None:
            return
        try:
            self._scrapers = _decode((self._kept / KEPT).read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            log.warning("the kept hashes of metrics tokens cannot be read: %s", error)

    def note_loss(self) -> None:
        """The store has lost everything, tokens too. Nobody may be blind just then: `remember` puts those back that may
        read the metrics."""
        self._lost = True

    async def remember(self) -> None:
        """Remember which tokens may read the metrics from now on; after a loss, put back what is remembered. Raises
        OSError, too."""
        if self._lost:
            for digest, token in self._scrapers.items():
                await self._records.put_token(digest, token)
            self._lost = False
        tokens = await self._records.tokens()
        none_before, self._none_since_last = self._none_since_last, not tokens
        if not tokens and not none_before:
            return  # that it has lost everything is found out in a moment
        scrapers = {
            digest: token for digest, token in tokens.items() if token.scope in GOOD_FOR["metrics"] and not token.site
        }
        if scrapers != self._scrapers:
            self._scrapers = scrapers
            if self._kept is not None:
                self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_file(self._kept / KEPT, _encode(scrapers))

    async def _known(self, authorization: str) -> AccessToken:
        # The text is looked up by its SHA-256: what an attacker could learn from the time of that look-up is about a
        # hash that he does not choose.
        text = _text(authorization)
        if not text:
            raise Denied("this needs an access token: Authorization: Bearer …", status=401)
        token = await self._records.token(_digest(text)) if len(text) <= LONGEST_TOKEN and text.isascii() else None
        if token is None:
            raise Denied("this access token is not known", status=401)
        return token


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, AccessToken]).decode


def _text(authorization: str) -> str:
    scheme, _, text = authorization.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogateescape")).hexdigest()
