"""visitstats tasks …: lists the scheduled tasks with their last runs, and runs one now."""

import socket
from datetime import datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visitstats.changes.prunes import Places
from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, scribe, settings_of, with_parts
from visitstats.core.sites import Site
from visitstats.imports.finishing import Finisher
from visitstats.reading.desk_process import made_of
from visitstats.reading.index import open_index
from visitstats.settings import Settings
from visitstats.sites.directory import LiveSite
from visitstats.store.closings import Closings
from visitstats.store.fitness import Parts
from visitstats.store.import_records import Imports
from visitstats.store.packing import Packer
from visitstats.store.runs import Run, Runs
from visitstats.store.upkeep import Upkeep
from visitstats.system.clock import wall_clock
from visitstats.tasks.closing import Closing
from visitstats.tasks.schedule import Tasks
from visitstats.tasks.table import Contradictions, shared
from visitstats.trust.verify.verifier import Verifier

app = typer.Typer(help="Scheduled tasks: how they went, and running one now.", no_args_is_help=True)


class Listed(msgspec.Struct):
    """A task with its last run, as JSON."""

    name: str
    what: str
    seconds: int
    last: Run | None


class _Sites:
    """The sites of the store, in the form that tasks take."""

    def __init__(self, sites: list[LiveSite]) -> None:
        self._sites = sites

    def all(self) -> list[LiveSite]:
        return self._sites


class _Desk:
    """Does in this process the work that a service leaves to other processes."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self._settings = settings
        self._parts = parts

    async def pack(self, site: Site) -> list[str]:
        return await Packer(self._parts.url, self._parts.client, wall_clock).packed_of(site)

    async def refresh(self, site: Site) -> None:
        with open_index(self._settings.data_dir) as index:
            await made_of(self._parts.client, index, wall_clock).refresh(site)

    async def places(self, site: Site) -> str:
        async with scribe(self._settings, self._parts) as recorder:
            return await Places(self._parts.records.changes, recorder, site, wall_clock).give_back_and_tell()

    async def verify(self) -> str:
        parts = self._parts
        root = self._settings.data_dir / "journal"
        report = await Verifier(parts.inspector, parts.records, parts.reads, root, wall_clock).run()
        if report.problems:
            raise Contradictions(f"{len(report.problems)} numbers do not agree; visitstats verify lists them")
        return "all numbers agree"


async def _tasks(settings: Settings, parts: Parts) -> Tasks:
    found = (await parts.records.sites()).values()
    sites = _Sites([LiveSite(site, await parts.records.changes.aliases(site.id)) for site in found])
    upkeep = Upkeep(parts.client)
    desk = _Desk(settings, parts)
    finisher = Finisher(
        parts.records.changes,
        Imports(parts.client),
        Closings(parts.client),
        lambda: scribe(settings, parts),
        wall_clock,
    )
    table = shared(
        Closing(upkeep, sites, wall_clock), sites, desk, desk.verify, desk.places, finisher,
        lambda: parts.records.forget_removed(wall_clock()),
    )  # fmt: skip
    return Tasks(table, upkeep, Runs(parts.client), socket.gethostname(), wall_clock)


@app.command("list")
def list_tasks(
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show the tasks that are done for all workers and hosts together, and how each went the last time."""

    async def read(parts: Parts) -> list[Listed]:
        runs = await Runs(parts.client).all()
        table = (await _tasks(settings, parts)).table
        return [Listed(task.name, task.what, task.seconds, runs.get(task.name)) for task in table]

    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    found = with_parts(settings, read, claim=False)
    if json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    table = Table("task", "what", "every", "last run", "result", "took", "by")
    for each in found:
        table.add_row(each.name, each.what, _span(each.seconds), *_told(each.last))
    Console().print(table)


@app.command("run")
def run_task(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    date: Annotated[str, typer.Option("--for", metavar="DATE", help="Do it for this day, as 2026-11-24.")] = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Run a task now. It may run beside the service: each recomputes what it writes."""

    async def run(parts: Parts) -> str:
        return await (await _tasks(settings, parts)).run(name, date)

    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    print(with_parts(settings, run) or "done")


def _told(run: Run | None) -> tuple[Any, ...]:
    if run is None:
        return "never", "", "", ""
    when = datetime.fromtimestamp(run.at_ms / 1000).astimezone().isoformat(" ", "seconds")
    result = f"[green]{escape(run.said or 'done')}[/]" if run.right else f"[red]failed: {escape(run.said)}[/]"
    return when, result, f"{run.seconds:.2f} s", escape(run.host)


def _span(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
