"""The routes of a site's settings: its record, the box that it embeds, and the keys that its rules give addresses."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from visitstats.changes.recording import Order, Recording
from visitstats.changes.scribe import Recorder
from visitstats.changes.settings import SettingsLog
from visitstats.core.box_markup import NO_NOTE, Shown, direction
from visitstats.core.box_words import words_of
from visitstats.core.boxes import DEFAULT_PRESET, LINES, UNKNOWN, Box, asked_box
from visitstats.core.errors import HitRejected, InvalidSite, NoSuchSite
from visitstats.core.keys import article_id
from visitstats.core.site_fields import tidied
from visitstats.core.sites import Site
from visitstats.reading.snapshots import Stats
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.web.routes.admin import KeyRefused, KeyStep, shown_steps
from visitstats.web.routes.boxes import BoxQuery
from visitstats.web.snippet import SERVICE, own_box, site_snippet
from visitstats.web.table import Asked, Route

MOST_TRIED = 50
"""The most addresses in one request."""
SAMPLE = 1000
"""On how many of the newest articles changed rules are tried."""
AT_ONCE = 50
"""How many addresses are worked out before other tasks may run: some 20 µs each."""

_SHOWN = [field for field in msgspec.structs.fields(Site) if field.name not in ("id", "signing_secrets")]
if TYPE_CHECKING:
    SettingsOrder = Any
    SiteSettings = Any
else:
    SettingsOrder = msgspec.defstruct(
        "SettingsOrder",
        [(field.name, field.type | UnsetType, UNSET) for field in _SHOWN],
        kw_only=True, forbid_unknown_fields=True, namespace={"__doc__": "The fields of a site's record to change."},
    )  # fmt: skip
    SiteSettings = msgspec.defstruct(
        "SiteSettings",
        [("site", str), *((field.name, field.type) for field in _SHOWN), ("secrets", int)],
        kw_only=True,
        namespace={"__doc__": "A site's record; of its secrets for signatures only how many there are."},
    )


class EmbedQuery(BoxQuery, kw_only=True):
    """How the box looks, and where the service is."""

    api: Annotated[str, Meta(max_length=200, description="address of the service: /vs, or https://…")] = SERVICE
    short: Annotated[int, Meta(ge=0, le=1, description="1: the form without inline code")] = 0


class EmbeddedLine(msgspec.Struct):
    """A line of a box as it is read."""

    name: str
    label: str
    gap: bool
    value: str


class Embedded(msgspec.Struct):
    """A box, with everything decided, and the snippet that makes the widget build it."""

    site: str
    preset: str
    title: str
    lines: list[EmbeddedLine]
    structure: str
    theme: str
    format: str
    lang: str
    direction: str
    unknown: str
    """What stands for a number that is not known."""
    note: str
    """What stands below the lines while the numbers are of this moment."""
    stale: str
    """What is said before the moment when they are not."""
    more: list[str]
    """The names of the lines that it could have besides."""
    snippet: str


class KeysOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Addresses to find the keys of, and fields of the site's record that are tried instead of its own."""

    urls: Annotated[list[Annotated[str, Meta(max_length=2048)]], Meta(max_length=MOST_TRIED)]
    settings: SettingsOrder | UnsetType = UNSET


class TriedAddress(msgspec.Struct):
    """What the rules make of one address."""

    url: str
    key: str | None
    refused: KeyRefused | None
    title: str
    views: int | None
    """Views of all time; null for an article that is not known."""
    steps: list[KeyStep]


class Sampled(msgspec.Struct):
    """What other rules would do to the site's newest articles."""

    tried: int
    changed: int
    """How many would have another key: what is read from then on would count for another article."""
    joined: int
    """How many articles fewer there would be."""


class TriedKeys(msgspec.Struct):
    """What the rules make of addresses. Without other rules there is no sample."""

    site: str
    addresses: list[TriedAddress]
    sample: Sampled | None


class SettingsRoutes:
    """The handlers."""

    def __init__(
        self, records: Records, reads: Reads, stats: Stats, sites: SiteDirectory, recorder: Recorder,
        clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self._records = records
        self._reads = reads
        self._stats = stats
        self._sites = sites
        self._recorder = recorder
        self._clock = clock

    async def settings(self, asked: Asked[None, None]) -> SiteSettings:
        """Answer a site's record."""
        return _shown(asked.live.site)

    async def change(self, asked: Asked[None, SettingsOrder]) -> SiteSettings:
        """Change fields of a site's record; the others stay, and all counts. Who changed what is in the log."""
        known = (await self._records.sites()).get(asked.live.site.id)
        if known is None:
            raise NoSuchSite("there is no such site")
        live = _changed(known, asked.body)
        site = live.site
        recording = Recording(self._records.changes, self._recorder, site.id, live.key_rules, self._clock)
        await SettingsLog(recording).change(self._records, known, site, Order(asked.token.name))
        await self._sites.refresh()
        return _shown(site)

    async def embed(self, asked: Asked[EmbedQuery, None]) -> Embedded:
        """Answer a box as it would look, and what is pasted for it."""
        live, query = asked.live, asked.query
        options = query.options()
        box = asked_box(options)
        if "lines" not in options:
            box = own_box(live.site, box)
        preset = options.get("preset", DEFAULT_PRESET)
        snippet = site_snippet(live.site, query.api, box, preset, short=query.short == 1)
        numbers = (await self._stats.current(live)).numbers
        shown = Shown({name: getattr(numbers, name) for name in LINES}, numbers.record_date or "")
        return _embedded(live.site, box, preset, shown, snippet)

    async def keys(self, asked: Asked[None, KeysOrder]) -> TriedKeys:
        """Answer the keys of addresses, by the site's rules or by others."""
        live, order = asked.live, asked.body
        other = None if order.settings is UNSET else _changed(live.site, order.settings, live)
        rules = (other or live).key_rules
        made = [rules.explain(url) for url in order.urls]
        found = [each.key for each in made if each.key]
        ids = {key: article_id(key) for key in found}
        views = await self._reads.views(live.site.id, found)
        entries = await self._reads.entries(live.site.id, list(ids.values()))
        titles = {key: entry.title for key, entry in zip(ids, entries, strict=True)}
        rows = [
            TriedAddress(
                each.url, each.key, None if each.key else KeyRefused(each.reason, each.detail),
                titles.get(each.key or "", ""), views.get(each.key or ""), shown_steps(each.steps),
            )
            for each in made
        ]  # fmt: skip
        return TriedKeys(live.site.id, rows, None if other is None else await self._sample(live, other))

    async def _sample(self, live: LiveSite, other: LiveSite) -> Sampled:
        entries = await self._reads.entries(live.site.id, await self._reads.newest(live.site.id, SAMPLE))
        host = live.site.main_host
        before: list[str] = []
        after: list[str] = []
        for n, entry in enumerate(entries):
            if n % AT_ONCE == 0:
                await asyncio.sleep(0)
            url = entry.url or (f"https://{host}{entry.key}" if entry.key.startswith("/") and host else "")
            if url and (key := live.key_rules.explain(url).key):
                before.append(key)
                after.append(other.key_rules.explain(url).key or "")
        changed = sum(one != two for one, two in zip(before, after, strict=True))
        return Sampled(len(before), changed, max(len(set(before)) - len(set(after)), 0))

    ROUTES = (
        Route("GET", "/v1/admin/sites/{site}/settings", settings, "A site's record", SiteSettings, scope="editor"),
        Route("POST", "/v1/admin/sites/{site}/settings", change, "Change a site's record", SiteSettings, scope="admin",
              body=SettingsOrder, most_body=65_536),
        Route("GET", "/v1/admin/sites/{site}/embed", embed, "A box and what is pasted for it", Embedded,
              scope="editor", query=EmbedQuery),
        Route("POST", "/v1/admin/sites/{site}/keys", keys, "The keys of addresses, by these or by other rules",
              TriedKeys, scope="editor", body=KeysOrder, most_body=65_536),
    )  # fmt: skip


def _changed(site: Site, order: SettingsOrder, live: LiveSite | None = None) -> LiveSite:
    """Return a site with other fields. Raises InvalidSite."""
    given = {name: value for name in order.__struct_fields__ if (value := getattr(order, name)) is not UNSET}
    try:
        changed = msgspec.convert(msgspec.to_builtins(site) | msgspec.to_builtins(tidied(given)), Site)
    except HitRejected as error:
        raise InvalidSite(f"site {site.id}: {error}") from error
    except msgspec.ValidationError as error:
        raise InvalidSite(f"site {site.id}: {error}") from error
    return LiveSite(changed, live.aliases) if live else LiveSite(changed)


def _shown(site: Site) -> SiteSettings:
    fields = {field.name: getattr(site, field.name) for field in _SHOWN}
    return SiteSettings(site=site.id, secrets=len(site.signing_secrets), **fields)


def _embedded(site: Site, box: Box, preset: str, shown: Shown, snippet: str) -> Embedded:
    return Embedded(
        site=site.id,
        preset=preset,
        title=box.shown_title,
        lines=[EmbeddedLine(line.name, box.label(line), line.gap, shown.value(box, line)) for line in box.lines],
        structure=box.structure,
        theme=box.theme,
        format=box.format,
        lang=box.language,
        direction="rtl" if 'dir="rtl"' in direction(box) else "ltr",
        unknown=UNKNOWN,
        note=NO_NOTE,
        stale=words_of(box.language)["at"],
        more=[name for name in LINES if all(name != line.name for line in box.lines)],
        snippet=snippet,
    )
