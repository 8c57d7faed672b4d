"""visitstats backup, visitstats backup check, visitstats restore."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from visitstats.backup.checking import check_backup
from visitstats.backup.manifest import Backup, backups_in, open_backup
from visitstats.backup.restoring import Plan, Restored, check_stopped, plan_restore, restore
from visitstats.backup.state import State, note_state
from visitstats.backup.taking import make_backup
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, dots, settings_of, store_url
from visitstats.core.errors import VisitstatsError
from visitstats.journal.folder import FILE as SCHEMA_FILE
from visitstats.journal.log import Limits
from visitstats.settings import Settings
from visitstats.store.fitness import opened
from visitstats.system.clock import wall_clock

app = typer.Typer(help="Make a backup, and try one.", invoke_without_command=True)

POLITE = 10
"""How much the niceness of a backup is raised, so that hits come first."""


class NothingFound(VisitstatsError):
    """There is no backup where one was looked for."""


class NotAccessible(VisitstatsError):
    """An error of the disk, or a missing right of this user, prevents a check or a restore."""


@app.callback()
def backup(
    context: typer.Context,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the backup (else the setting backup_dir).", show_default=False)
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="How many backups are kept there (else backup_keep).", min=1, show_default=False)
    ] = None,
    read: Annotated[
        bool, typer.Option("--read", help="Read the store site by site, without asking it for a snapshot.")
    ] = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make a backup beside a running service: the store with sites and tokens, the journal, and all other files that
    are not derived."""
    if context.invoked_subcommand:
        return
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url, backup_dir=to, backup_keep=keep)
    os.nice(POLITE)
    with _silent(), store_url(settings) as url, _Bar() as bar:
        made = make_backup(
            url, settings.data_dir, _target(settings), settings.backup_keep, wall_clock, bar.show, snapshots=not read
        )
    manifest = made.backup.manifest
    print(
        f"{made.backup.folder}: {dots(manifest.bytes)} bytes, {len(manifest.sites)} sites, all that was acknowledged "
        f"before {_moment(manifest.journal_ms)}"
    )
    for note in manifest.notes:
        print(f"Note: {note}")
    for path in made.gone:
        print(f"Deleted: {path.name}")


@app.command()
def check(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The backup (else the newest one).", show_default=False)
    ] = None,
    config: ConfigOption = None, data_dir: DataDirOption = None,
) -> None:  # fmt: skip
    """Restore a backup into a throw-away store, replay, verify, and compare each site with what was backed up."""
    settings = settings_of(config, data_dir=data_dir)
    folder = folder or _newest(settings)
    with _in_one_line(), _silent(), _Bar() as bar:
        found = check_backup(folder.absolute(), wall_clock, bar.show)
    for row in found.sites:
        more = row.replayed.hits - row.backup.hits
        print(
            f"{row.site}: {dots(row.backup.visits)} visits, {dots(row.backup.views)} views, "
            f"{dots(row.backup.articles)} articles"
            + (
                f"; with {dots(more)} hits of its journal {dots(row.replayed.visits)} and {dots(row.replayed.views)}"
                if more
                else ""
            )
        )
    for problem in found.problems:
        print(f"WRONG: {': '.join(filter(None, (problem.site, problem.check, problem.subject)))}: {problem.detail}")
    if not found.right:
        raise typer.Exit(1)
    print(f"{folder}: nothing is wrong. {_what(found.backup)}")
    with _in_one_line():
        if (settings.data_dir / SCHEMA_FILE).exists():
            note_state(settings.data_dir, State(verified_ms=wall_clock()))


def restore_backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The backup.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Restore a backup into an empty store, then replay what the journal of the data folder still has."""
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    with _in_one_line(), _silent():
        found = open_backup(folder.absolute(), wall_clock())
        check_stopped(settings.data_dir)
    with _in_one_line(), _silent(), store_url(settings) as url:
        done = asyncio.run(_restore(found, settings, url, yes))
    if done is None:
        raise typer.Exit(1)
    for site, totals in sorted(done.totals.items()):
        replayed = done.replayed.hits[site]
        print(
            f"{site}: {dots(totals.visits)} visits, {dots(totals.views)} views, {dots(totals.articles)} articles"
            + (f"; {dots(replayed)} hits came from the journal" if replayed else "")
        )
    for site, hits in sorted(done.lost.items()):
        print(f"Note: {site}: {dots(hits)} hits are neither in the backup nor in the journal any more")
    print(f"The numbers go up to {_moment(done.until_ms)}. Start the service.")


async def _restore(found: Backup, settings: Settings, url: str, yes: bool) -> Restored | None:
    async with opened(url, wall_clock) as parts:
        plan = await plan_restore(found, settings.data_dir, parts)
        _tell(plan, settings)
        if not yes and not await asyncio.to_thread(typer.confirm, "Restore it?"):
            return None
        limits = Limits.of(settings.journal_max_mb, settings.journal_keep_hours)
        with _Bar() as bar:
            return await restore(plan, settings.data_dir, parts, limits, wall_clock, bar.show)


def _tell(plan: Plan, settings: Settings) -> None:
    print(f"The backup {plan.backup.folder.name}. {_what(plan.backup)}")
    where = settings.redis_url_shown or f"the embedded store of {settings.data_dir}"
    print(
        f"It is restored into {where}" + (", where that was broken off before." if plan.again else ", which is empty.")
    )
    if plan.files:
        print(f"{len(plan.files)} files are put back into {settings.data_dir}; none that is there is changed.")
    if plan.own_journal:
        print("Then its journal is replayed, up to the last hit that was acknowledged.")
    else:
        print("It has no journal of its own: what was acknowledged after the backup is not known here.")


def _what(backup: Backup) -> str:
    manifest = backup.manifest
    text = f"It has all that was acknowledged before {_moment(manifest.journal_ms)}, on {manifest.host}."
    if not backup.has_recent:
        text = (
            f"It has all that was counted before {_moment(manifest.begun_ms)}. It is older than two days: the journal, "
            "and what tells who was here, were deleted from it."
        )
    return " ".join([text, *(f"Note: {note}." for note in manifest.notes)])


def _target(settings: Settings) -> Path:
    return settings.backup_dir or settings.data_dir / "backups"


def _newest(settings: Settings) -> Path:
    found = backups_in(_target(settings))
    if not found:
        raise NothingFound(f"there is no backup in {_target(settings)}; name one")
    return found[-1]


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().isoformat(sep=" ", timespec="seconds")


class _Bar:
    """A progress bar for each step, on a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn(),
            console=Console(stderr=True), disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Show how far a step is."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=None)
        self._progress.update(self._tasks[what], completed=done, total=total or None)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotAccessible(f"{error.filename or 'the disk'}: {error.strerror or error}") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the log's warnings about single records off the terminal; the result has what matters."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
