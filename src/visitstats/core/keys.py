"""The identity of an article: from the address of a page to its key.

These rules, in this order, decide it (docs/keys.md says the same to readers):

1. An explicit key, given by the page, is the key. One that is an address of the site's takes the place of the page's.
   A template that was not filled (`{{ id }}`, `undefined`) is none, and no canonical link either.
2. The site is known by the host of the page's address, or of the page that a translation proxy shows; a host that is
   not the site's is refused. With the site's `use_canonical`, a canonical link to one of the site's own hosts takes the
   place of the page's address.
3. Path: percent-decoded once to Unicode NFC and encoded again; sessions (`;jsessionid=…`, `/(S(…))`), index names,
   trailing `/` dropped; `.` and `..` resolved; `//` collapsed; case kept unless the site says `ignore_case`.
4. Query: kept, sorted by name, without empty values and without the parameters that only track (`core.tracking`), also
   where they were added wrongly (`&amp;`, a second `?`, no `?`); when the site names its `id_params`, only those, in
   its own spelling of their names.
5. The fragment is dropped, but for a route (`#/…`) when the site says `hash_routes`.
6. Rewrite rules, those of the site and then those of its presets, each on what the one before has made. Where a pattern
   is found, its template is the new address, spelled by rules 3 to 5 again; or, when it neither begins with `/` nor is
   an address of the site's, the key. Rules that would change their own result are not applied.
7. Aliases: a key that was merged into another one (`visitstats.merges`) stands for that one. It is looked up last, by
   what all other rules have made.
8. A key has at most 512 bytes and 8 parameters; of a longer one the end is replaced by a hash.

A key made of an address is a fixed point: the page `https://<host><key>` has that same key, and so has a page that
gives the key as explicit. Keys are stored and their ids are frozen, so a change of these rules splits the counts of
articles: it needs a migration.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from types import MappingProxyType
from urllib.parse import unquote

import msgspec

from visitstats.core.addresses import C0_AND_SPACE, MAX_URL_CHARS, Address, encoded, spelling, split_tail, split_url
from visitstats.core.errors import HitRejected, InvalidSite
from visitstats.core.hosts import Hosts, fold_host
from visitstats.core.presets import PRESETS
from visitstats.core.rewriting import MAX_PROGRAM, Compile, Rewrite, compiled
from visitstats.core.sites import Site
from visitstats.core.text import unfilled, visible

MAX_KEY_BYTES = 512
MAX_PARAMS = 8
MAX_REWRITTEN = 2048
"""Longer addresses are not rewritten, so that what an address can cost is bounded (rule 6). Measured with addresses of
this length: 50 ordinary rules 3 ms, the largest programs that are allowed 30 ms."""
MOST_ROUNDS = 4
"""How often the rewrite rules are applied to their own result until it stays as it is."""

NO_ALIASES: Mapping[bytes, str] = MappingProxyType({})

_ORIGIN = re.compile(r"https?://([^/?#\\\s@]+)", re.IGNORECASE)
_CUT_CHARACTER = re.compile(r"%[0-9A-F]?\Z|(?:%[C-F][0-9A-F])(?:%[89AB][0-9A-F]?){0,3}%?\Z")
_AUTHORITY_END = re.compile(r"[/?#\\]")
_BEGINS_AN_ADDRESS = ("http://", "https://")
_CUT_KEY = re.compile(r"/[^?#]*~[0-9a-f]{32}")


class Step(msgspec.Struct, frozen=True):
    """What one rule did with an address on its way to the key."""

    rule: str
    before: str
    after: str
    note: str = ""

    @property
    def changed(self) -> bool:
        """Whether the rule did anything."""
        return self.before != self.after


class Explanation(msgspec.Struct, frozen=True):
    """How a page got its key, or why it gets none."""

    url: str
    steps: tuple[Step, ...]
    key: str | None
    reason: str = ""
    """The reason of a refusal, as in `HitRejected`."""
    detail: str = ""


class _Page:
    """A page on its way to its key."""

    __slots__ = ("address", "canonical", "explicit", "is_named", "key", "original", "url")

    def __init__(self, url: str, explicit: str, canonical: str) -> None:
        self.url = url
        self.explicit = explicit
        self.canonical = canonical
        self.is_named = False
        """The explicit key is an address, which is the article's."""
        self.address = Address("")
        self.original = self.address
        """The address before the first rewrite rule."""
        self.key = ""
        """Not empty as soon as it is decided."""

    @property
    def text(self) -> str:
        """What it is now, for people and for rewrite rules."""
        return self.key or self.address.text or self.url


_Decide = Callable[[_Page], str]
"""A step: changes the page and returns a note for people, or "". Raises HitRejected."""


class KeyRules:
    """The rules of one site, ready to be applied. Raises InvalidSite for rewrite rules that cannot be applied.

    `aliases` say, by the ids of keys, which keys they stand for; chains are followed already.
    """

    def __init__(self, site: Site, compile_pattern: Compile, aliases: Mapping[bytes, str] = NO_ALIASES) -> None:
        presets = [PRESETS[name] for name in site.preset]
        self._aliases = aliases
        self._hosts = Hosts(site.hosts)
        self._main_host = site.main_host
        self._spelling = spelling(
            ignore_case=site.ignore_case or any(preset.ignore_case for preset in presets),
            hash_routes=site.hash_routes,
            id_params=site.id_params,
            drop_params=site.extra_drop_params + tuple(name for preset in presets for name in preset.drop_params),
        )
        self._rewrites = _rewrites(site, compile_pattern)
        self._steps: tuple[tuple[str, _Decide], ...] = (
            ("host", self._host),
            ("explicit key", self._explicit),
            *((("canonical link", self._canonical),) if site.use_canonical else ()),
            ("path", self._path),
            ("query", self._query),
            ("fragment", self._fragment),
            *((rewrite.name, self._rewrite(rewrite)) for rewrite in self._rewrites),
            *((("rules at rest", self._settle),) if self._rewrites else ()),
            ("length", self._fit),
        )

    @property
    def rewrites(self) -> int:
        """How many rewrite rules an address meets: what it costs to find a key grows with them."""
        return len(self._rewrites)

    def key(self, url: str, *, explicit: str = "", canonical: str = "") -> str:
        """The key of the article that the page at `url` shows, at most 512 bytes of UTF-8.

        Raises HitRejected: "host" when the page is not the site's, "bad-url" when `url` is not an absolute http or
        https address, "bad-field" for an explicit key that is too long, "bad-text" for what is not Unicode or piles up
        marks.
        """
        return self.resolve(self.own_key(url, explicit=explicit, canonical=canonical))

    def own_key(self, url: str, *, explicit: str = "", canonical: str = "") -> str:
        """The key before rule 7, which is what aliases are made of. Raises as `key` does."""
        return self.own(url, explicit=explicit, canonical=canonical)[0]

    def own(self, url: str, *, explicit: str = "", canonical: str = "") -> tuple[str, str]:
        """The key before rule 7, and the address at which the article is read: without what only tracks, and before the
        rewrite rules; empty when it is the site's main host followed by the key. Raises as `key` does."""
        page = _Page(url, explicit, canonical)
        key = self._decide(page, self._steps)
        address = page.original if page.original.text else self._spelling.address(page.address)
        scheme, _, rest = url.lstrip(C0_AND_SPACE).partition("://")
        host = _AUTHORITY_END.split(rest, maxsplit=1)[0].rpartition("@")[2].lower()
        if fold_host(host) == self._main_host and ":" not in host:
            if address.text == key:
                return key, ""
            scheme, host = "https", self._main_host
        return key, f"{scheme.lower()}://{host}{address.text}"

    def named(self, text: str) -> str:
        """The key of an article that a person has named, before rule 7: what the text would be as an explicit key; ""
        for a text that is no key (rule 1). Raises HitRejected: "bad-field" or "bad-text"."""
        shown = visible(text)
        return self._decide(_Page("", text, ""), self._steps[1:]) if shown and not unfilled(shown) else ""

    def resolve(self, key: str) -> str:
        """Rule 7: the key for which a key stands."""
        return self._aliases.get(article_id(key), key) if self._aliases else key

    def explain(self, url: str, *, explicit: str = "", canonical: str = "") -> Explanation:
        """Say how `key` decides, step by step. Refuses nothing: a refusal is a part of the explanation."""
        page, steps = _Page(url, explicit, canonical), list[Step]()
        try:
            key = self._decide(page, self._steps, steps)
        except HitRejected as refused:
            steps.append(Step(self._steps[len(steps)][0], page.text, "", refused.detail))
            return Explanation(url, tuple(steps), None, refused.reason, refused.detail)
        if self._aliases:
            end = self.resolve(key)
            steps.append(Step("alias", key, end, "no alias" if end == key else "merged into this one"))
            key = end
        return Explanation(url, tuple(steps), key)

    def _decide(self, page: _Page, rules: tuple[tuple[str, _Decide], ...], trace: list[Step] | None = None) -> str:
        for name, step in rules:
            before = page.text if trace is not None else ""
            note = step(page)
            if trace is not None:
                trace.append(Step(name, before, page.text, note))
            if page.key:
                break
        return page.key

    # Each rule -----------------------------------------------------------------------------------------------------

    def _host(self, page: _Page) -> str:
        host, address = split_url(page.url)
        if host not in self._hosts:
            raise HitRejected("host", f"{host} is not a host of this site")
        page.address = address
        return f"{host} is a host of the site"

    def _explicit(self, page: _Page) -> str:
        if not page.explicit:
            return "the page gives none"
        text = visible(page.explicit)
        if not text:
            return "the page gives one without any visible character"
        if unfilled(text):
            return f"the page gives none: {text[:40]!r} is a template that was not filled"
        # The text as it came is tried first: in an address, invisible characters count, as they do in a page's address.
        address = self._own_address(page.explicit, text)
        if address is not None:
            page.address, page.is_named = address, True
            return "the page gives an address of the site"
        if len(encoded(text)) > MAX_KEY_BYTES:
            raise HitRejected("bad-field", f"the key is longer than {MAX_KEY_BYTES} bytes", status=400)
        page.key = text
        return "the page gives one"

    def _own_address(self, *spellings: str) -> Address | None:
        """The address that a text is, in the first of its spellings that is one on a host of the site."""
        for text in spellings:
            if text.lstrip(C0_AND_SPACE)[:8].lower().startswith(_BEGINS_AN_ADDRESS):
                with suppress(HitRejected):
                    host, address = split_url(text)
                    if host in self._hosts:
                        return address
        return None

    def _canonical(self, page: _Page) -> str:
        """A bad or foreign link is treated like a missing one."""
        if page.is_named:
            return "left aside: the page gives its key"
        if not page.canonical:
            return "the page has none"
        try:
            host, address = split_url(page.canonical)
        except HitRejected as refused:
            return f"left aside: {refused.detail}"
        if host not in self._hosts:
            return f"left aside: {host} is not a host of this site"
        # A browser sends the link as an address: resolved against the page's, and percent-encoded.
        if unfilled(unquote(page.canonical)) or unfilled(unquote(address.path.rpartition("/")[2])):
            return "left aside: a template that was not filled"
        page.address = address
        return "it names the article"

    def _path(self, page: _Page) -> str:
        path, query, fragment = page.address
        page.address = Address(self._spelling.path(path), query, fragment)
        return ""

    def _query(self, page: _Page) -> str:
        path, query, fragment = page.address
        if query:
            page.address = Address(path, self._spelling.query(query), fragment)
        return ""

    def _fragment(self, page: _Page) -> str:
        path, query, fragment = page.address
        if fragment:
            page.address = Address(path, query, self._spelling.fragment(fragment))
        page.original = page.address
        return ""

    def _rewrite(self, rewrite: Rewrite) -> _Decide:
        def step(page: _Page) -> str:
            text = page.text
            if len(text) > MAX_REWRITTEN:
                return f"not tried: longer than {MAX_REWRITTEN} characters"
            if "~" in text and _CUT_KEY.fullmatch(text):
                return "not tried: the key of an address that was too long"
            made = rewrite.apply(text)
            if made is None:
                return "does not match"
            made = visible(made)
            if not made:
                return "matches, but gives nothing"
            key = _cut_text(made)
            address = split_tail(made) if made.startswith("/") else self._own_address(made, key)
            if address is None:
                page.key = key
            else:
                page.address = self._spelling.address(address)
            return "matches"

        return step

    def _settle(self, page: _Page) -> str:
        """Apply the rewrite rules to their own result until they leave it as it is."""
        if page.address == page.original:
            return ""
        steps = [self._rewrite(rewrite) for rewrite in self._rewrites]
        for _ in range(MOST_ROUNDS):
            before = page.address
            for step in steps:
                step(page)
                if page.key:
                    return ""
            if page.address == before:
                return ""
        page.address = page.original
        return "the rules would change their own result again and again: none of them is applied"

    def _fit(self, page: _Page) -> str:
        """Rule 8: 128 bits (hex, BLAKE2b) of the whole stand for what does not fit, behind the path, which is cut when
        need be: still one key per address, and the path can be read."""
        address, page.key = page.address, page.address.text
        if page.key == address.path and len(page.key) <= MAX_KEY_BYTES:
            return ""
        queries = (address.query, address.fragment.partition("?")[2])
        parameters = sum(query.count("&") + 1 for query in queries if query)
        if len(page.key) <= MAX_KEY_BYTES and parameters <= MAX_PARAMS:
            return ""
        digest = _digest(page.key)
        room = MAX_KEY_BYTES - len(digest)
        path = address.path
        # Never cut inside a percent-encoded character.
        page.key = (path if len(path) <= room else _CUT_CHARACTER.sub("", path[:room])) + digest
        return f"more than {MAX_KEY_BYTES} bytes or {MAX_PARAMS} parameters: a hash stands for what does not fit"


def article_id(key: str) -> bytes:
    """The 8 bytes under which an article is stored. Frozen: a change would orphan every stored count."""
    return blake2b(key.encode(), digest_size=8, person=b"vs-article").digest()


def origin_allowed(site: Site, origin: str) -> bool:
    """Whether an `Origin` header names a page of this site; "null" if the site allows it, anything malformed never."""
    if origin == "null":
        return site.null_origin == "allow"
    match = _ORIGIN.fullmatch(origin) if len(origin) <= MAX_URL_CHARS else None
    if match is None:
        return False
    try:
        return fold_host(match[1]) in Hosts(site.hosts)
    except HitRejected:
        return False


def _rewrites(site: Site, compile_pattern: Compile) -> tuple[Rewrite, ...]:
    """The site's own rules come first, so that an exception to a preset can be made."""
    sources = [(f"rule {number}", rule) for number, rule in enumerate(site.rules, 1)]
    for name in site.preset:
        sources += [(f"preset {name}, rule {number}", rule) for number, rule in enumerate(PRESETS[name].rules, 1)]
    found: list[Rewrite] = []
    size = 0
    for name, (pattern, template) in sources:
        try:
            found.append(compiled(name, pattern, template, compile_pattern))
        except InvalidSite as error:
            raise InvalidSite(f"site {site.id}: {error}") from error
        size += found[-1].pattern.size
        if size > MAX_PROGRAM:
            raise InvalidSite(f"site {site.id}: {name}: the patterns are too large (repetitions like {{1,500}}?)")
    return tuple(found)


def _cut_text(key: str) -> str:
    """A key of a rewrite rule, within the limit."""
    raw = key.encode()
    if len(raw) <= MAX_KEY_BYTES:
        return key
    digest = _digest(key)
    return raw[: MAX_KEY_BYTES - len(digest)].decode(errors="ignore") + digest


def _digest(text: str) -> str:
    return "~" + blake2b(text.encode(), digest_size=16, person=b"vs-long-key").hexdigest()
