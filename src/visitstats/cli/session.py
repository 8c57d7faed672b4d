"""The common part of all commands: the settings, and a store to work on."""

import asyncio
import os
import pwd
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from visitstats.changes.scribe import Scribe
from visitstats.core.errors import NotFound, VisitstatsError
from visitstats.core.sites import Site
from visitstats.embedded.process import running_store
from visitstats.ingest.turn import is_replayed
from visitstats.journal.folder import claim_folder, guard_folder
from visitstats.settings import SETTINGS, Settings
from visitstats.store.client import open_client
from visitstats.store.fitness import Parts, opened
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.store.schema import check_schema, claim_store
from visitstats.system.clock import wall_clock

T = TypeVar("T")


class WrongUser(VisitstatsError):
    """A command that root must not run, because the data folder belongs to another user."""


def option(name: str, **more: Any) -> Any:
    """An option for a setting, which may be left out."""
    return typer.Option(f"--{name.replace('_', '-')}", help=SETTINGS[name].help, show_default=False, **more)


ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file (else ./visitstats.toml).", show_default=False)
]
DataDirOption = Annotated[Path | None, option("data_dir")]
RedisOption = Annotated[str | None, option("redis_url")]


def settings_of(config: Path | None, **options: object) -> Settings:
    """Return the settings: options first, then the environment, the file, the defaults. Raises InvalidSetting, and
    WrongUser where root would leave files that the service cannot read, and FolderUnfit for a folder that strangers may
    write."""
    settings = Settings.load(options, os.environ, config)
    check_user(settings.data_dir)
    guard_folder(settings.data_dir)
    return settings


def check_user(folder: Path) -> None:
    """Refuse (WrongUser) to work as root on a data folder of another user."""
    if os.geteuid() != 0 or not folder.is_dir() or not (owner := folder.stat().st_uid):
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise WrongUser(
        f"the data folder {folder} belongs to {name}, and what root writes there the service could not read; "
        f"run this as that user: sudo -u {name} visitstats …"
    )


@contextmanager
def store_url(settings: Settings) -> Iterator[str]:
    """Yield the address of the store that the settings name: a running one, or the embedded one for as long as it
    takes."""
    if settings.redis_url:
        yield settings.redis_url
    else:
        with running_store(settings.data_dir) as url:
            yield url


def with_store(
    config: Path | None, data_dir: Path | None, redis_url: str | None, work: Callable[[Records, Reads], Awaitable[T]]
) -> T:
    """Do some work on the store that the settings name: a running one, or the embedded one for as long as it takes."""
    with store_url(settings_of(config, data_dir=data_dir, redis_url=redis_url)) as url:
        return on_store(url, work)


def on_store(url: str, work: Callable[[Records, Reads], Awaitable[T]]) -> T:
    """Do some work on the store at an address."""

    async def run() -> T:
        client = open_client(url)
        try:
            await claim_store(client)
            return await work(Records(client), Reads(client))
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()

    return asyncio.run(run())


def with_parts(settings: Settings, work: Callable[[Parts], Awaitable[T]], *, claim: bool = True) -> T:
    """Do some work on all parts of the store that the settings name, as `with_store` does. Work that only reads must
    not `claim` it, so that an empty store stays empty."""

    async def run(url: str) -> T:
        async with opened(url, wall_clock) as parts:
            await (claim_store if claim else check_schema)(parts.client)
            return await work(parts)

    with store_url(settings) as url:
        return asyncio.run(run(url))


@asynccontextmanager
async def scribe(settings: Settings, parts: Parts) -> AsyncIterator[Scribe]:
    """Open a writer of changes beside a running service. Raises JournalFull and FolderUnfit."""
    await asyncio.to_thread(claim_folder, settings.data_dir)
    root = settings.data_dir / "journal"
    found = await asyncio.to_thread(
        Scribe.open, root, parts.url, parts.records.changes, wall_clock, lambda: is_replayed(root)
    )
    try:
        await found.catch_up()
        yield found
    finally:
        await found.close()


async def find_site(records: Records, site_id: str) -> Site:
    """Return a site; raises NotFound."""
    site = (await records.sites()).get(site_id)
    if site is None:
        raise NotFound(f"there is no site {site_id!r}; visitstats site list shows them")
    return site


def dots(number: int | None) -> str:
    """Write a number as a Vietnamese office does: 1.524."""
    return "—" if number is None else f"{number:,}".replace(",", ".")


def complain(text: str) -> None:
    """Say something on stderr, in one line."""
    print(f"visitstats: {text}", file=sys.stderr)
