"""Changes of a site's settings: written down among the other changes of the site, with what was there before.

The record of a site stands beside those of all other sites, and not in its ledger; so the change is journalled first,
and the record is put afterwards. Should that be refused, a second change says so. It is not undone from the log:
whoever wants it back sets it again, which is a change, too.
"""

from hashlib import sha256
from typing import Any, Protocol

import msgspec

from visitstats.changes.recording import Order, Pending, Recording, refusal
from visitstats.core.errors import VisitstatsError
from visitstats.core.sites import Site
from visitstats.store.change_records import Logged, SettingSaid, encode_settings, noting

LONGEST_SAID = 1000
"""Characters of a setting that a change says; of what is longer the beginning."""
SECRET = 8
"""Letters of the SHA-256 by which a secret is told from another one."""
NOT_SAVED = "was not saved"


class Sites(Protocol):
    """Where the records of sites are: `store.records.Records`."""

    async def check_site(self, site: Site) -> None: ...

    async def put_site(self, site: Site) -> None: ...


class SettingsLog:
    """Changes the settings of one site."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    async def change(self, sites: Sites, before: Site, after: Site, order: Order) -> Logged | None:
        """Put the record of the site, and write down what that changes; None when it changes nothing. Raises
        InvalidSite, ChangeRefused, StoreUnavailable, JournalFull and Overloaded."""
        said = differences(before, after)
        if not said:
            return None
        await sites.check_site(after)
        made = await self._write(said, order)
        try:
            await sites.put_site(after)
        except VisitstatsError as error:
            back = [SettingSaid(each.name, each.after, each.before) for each in said]
            await self._write(back, Order(order.who, f"{NOT_SAVED}: {error}"[:200]))
            raise
        return made

    async def _write(self, said: list[SettingSaid], order: Order) -> Logged:
        own_id, change = self._recording.begin("settings", order)
        logged = Logged(own_id, msgspec.structs.replace(change, note=encode_settings(said)))
        try:
            made = await self._recording.make(logged, noting(self._recording.site, own_id, logged.change))
        except Pending as pending:
            return pending.logged  # it is in the journal, and comes into the log with what waits there
        if not isinstance(made, Logged):
            raise refusal(made, f"the settings cannot be changed ({made.reason})")
        return made


def differences(before: Site, after: Site) -> list[SettingSaid]:
    """Return which settings are others: what they were and what they are, as texts."""
    return [
        SettingSaid(field.name, _text(field.name, one), _text(field.name, two))
        for field in msgspec.structs.fields(Site)
        if (one := getattr(before, field.name)) != (two := getattr(after, field.name))
    ]


def _text(name: str, value: Any) -> str:
    if name == "signing_secrets":  # never what it is
        value = tuple(sha256(each.encode()).hexdigest()[:SECRET] for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        value = "\n".join(" => ".join(each) if isinstance(each, tuple) else each for each in value)
    text = str(value)
    return text if len(text) <= LONGEST_SAID else f"{text[:LONGEST_SAID]}… (+{len(text) - LONGEST_SAID})"
