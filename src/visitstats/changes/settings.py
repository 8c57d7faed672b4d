"""Changes of a site's settings: written down among the other changes of the site, with the values before.

The record of a site is kept with those of all other sites, and not in its ledger; so the change is journalled first,
and the record is written afterwards. If that is refused, a second change says so. A change of settings cannot be undone
from the log: setting the old value again is a new change.
"""

from hashlib import sha256
from typing import Any, Protocol

import msgspec

from visitstats.changes.recording import Order, Pending, Recording, refusal
from visitstats.core.errors import VisitstatsError
from visitstats.core.sites import Site
from visitstats.store.change_records import Logged, SettingSaid, encode_settings, noting

LONGEST_SAID = 1000
"""How many characters of a setting a change shows; of a longer one it shows the beginning."""
SECRET = 8
"""How many letters of its SHA-256 stand for a secret, to tell it from others."""
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
            return pending.logged  # it is in the journal, and gets into the log when that is applied
        if not isinstance(made, Logged):
            raise refusal(made, f"the settings cannot be changed ({made.reason})")
        return made


def differences(before: Site, after: Site) -> list[SettingSaid]:
    """Return the settings that differ, with their values before and after, as texts."""
    return [
        SettingSaid(field.name, _text(field.name, one), _text(field.name, two))
        for field in msgspec.structs.fields(Site)
        if (one := getattr(before, field.name)) != (two := getattr(after, field.name))
    ]


def _text(name: str, value: Any) -> str:
    if name == "signing_secrets":  # never the secret itself
        value = tuple(sha256(each.encode()).hexdigest()[:SECRET] for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        value = "\n".join(" => ".join(each) if isinstance(each, tuple) else each for each in value)
    text = str(value)
    return text if len(text) <= LONGEST_SAID else f"{text[:LONGEST_SAID]}… (+{len(text) - LONGEST_SAID})"
