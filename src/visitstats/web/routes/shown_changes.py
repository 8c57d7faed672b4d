"""Changes as routes answer them."""

import msgspec

from visitstats.changes.facts import shown_facts
from visitstats.core.periods import Calendar
from visitstats.store.change_records import Amount, Change, Logged
from visitstats.web.beacons.answers import Moment


class BeforeAfter(msgspec.Struct):
    """A number before a change and after it."""

    before: int
    after: int


class ShownAmount(msgspec.Struct):
    """What a change adds to a count; below zero when it takes away."""

    of: str
    """visits or views."""
    article: str | None
    """Its key; null for the whole site."""
    by: int
    day: BeforeAfter | None
    """The count of the day; null for an amount without a date."""
    total: BeforeAfter
    """The count of all time, with the baseline."""


class ShownFact(msgspec.Struct):
    """What an article is called; of `hidden` 1 or empty."""

    fact: str
    before: str
    after: str


class ShownSetting(msgspec.Struct):
    """A setting of the site, as text: lists have a line for each."""

    setting: str
    before: str
    after: str


class Undone(msgspec.Struct):
    """By whom a change was undone, and when."""

    who: str
    at: Moment
    why: str


class ShownChange(msgspec.Struct):
    """A change that a person made."""

    id: str
    kind: str
    at: Moment
    who: str
    why: str
    source: str = msgspec.field(name="from")
    """The article that it is of; empty for the whole site."""
    into: str
    views: int | None
    """The views that a merge, or giving places back, has moved."""
    undoes: str | None
    undone_by: str | None
    undone: Undone | None = None
    day: str | None = None
    """The day on which amounts are booked."""
    meant_for: str | None = None
    """The day for which they were meant, whose month was closed."""
    period: str | None = None
    """The month that was closed or opened."""
    sha256: str | None = None
    amounts: list[ShownAmount] = []
    facts: list[ShownFact] = []
    settings: list[ShownSetting] = []
    """What was changed in the site's record. It is not undone here: set it again."""
    pages: int | None = None
    """How many gave their places back, or got them again."""


class Changed(msgspec.Struct, omit_defaults=True):
    """The change that was made, or is pending: then it is in the journal, and `detail` says when it is made."""

    site: str
    change: ShownChange
    pending: bool = False
    detail: str = ""


class Preview(msgspec.Struct):
    """What a change would do: nothing was changed."""

    site: str
    kind: str
    source: str = msgspec.field(name="from")
    undoes: str | None
    day: str | None
    meant_for: str | None
    amounts: list[ShownAmount]
    facts: list[ShownFact]


class Audit(msgspec.Struct):
    """The changes of a site, the newest first."""

    site: str
    changes: list[ShownChange]
    cursor: str | None = None
    """Goes on behind them; null at the end. A page may have fewer than were asked for."""
    damaged: int = 0
    """Records that cannot be read, and were left out; `visitstats verify` names them."""


def shown(calendar: Calendar, logged: Logged, undone: Logged | None = None) -> ShownChange:
    """Return a change as it is answered; `undone` is the change that undid it."""
    change = logged.change
    of_period = change.kind in ("close", "reopen") or (bool(change.place) and len(change.place) == len("2026-11"))
    return ShownChange(
        id=logged.id,
        kind=change.kind,
        at=calendar.iso(change.at_ms),
        who=change.who,
        why=change.why,
        source=change.source,
        into=change.target,
        views=change.moved if change.kind in ("merge", "prune") else None,
        undoes=change.undoes or None,
        undone_by=logged.undone or None,
        undone=None if undone is None else Undone(
            undone.change.who, calendar.iso(undone.change.at_ms), undone.change.why
        ),
        day=None if of_period else change.place or None,
        meant_for=None if of_period or change.kind == "settings" else change.note or None,
        period=change.place if of_period else None,
        sha256=change.note if change.kind == "close" else None,
        amounts=list(map(_amount, change.said)),
        facts=_facts(change),
        settings=[ShownSetting(each.name, each.before, each.after) for each in change.settings],
        pages=change.pages or None,
    )  # fmt: skip


def preview(site: str, change: Change) -> Preview:
    """Return what a change would do."""
    of_period = len(change.place) == len("2026-11")
    return Preview(
        site, change.kind, change.source, change.undoes or None, None if of_period else change.place or None,
        None if of_period else change.note or None, list(map(_amount, change.said)), _facts(change),
    )  # fmt: skip


def _facts(change: Change) -> list[ShownFact]:
    return [ShownFact(*each) for each in shown_facts(change)]


def _amount(amount: Amount) -> ShownAmount:
    on_day = None if amount.day < 0 else BeforeAfter(amount.day, amount.day + amount.by)
    return ShownAmount(
        amount.kind, amount.key or None, amount.by, on_day, BeforeAfter(amount.total, amount.total + amount.by)
    )
