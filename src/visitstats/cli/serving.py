"""visitstats serve, visitstats demo: running the service."""

import asyncio
import logging
import os
import platform
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from visitstats import __version__
from visitstats.access import Access
from visitstats.changes.baselines import Baselines
from visitstats.cli.session import (
    ConfigOption,
    DataDirOption,
    RedisOption,
    check_user,
    complain,
    option,
    scribe,
    settings_of,
    with_parts,
)
from visitstats.core.entries import Entry
from visitstats.core.errors import StoreUnavailable, VisitstatsError
from visitstats.core.keys import KeyRules
from visitstats.core.schema import SCHEMA_NUMBER
from visitstats.core.sites import Site
from visitstats.demo.articles import load_articles
from visitstats.demo.past import live_through
from visitstats.demo.player import start_player
from visitstats.embedded.process import EmbeddedStore
from visitstats.journal.folder import claim_folder, guard_folder
from visitstats.journal.reader import slot_folders
from visitstats.settings import Settings
from visitstats.store.client import START_SECONDS
from visitstats.store.fitness import Parts, opened
from visitstats.store.upgrade import upgrade_store
from visitstats.store.upkeep import Upkeep
from visitstats.system.board import Board
from visitstats.system.clock import wall_clock
from visitstats.system.logs import ALWAYS, set_up_logging
from visitstats.system.patterns import linear_pattern
from visitstats.system.service import running
from visitstats.trust.losses import look_for_loss
from visitstats.web.listeners import listening
from visitstats.web.server import CannotServe, run

log = logging.getLogger(__name__)

OPENED = ("metrics_port", "metrics_socket")
RELOAD_SECONDS = 300.0
"""How long the command waits for a reload, in which each worker is replaced in its turn."""
TRAFFIC_PER_MINUTE = 20.0
SEED_VIEWS = 822
"""The views of the seed's article on its own portal; the demo takes them over as a baseline."""


class NotReloaded(VisitstatsError):
    """A reload that was not done."""


def serve(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    redis_url: RedisOption = None,
    host: Annotated[str | None, option("host")] = None,
    port: Annotated[int | None, option("port")] = None,
    workers: Annotated[int | None, option("workers")] = None,
    metrics_port: Annotated[int | None, option("metrics_port")] = None,
    durability: Annotated[str | None, option("durability", metavar="fsync|os")] = None,
) -> None:
    """Run the service. Without --redis-url it runs its own Valkey in the data folder."""
    environ = dict(os.environ)

    def load() -> Settings:
        return Settings.load(
            {
                "data_dir": data_dir, "redis_url": redis_url, "host": host, "port": port, "workers": workers,
                "metrics_port": metrics_port, "durability": durability,
            },
            environ, config,
        )  # fmt: skip

    _serve(
        load, demo=False, ready=lambda address, _: print(f"visitstats {__version__} listens on {address}", flush=True)
    )


def reload(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Make the running service read its settings and sites again, without refusing a hit."""
    folder = settings_of(config, data_dir=data_dir).data_dir
    before = running(folder)
    if before is None:
        raise NotReloaded(f"no service runs on the data folder {folder}")
    os.kill(before.pid, signal.SIGHUP)
    deadline = time.monotonic() + RELOAD_SECONDS
    while (now := running(folder)) is not None and now.pid == before.pid and now.reloads == before.reloads:
        if time.monotonic() > deadline:
            raise NotReloaded("the service has not reloaded yet; its log says why")
        time.sleep(0.1)
    if now is None or now.pid != before.pid:
        raise NotReloaded("the service has ended meanwhile; its log says why")
    if now.trouble:
        raise NotReloaded(f"the service goes on as it was: {now.trouble}")
    print("The service has read its settings again, and its workers are new ones.")


def demo(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    data_dir: Annotated[
        Path, typer.Option(help="Folder of the demo's numbers; a second run carries on with them.")
    ] = Path("visitstats-data/demo"),
    traffic: Annotated[bool, typer.Option("--traffic", help="Simulate visitors who come, read and leave.")] = False,
    rate: Annotated[
        float, typer.Option(help="Visitors per minute with --traffic.", min=0.1, max=600)
    ] = TRAFFIC_PER_MINUTE,
) -> None:
    """Run a demonstration on this machine: the portal of a small town with the counter on it."""
    environ = dict(os.environ)
    options = {"data_dir": data_dir, "host": "127.0.0.1", "port": port}
    _serve(
        lambda: Settings.load(options, environ),
        demo=True,
        ready=lambda address, token: _invite(address, token, traffic, rate),
    )


def _serve(load: Callable[[], Settings], *, demo: bool, ready: Callable[[str, str], None]) -> None:
    asked, board = load(), Board()
    settings = asked
    set_up_logging("warning" if demo else settings.log_level, settings.log_format, board)
    _have_folder(settings.data_dir)
    check_user(settings.data_dir)
    claim_folder(settings.data_dir)
    for warning in guard_folder(settings.data_dir):
        log.warning("%s", warning)
    with listening(settings) as listeners:
        settings = listeners.settings
        store = None if settings.redis_url else EmbeddedStore.start(settings.data_dir)
        try:
            settings = _with_store(settings, store)
            found = asyncio.run(_look(settings))
            log.info(
                "starting: visitstats %s, Python %s, %d workers; %s; %s in %s", __version__, platform.python_version(),
                settings.workers, found, _journal(settings), settings.data_dir, extra=ALWAYS,
            )  # fmt: skip
            token = with_parts(settings, lambda parts: _prepare_demo(settings, parts)) if demo else ""

            def again() -> Settings:
                found = _with_store(load(), store)
                # Where systemd has opened the sockets, the settings do not name them.
                same = [name for name in OPENED if getattr(found, name) == getattr(asked, name)]
                return msgspec.structs.replace(found, **{name: getattr(settings, name) for name in same})

            run(
                settings, listeners.sockets, store, board, reload=again,
                now_ms=wall_clock(), demo=demo, started=lambda: ready(listeners.shown, token),
            )  # fmt: skip
        finally:
            if store is not None:
                store.stop()
    log.info("stopped", extra=ALWAYS)


def _with_store(settings: Settings, store: EmbeddedStore | None) -> Settings:
    return settings if store is None else msgspec.structs.replace(settings, redis_url=store.url)


def _journal(settings: Settings) -> str:
    slots = slot_folders(settings.data_dir / "journal")
    size = sum(file.stat().st_size for slot in slots for file in slot.glob("*.log"))
    return f"{len(slots)} slots of the journal, {size / 1024 / 1024:.1f} MiB,"


def _have_folder(folder: Path) -> None:
    """Make the data folder, or refuse in one line, because the person who starts the service can correct that now."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotServe(f"the data folder {folder} cannot be made: {error.strerror or error}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CannotServe(f"the data folder {folder} cannot be written; give it to the user that runs the service")


async def _look(settings: Settings) -> str:
    """Refuse a store that must not be counted in, before any worker starts, and warn about anything else that looks
    wrong. Return a description of the store, for the log."""
    if settings.durability == "os":
        complain("durability is os: a power cut may take hits that were acknowledged in the half minute before it")
    async with opened(settings.redis_url, wall_clock, START_SECONDS) as parts:
        try:
            with suppress(StoreUnavailable):  # the check below reports it
                await _upgrade(parts)
            for warning in await parts.fitness.check_start():
                complain(warning)
            if lost := await look_for_loss(parts.records, settings.data_dir, wall_clock()):
                complain(lost)
            server, sites = await parts.fitness.condition(), len(await parts.records.sites())
        except StoreUnavailable as error:
            complain(f"{error}; hits are journalled until it is back")
            return f"the store at {settings.redis_url_shown} is away"
        except OSError as error:
            complain(f"the loss of the store cannot be written down: {error}")
            return f"the store at {settings.redis_url_shown}"
    return f"{server.server} {server.version} at {settings.redis_url_shown} ({server.role}), {sites} sites"


async def _upgrade(parts: Parts) -> None:
    """Bring a store of an older schema forward, and show how far that is."""
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        shown = bar.add_task("", visible=False)

        def show(what: str, done: int, of: int) -> None:
            bar.update(shown, description=f"upgrading the store: {what}", completed=done, total=of, visible=True)

        if await upgrade_store(parts.client, wall_clock(), show):
            complain(f"the store was upgraded to schema {SCHEMA_NUMBER}")


async def _prepare_demo(settings: Settings, parts: Parts) -> str:
    """Make the site `demo`, once, with the views that the seed's article had, some days of readers, and a token for its
    pages, which is returned; empty when all of it is there already."""
    if "demo" in await parts.records.sites():
        return ""
    site = Site(id="demo", name="Cổng thông tin (minh họa)", hosts=("127.0.0.1", "localhost"), count_headless=True)
    now = wall_clock()
    moments = await live_through(parts.url, site, now, KeyRules(site, linear_pattern).key, random.Random())  # noqa: S311
    await Upkeep(parts.client).note_running(moments)
    await parts.records.put_site(site)
    seed = next(article for article in load_articles() if article.path == "")
    async with scribe(settings, parts) as recorder:
        baselines = Baselines(parts.records.changes, recorder, "demo")
        await baselines.set(None, {Entry("/demo", seed.title): SEED_VIEWS})
    return (await Access(parts.records, wall_clock).add("demo", "admin")).text


def _invite(address: str, token: str, traffic: bool, rate: float) -> None:
    console = Console()
    console.print(f"\n  The portal with its counter:  [bold link]{address}/demo/[/]")
    console.print(f"  A gallery of boxes:           {address}/demo/boxes/")
    console.print(f"  Its numbers:                  {address}/v1/sites/demo/stats")
    console.print(f"  The pages for editors:        {address}/admin/")
    if token:
        console.print(f"    their token, shown once:    {token}", highlight=False)
    else:
        console.print("    another token:              visitstats token add NAME --scope admin --data-dir DIR")
    console.print("  Ctrl-C ends it; the next run carries on with the same numbers.\n")
    if traffic:
        start_player(address, rate)
