"""Access tokens: bearer tokens with a scope, shown once and kept as a hash; and the requests that were refused."""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from visitstats.core.errors import Denied, NotFound, StoreUnavailable, VisitstatsError
from visitstats.store.records import AccessToken, Records
from visitstats.store.refusals import MOST_ROWS, OTHERS, Refusal, RefusalRows, Refused
from visitstats.system.ending import end
from visitstats.system.files import write_file

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
"""The fewest and the most characters of a token that somebody else has made."""
_SECRET = re.compile(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST_TOKEN},{LONGEST_TOKEN}}}")
MOST_TOKENS = 1000
"""The most tokens of an installation: enough for an editor of each of several hundred portals."""
MOST_SITES = 200
"""The most sites that one token names; a token for more sites is one for all of them."""
MOST_DAYS = 3650
YEAR_DAYS = 365
ID_DIGITS = 16
"""How many letters of its SHA-256 are the id of a token. The id is no secret."""
KEPT = "scrapers.json"
SECONDS = 1.0
"""How long a scrape waits for the store to look its token up."""
HOUR_MS = 3_600_000

log = logging.getLogger(__name__)


class InvalidToken(VisitstatsError):
    """A token that cannot be made as asked."""


class Made(NamedTuple):
    """A token that was made. Its text is not kept anywhere."""

    id: str
    text: str
    token: AccessToken


class Listed(NamedTuple):
    """A token in a list, with the hour in which it was last used ("" for never)."""

    id: str
    token: AccessToken
    used: str


class Listing(NamedTuple):
    """All tokens, by name, and the ids of those whose records are damaged."""

    tokens: list[Listed]
    damaged: list[str]


class Access:
    """Makes, checks and revokes tokens. `clock` gives the moment in milliseconds. Every method may raise
    StoreUnavailable.

    The hashes of tokens that may read the metrics are remembered, and kept in a folder if one is given, so that the
    metrics can be read while the store is away. `pause` is for how many seconds an unknown token of a braked network
    waits.
    """

    def __init__(
        self, records: Records, clock: Callable[[], int], kept: Path | None = None, pause: float = 1.0
    ) -> None:
        self._records = records
        self._clock = clock
        self._kept = kept
        self._pause = pause
        self._scrapers: dict[str, AccessToken] = {}
        self._digests: frozenset[str] = frozenset()
        self._used: dict[str, int] = {}
        """The hour in which a token was last used, as this process knows it."""
        self._unwritten: dict[str, int] = {}
        """The moments of uses that are still to be kept."""
        self._look: asyncio.Task[dict[str, AccessToken]] | None = None
        self._none_since_last = False
        self._lost = False

    # Tokens --------------------------------------------------------------------------------------------------------

    async def add(
        self, name: str, scope: str, sites: Iterable[str] = (), text: str = "", *, days: int = 0, by: str = ""
    ) -> Made:
        """Make a token for some sites, or for all of them, that is valid for `days` days (0: for ever). With a `text`
        that somebody else has drawn, it may be made again. `by` is who makes it. Raises InvalidToken."""
        first, *more = dict.fromkeys(sites) or [""]
        if scope not in SCOPES:
            raise InvalidToken(f"scope {scope!r}: use one of {', '.join(SCOPES)}")
        if not name.strip() or len(name) > 80 or not name.isprintable():
            raise InvalidToken("a token's name is 1 to 80 printable characters")
        if more and len(more) >= MOST_SITES:
            raise InvalidToken(f"a token names at most {MOST_SITES} sites; make one for all of them")
        if not 0 <= days <= MOST_DAYS:
            raise InvalidToken(f"a token is good for 1 to {MOST_DAYS} days, or for ever (0)")
        if text and not _SECRET.fullmatch(text):
            raise InvalidToken(
                f"a token's text is {SHORTEST_TOKEN} to {LONGEST_TOKEN} letters, digits and -._~+/=, drawn at random"
            )
        now = datetime.fromtimestamp(self._clock() // 1000, UTC)
        token = AccessToken(
            name=name, scope=scope, site=first, more=tuple(more), created=now.isoformat(), by=by,
            expires=(now + timedelta(days=days)).isoformat() if days else "",
        )  # fmt: skip
        known, _ = await self._records.tokens()
        same = known.get(_digest(text)) if text else None
        if same is not None and (same.name, same.scope, same.sites) == (name, scope, token.sites):
            return Made(_digest(text)[:ID_DIGITS], text, same)
        if same is not None or any(each.name == name for each in known.values()):
            raise InvalidToken(f"there is a token {name if same is None else same.name!r} already; revoke it first")
        if len(known) >= MOST_TOKENS:
            raise InvalidToken(f"there are {MOST_TOKENS} tokens already; revoke those that nobody needs")
        text = text or PREFIX + secrets.token_urlsafe(32)
        await self._records.put_token(_digest(text), token)
        return Made(_digest(text)[:ID_DIGITS], text, token)

    async def revoke(self, token_id: str) -> None:
        """Revoke a token, also one whose record is damaged, by its id. Raises NotFound and OSError."""
        good, damaged = await self._records.tokens()
        for digest in (*good, *damaged):
            if digest[:ID_DIGITS] == token_id:
                await self._records.remove_token(digest)
                if self._scrapers.pop(digest, None) is not None:
                    self._keep_scrapers()
                return
        raise NotFound(f"there is no token {token_id!r}")

    async def id_of(self, named: str) -> str:
        """Return the id of a token by its name, or by its id. Raises NotFound."""
        tokens, damaged = await self.all()
        ids = [each.id for each in tokens if each.token.name == named]
        ids += [each for each in (*(listed.id for listed in tokens), *damaged) if each == named]
        if not ids:
            raise NotFound(f"there is no token {named!r}")
        return ids[0]

    async def all(self) -> Listing:
        """Return all tokens."""
        good, damaged = await self._records.tokens()
        used = await self._records.used()
        tokens = [Listed(digest[:ID_DIGITS], token, used.get(digest, "")) for digest, token in good.items()]
        return Listing(sorted(tokens, key=lambda each: each.token.name), [digest[:ID_DIGITS] for digest in damaged])

    # Requests ------------------------------------------------------------------------------------------------------

    async def bearer(
        self, authorization: str, scope: Scope | None, site_id: str | None = "", *, braked: bool = False
    ) -> AccessToken:
        """Return the token of a request if it has a scope for a site, for all of them ("") or for any (None); with no
        scope asked for, any token will do. Raises Denied.

        Tokens that may read the metrics are remembered (`remember`): the store is asked only for others, and for a
        second at most. Unknown tokens of a `braked` network (one that sent too many wrong ones) are looked up together,
        once in a `pause`: guessing is slow and costs next to nothing, and a right token is still let in.
        """
        text = _text(authorization)
        if not text:
            raise Denied("this needs an access token: Authorization: Bearer …", status=401, reason="no-token")
        digest = _digest(text)
        token = self._scrapers.get(digest) if scope == "metrics" else None
        if token is None and len(text) <= LONGEST_TOKEN and text.isascii():
            token = await self._found(digest, scope, braked)
        if token is None:
            raise Denied("this access token is not known", status=401, reason="unknown-token")
        now_ms = self._clock()
        if token.expires and datetime.fromisoformat(token.expires).timestamp() * 1000 <= now_ms:
            raise Denied("this access token has expired", status=401, reason="expired", who=token.name)
        if scope is not None and token.scope not in GOOD_FOR[scope]:
            raise Denied("this access token is not good for that", status=403, reason="scope", who=token.name)
        if scope is not None and site_id is not None and token.site and site_id not in token.sites:
            raise Denied("this access token is not good for that", status=403, reason="site", who=token.name)
        if self._used.get(digest) != (hour := now_ms // HOUR_MS):
            self._used[digest], self._unwritten[digest] = hour, now_ms
        return token

    async def _found(self, digest: str, scope: Scope | None, braked: bool) -> AccessToken | None:
        # The token is looked up by its SHA-256: the time of that look-up could only tell an attacker about a hash,
        # which nobody can choose.
        if braked and digest not in self._digests:
            return await self._at_the_next_look(digest)
        if scope != "metrics":
            return await self._records.token(digest)
        try:
            async with asyncio.timeout(SECONDS):
                return await self._records.token(digest)
        except TimeoutError as error:
            raise StoreUnavailable("the access token cannot be looked up just now") from error

    async def _at_the_next_look(self, digest: str) -> AccessToken | None:
        if self._look is None:
            self._look = asyncio.create_task(self._look_for_all())
        return (await asyncio.shield(self._look)).get(digest)

    async def _look_for_all(self) -> dict[str, AccessToken]:
        try:
            await asyncio.sleep(self._pause)
        finally:
            self._look = None  # a request from now on may have a token that is too new for this reading
        return (await self._records.tokens()).good

    async def close(self) -> None:
        """Stop the look-ups that are under way."""
        if self._look is not None:
            await end(self._look)

    # What is remembered --------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read from the folder which tokens may read the metrics."""
        if self._kept is None:
            return
        try:
            self._scrapers = _decode((self._kept / KEPT).read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            log.warning("the kept hashes of metrics tokens cannot be read: %s", error)

    def note_loss(self) -> None:
        """Note that the store has lost everything, with all tokens. The metrics must be readable just then: `remember`
        puts the tokens back that may read them."""
        self._lost = True

    async def remember(self) -> None:
        """Remember which tokens may read the metrics, and write the last uses of tokens to the store; after a loss, put
        the remembered tokens back. Raises OSError as well."""
        if self._lost:
            for digest, token in self._scrapers.items():
                await self._records.put_token(digest, token)
            self._lost = False
        uses, self._unwritten = self._unwritten, {}
        try:
            tokens, _ = await self._records.tokens()
            await self._keep_uses({digest: moment for digest, moment in uses.items() if digest in tokens})
        except StoreUnavailable:
            self._unwritten = uses | self._unwritten
            raise
        # Tokens that were made and used since the last reading stay as well.
        now = self._clock() // HOUR_MS
        self._used = {digest: hour for digest, hour in self._used.items() if digest in tokens or hour == now}
        none_before, self._none_since_last = self._none_since_last, not tokens
        if not tokens and not none_before:
            return  # the directory of sites will find out in a moment that the store has lost everything
        self._digests = frozenset(tokens)
        scrapers = {
            digest: token for digest, token in tokens.items() if token.scope in GOOD_FOR["metrics"] and not token.site
        }
        if scrapers != self._scrapers:
            self._scrapers = scrapers
            self._keep_scrapers()

    def _keep_scrapers(self) -> None:
        if self._kept is not None:
            self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(self._kept / KEPT, _encode(self._scrapers))

    async def _keep_uses(self, uses: Mapping[str, int]) -> None:
        """Keep the moments of first uses in an hour: a token costs the store one write an hour and process."""
        if uses:
            await self._records.note_used({digest: _iso(moment) for digest, moment in uses.items()})


class Refusals:
    """The refusals of this process that are not in the store yet: at most MOST_ROWS different ones."""

    def __init__(self, rows: RefusalRows, clock: Callable[[], int]) -> None:
        self._rows = rows
        self._clock = clock
        self._found: dict[tuple[str, Refusal], tuple[int, int]] = {}

    def note(self, refusal: Refusal) -> None:
        """Note that something was refused now."""
        now_ms = self._clock()
        self._add((_iso(now_ms)[:10], refusal), 1, now_ms)

    async def keep(self) -> None:
        """Add to the store what was noted. Raises StoreUnavailable; then it is kept for the next time."""
        found, self._found = self._found, {}
        while found:
            day = next(iter(found))[0]
            rows = {refusal: told for (of, refusal), told in found.items() if of == day}
            try:
                await self._rows.add(day, rows)
            except StoreUnavailable:
                for name, told in found.items():
                    self._add(name, *told)
                raise
            found = {name: told for name, told in found.items() if name[0] != day}

    async def last(self, days: int) -> list[Refused]:
        """Return the refusals of all processes in the last days (UTC), with today. Raises StoreUnavailable."""
        await self.keep()
        return await self._rows.of(datetime.fromtimestamp(self._clock() / 1000, UTC).date(), days)

    def _add(self, name: tuple[str, Refusal], times: int, last_ms: int) -> None:
        if name not in self._found and len(self._found) >= MOST_ROWS:
            name = (name[0], OTHERS)
        before, last = self._found.get(name, (0, 0))
        self._found[name] = before + times, max(last, last_ms)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, AccessToken]).decode


def _iso(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms // 1000, UTC).isoformat()


def _text(authorization: str) -> str:
    scheme, _, text = authorization.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogateescape")).hexdigest()
