"""What is changed in a site's settings is in its log: by whom, when, what it was and what it is."""

from __future__ import annotations

import msgspec
import pytest
import pytest_asyncio

from tests.store.merging import SITE, Merging
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.changes.settings import LONGEST_SAID
from visitstats.core.errors import InvalidSite, StoreUnavailable
from visitstats.core.sites import Site
from visitstats.store.change_records import Logged
from visitstats.store.records import Records

AN = Order("an", "Đổi tên miền")


@pytest_asyncio.fixture
async def merging(merging: Merging) -> Merging:
    await Records(merging.raw).put_site(SITE)
    return merging


async def change(merging: Merging, site: Site, order: Order = AN, **fields: object) -> tuple[Site, Logged | None]:
    after = msgspec.structs.replace(site, **fields)
    return after, await merging.desk.settings.change(Records(merging.raw), site, after, order)


def said(logged: Logged) -> dict[str, tuple[str, str]]:
    return {each.name: (each.before, each.after) for each in logged.change.settings}


async def test_who_changed_what_and_when_is_written_down(merging: Merging) -> None:
    """A list has a line for each of its items; what stays is not said, and a change of nothing is none."""
    records = Records(merging.raw)
    site, made = await change(
        merging, SITE, name="Xã", hosts=(*SITE.hosts, "moi.vn"), archived=True, rules=(("^/a", "b"), ("c", "d")),
        week_start=7,
    )  # fmt: skip
    assert (await records.sites())[SITE.id] == site
    [logged] = await merging.audit()
    assert made == logged
    assert (logged.change.kind, logged.change.who, logged.change.why, logged.change.at_ms) == (
        "settings", "an", "Đổi tên miền", merging.now,
    )  # fmt: skip
    hosts = "\n".join(SITE.hosts)
    assert said(logged) == {
        "name": ("", "Xã"), "hosts": (hosts, f"{hosts}\nmoi.vn"), "archived": ("no", "yes"),
        "rules": ("", "^/a => b\nc => d"), "week_start": ("1", "7"),
    }  # fmt: skip
    assert (await change(merging, site))[1] is None
    assert len(await merging.audit()) == 1
    with pytest.raises(ChangeRefused, match="set them again"):
        await merging.undo(logged.id)


async def test_no_secret_is_in_the_log(merging: Merging) -> None:
    """Only that it is another one; and of what is very long the beginning."""
    site, _ = await change(merging, SITE, signing_secrets=("geheim" * 8,), signatures="prefer")
    await change(
        merging, site, signing_secrets=("anders" * 8,), excluded_paths=tuple(f"/{n}/" + "x" * 90 for n in range(50))
    )
    last, first = await merging.audit()
    assert said(first)["signing_secrets"][1] == said(last)["signing_secrets"][0] != said(last)["signing_secrets"][1]
    assert "geheim" not in str(first) + str(last)
    assert len(said(last)["excluded_paths"][1]) < LONGEST_SAID + 20


async def test_what_is_not_saved_is_in_the_log_as_that(merging: Merging) -> None:
    """What cannot be is refused before; and if the record is lost after it was written down, the log says so."""
    records = Records(merging.raw)
    await records.put_site(Site(id="other", hosts=("other.vn",), shared_hosts=False))
    with pytest.raises(InvalidSite, match="of site other already"):
        await change(merging, SITE, hosts=("other.vn",))
    assert await merging.audit() == []

    class Away(Records):
        async def put_site(self, site: Site) -> None:
            raise StoreUnavailable("the store is away")

    after = msgspec.structs.replace(SITE, name="Xã")
    with pytest.raises(StoreUnavailable):
        await merging.desk.settings.change(Away(merging.raw), SITE, after, AN)
    back, made = await merging.audit()
    assert said(made) == {"name": ("", "Xã")}
    assert said(back) == {"name": ("Xã", "")}
    assert "was not saved" in back.change.why
