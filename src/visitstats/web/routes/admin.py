"""What editors and administrators read with a token: keys, what was not counted, unique visitors; and why a
beacon is counted or not."""

from collections.abc import Callable
from typing import Annotated

import msgspec

from visitstats.core import keys
from visitstats.core.beacon import decode_hit
from visitstats.core.counting import CAPPED, SEARCH_ENGINE
from visitstats.core.errors import HitRejected, InvalidQuery
from visitstats.core.periods import Day
from visitstats.ingest.known import Known
from visitstats.reading.uniques import STANDARD_ERROR_PERCENT, estimated, named_day
from visitstats.sites.directory import LiveSite
from visitstats.store.reads import Reads
from visitstats.web.beacons.address import headers_of
from visitstats.web.beacons.answers import Moment
from visitstats.web.beacons.edge import peer_of, read_body
from visitstats.web.beacons.senders import Senders
from visitstats.web.routes.explain import Explanation, Step, malformed
from visitstats.web.table import Asked, Route


class KeyQuery(msgspec.Struct):
    """Which page."""

    url: Annotated[str, msgspec.Meta(description="address of the page")] = ""
    key: Annotated[str, msgspec.Meta(description="explicit key that the page gives")] = ""
    canonical: Annotated[str, msgspec.Meta(description="canonical link that the page has")] = ""


class KeyStep(msgspec.Struct):
    """What one rule did with an address on its way to the key."""

    rule: str
    before: str
    after: str
    changed: bool
    note: str


class KeyRefused(msgspec.Struct):
    """Why a page gets no key."""

    reason: str
    detail: str


class Key(msgspec.Struct):
    """How an address becomes its key."""

    site: str
    url: str
    key: str | None
    refused: KeyRefused | None
    steps: list[KeyStep]


class DayQuery(msgspec.Struct):
    """Which day."""

    day: Annotated[str, msgspec.Meta(description="as 2026-11-24; today unless given")] = ""


class Ignored(msgspec.Struct):
    """The beacons of a day that were not counted, by reason."""

    site: str
    day: str
    at: Moment
    ignored: dict[str, int]
    search_engines: int
    visitors_capped: int


class UniquesQuery(DayQuery):
    """Which period."""

    period: Annotated[str, msgspec.Meta(description="day, week or month: the one that holds the day")] = "day"


class Uniques(msgspec.Struct):
    """The estimated unique visitors of a period, and of each of its days."""

    site: str
    period: str
    at: Moment
    uniques: int
    estimate: bool
    standard_error_percent: float
    days: dict[str, int]


class ExplainQuery(msgspec.Struct):
    """Whether a beacon is counted, or explained."""

    explain: Annotated[
        str, msgspec.Meta(description="1, with a token of the scope editor: say what each rule says, count nothing")
    ] = ""  # fmt: skip


class ExplainedHit(msgspec.Struct):
    """What would become of a beacon now, and what each rule says."""

    site: str
    counted: bool
    reason: str
    key: str | None
    starts_visit: bool | None
    new_view: bool | None
    steps: tuple[Step, ...]
    key_steps: list[KeyStep]


class Admin:
    """The handlers. `clock` gives the moment in milliseconds."""

    def __init__(
        self,
        reads: Reads,
        senders: Senders,
        known: Known,
        clock: Callable[[], int],
        body_max_bytes: int,
    ) -> None:
        self._reads = reads
        self._senders = senders
        self._known = known
        self._clock = clock
        self._body_max_bytes = body_max_bytes

    async def key(self, asked: Asked[KeyQuery, None]) -> Key:
        """Answer how an address becomes its key, step by step."""
        query = asked.query
        if not query.url:
            raise InvalidQuery("name an address, as in ?url=https%3A%2F%2Fportal.example.vn%2Fa")
        explained = asked.live.key_rules.explain(query.url, explicit=query.key, canonical=query.canonical)
        refused = None if explained.key else KeyRefused(explained.reason, explained.detail)
        return Key(asked.live.site.id, explained.url, explained.key, refused, shown_steps(explained.steps))

    async def ignored(self, asked: Asked[DayQuery, None]) -> Ignored:
        """Answer the beacons of a day that were not counted, by reason."""
        live, day = asked.live, self._day(asked.live, asked.query.day)
        found = await self._reads.ignored(live.site.id, day)
        noted = await self._reads.noted(live.site.id, day)
        at = live.calendar.iso(self._clock())
        return Ignored(live.site.id, day.date, at, dict(sorted(found.items())), noted[SEARCH_ENGINE], noted[CAPPED])

    async def uniques(self, asked: Asked[UniquesQuery, None]) -> Uniques:
        """Answer the estimated unique visitors of a day, a week or a month, and of each of its days."""
        live, day, period = asked.live, self._day(asked.live, asked.query.day), asked.query.period
        found = await estimated(self._reads, live, period, day, live.calendar.day_at(self._clock()))
        at = live.calendar.iso(self._clock())
        return Uniques(live.site.id, period, at, sum(found.values()), True, STANDARD_ERROR_PERCENT, found)

    async def explain(self, asked: Asked[ExplainQuery, None]) -> ExplainedHit:
        """Answer why a beacon is counted or not, rule by rule; nothing is counted. The request is the beacon, with its
        own headers."""
        request, live = asked.request, asked.live
        headers = headers_of(request.scope["headers"])
        try:
            beacon = decode_hit(await read_body(headers, request.receive, self._body_max_bytes))
        except HitRejected as refused:
            found = malformed(refused)
        else:
            explanation = Explanation(self._senders, self._reads, live, self._clock(), self._known)
            found = await explanation.of(headers, peer_of(request.scope), beacon)
        return ExplainedHit(
            live.site.id,
            found.counted,
            found.reason,
            found.key,
            found.starts_visit,
            found.new_view,
            found.steps,
            shown_steps(found.key_steps),
        )

    def _day(self, live: LiveSite, named: str) -> Day:
        return named_day(live, named) if named else live.calendar.day_at(self._clock())

    ROUTES = (
        Route("GET", "/v1/admin/sites/{site}/key", key, "How an address becomes its key, step by step",
              Key, scope="viewer", query=KeyQuery),
        Route("GET", "/v1/admin/sites/{site}/ignored", ignored, "What was not counted on a day, by reason",
              Ignored, scope="viewer", query=DayQuery),
        Route("GET", "/v1/admin/sites/{site}/uniques", uniques, "Unique visitors of a period, estimates",
              Uniques, scope="viewer", query=UniquesQuery),
        # The edge counts hits; those that ask for an explanation come here. The request is the beacon, so that it may
        # be that of another origin's page, which without a token gets nowhere.
        Route("POST", "/v1/sites/{site}/hit", explain, "Say whether a page load would be counted, and why",
              ExplainedHit, scope="editor", query=ExplainQuery, any_origin=True),
    )  # fmt: skip


def shown_steps(steps: tuple[keys.Step, ...]) -> list[KeyStep]:
    """Return the steps of a key as they are answered."""
    return [KeyStep(step.rule, step.before, step.after, step.changed, step.note) for step in steps]
