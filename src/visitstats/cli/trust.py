"""visitstats verify, visitstats doctor, visitstats journal …: can the numbers be trusted, now and tomorrow?"""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, complain, dots, settings_of, with_parts
from visitstats.core.errors import StoreUnavailable, VisitstatsError
from visitstats.core.sites import Site
from visitstats.ingest.once import replay_once
from visitstats.journal.log import Limits
from visitstats.reading.desk_process import updater_of
from visitstats.reading.index import open_index
from visitstats.settings import Settings
from visitstats.store.fitness import Condition, Parts
from visitstats.store.rights import Rights
from visitstats.system.clock import wall_clock
from visitstats.trust import doctor as checks
from visitstats.trust.outside import look
from visitstats.trust.store_checks import check_growth, check_keys, check_rights, check_store
from visitstats.trust.survey import Status, survey
from visitstats.trust.verify.listed import Listed
from visitstats.trust.verify.verifier import Report, Verifier

app = typer.Typer(help="The journal of this data folder.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def verify(
    site_id: Annotated[str, typer.Argument(metavar="[SITE]", show_default=False)] = "",
    json: JsonOption = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Check that all numbers agree: with each other, with the journal, with what every key must hold."""
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    console = Console(stderr=True)

    async def check(parts: Parts) -> Report:
        with console.status("…") as status, open_index(settings.data_dir) as index:
            verifier = Verifier(
                parts.inspector, parts.records, parts.reads, settings.data_dir / "journal", wall_clock,
                lambda what: status.update(f"reading: {escape(what)}"),
                Listed(index, updater_of(parts.client, index, wall_clock), parts.inspector),
            )  # fmt: skip
            return await verifier.run(site_id)

    with _silent():
        report = with_parts(settings, check, claim=False)
    if json:
        _print_json({"ok": report.right} | msgspec.structs.asdict(report))
    else:
        _print_report(report)
    if not report.right:
        raise typer.Exit(1)


def doctor(
    url: Annotated[
        str, typer.Option("--url", help="Check a counter from outside, at its address, as https://portal.example.vn/vs.")
    ] = "",
    site: Annotated[str, typer.Option("--site", help="With --url: one of its sites.")] = "",
    page: Annotated[str, typer.Option("--page", help="With --url: the path of a page that shows the box.")] = "/",
    json: JsonOption = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Check the store, the disk and the machine, and say what to change; or check a counter through its proxies."""
    if url:
        rows = list(look(url, site, time.time(), page))
    else:
        settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)
        machine = checks.Machine()
        rows = [
            *_store_rows(settings),
            *checks.check_folder(settings, machine),
            *checks.check_machine(settings, machine),
        ]
    failed = any(row.status == "fail" for row in rows)
    if json:
        _print_json({"ok": not failed, "checks": rows})
    else:
        _print_rows(rows)
    if failed:
        raise typer.Exit(1)


@app.command("status")
def journal_status(
    json: JsonOption = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Show what is in the journal, and which records are not in the store yet. A running service is not disturbed."""
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    root = settings.data_dir / "journal"

    async def look(parts: Parts) -> list[Status]:
        return await survey(root, parts.reads)

    with _silent():
        try:
            slots = with_parts(settings, look) if root.is_dir() else []
        except VisitstatsError as error:
            complain(f"{error}; what is not applied yet is not known")
            slots = asyncio.run(survey(root, None))
    if json:
        _print_json({"slots": slots})
    else:
        _print_slots(slots)


@app.command("replay")
def journal_replay(
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Apply the records of the journal that are not in the store, as a starting worker does. It also works on a folder
    that was copied from another host."""
    settings = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    root = settings.data_dir / "journal"
    if not root.is_dir():
        print(f"There is no journal in {settings.data_dir}.")
        return

    async def replay(parts: Parts) -> tuple[Counter[str], list[Status]]:
        await parts.fitness.check_start()
        before = await survey(root, parts.reads)
        total = sum(sum((slot.waiting or {}).values()) for slot in before)
        limits = Limits.of(settings.journal_max_mb, settings.journal_keep_hours)
        sites = await parts.records.sites()
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            bar = progress.add_task("applying", total=total)
            done = await replay_once(
                root, parts.url, parts.reads, sites, limits, wall_clock, lambda: progress.advance(bar)
            )
        return done.records, await survey(root, parts.reads)

    try:
        with _silent(logging.ERROR):
            applied, after = with_parts(settings, replay)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"the journal stays as it is: {error}") from error
    for site, records in sorted(applied.items()):
        print(f"{site}: {dots(records)} records applied")
    if not applied:
        print("Nothing was to be applied.")
    left = False
    for slot in after:
        for site, records in (slot.waiting or {}).items():
            left = True
            complain(f"slot {slot.slot:02d}: {dots(records)} records of site {site} were not taken by the store")
    if left:
        raise typer.Exit(1)


def _store_rows(settings: Settings) -> Iterator[checks.Row]:
    async def look(parts: Parts) -> tuple[Condition, Rights | None, list[Site], str]:
        condition, rights = await parts.fitness.condition(), await parts.fitness.rights()
        try:
            await parts.fitness.check_keys()
            return condition, rights, list((await parts.records.sites()).values()), ""
        except VisitstatsError as error:
            return condition, rights, [], str(error)

    if not settings.redis_url and not settings.data_dir.is_dir():
        return
    try:
        condition, rights, sites, trouble = with_parts(settings, look, claim=False)
    except VisitstatsError as error:
        where = settings.redis_url_shown or "the embedded store"
        yield checks.Row(
            "store", "fail", f"{where}: {error}", "start it, or correct redis_url; hits wait in the journal"
        )
        return
    yield from check_store(condition, embedded=not settings.redis_url)
    yield check_rights(rights)
    yield check_keys(trouble)
    if sites:
        yield check_growth(condition, sites)


# Printing -------------------------------------------------------------------------------------------------------------


def _print_json(value: Any) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _print_report(report: Report) -> None:
    console = Console()
    for site in report.sites:
        verdict = "all agrees" if not site.problems else f"{site.problems} problems"
        counts = f"{dots(site.visits)} visits, {dots(site.views)} views, {dots(site.articles)} articles"
        print(f"{site.site}: {counts}: {verdict}")
    for note in report.notes:
        print(f"Note: {note}")
    if report.problems and console.is_terminal:
        table = Table("site", "check", "where", "what is wrong")
        for problem in report.problems:
            table.add_row(*(escape(each) for each in (problem.site, problem.check, problem.subject, problem.detail)))
        console.print(table)
    elif report.problems:
        for problem in report.problems:
            place = ": ".join(filter(None, (problem.site, problem.check, problem.subject)))
            print(f"WRONG: {place}: {problem.detail}")
    print(
        f"{dots(report.keys)} keys and {dots(report.records)} journal records: "
        + ("nothing is wrong" if report.right else f"{dots(len(report.problems))} things are wrong")
    )


def _print_rows(rows: list[checks.Row]) -> None:
    console = Console()
    if not console.is_terminal:
        for row in rows:
            print(f"{row.status:4} {row.check}: {row.found}" + (f" -> {row.advice}" if row.advice else ""))
        return
    table = Table("", "check", "found", "what to change")
    for row in rows:
        table.add_row(f"[{COLOURS[row.status]}]{row.status}[/]", row.check, escape(row.found), escape(row.advice))
    console.print(table)


def _print_slots(slots: list[Status]) -> None:
    if not slots:
        print("There is nothing in the journal.")
        return
    console = Console()
    titles = ("slot", "writer", "state", "first", "last", "records", "bytes", "oldest", "not applied")
    rows = [
        (
            f"{slot.slot:02d}", slot.writer[:8] or "?", "in use" if slot.held else "free",
            str(slot.first) if slot.records else "", str(slot.last) if slot.records else "", dots(slot.records),
            dots(slot.bytes), _age(slot.since_ms), _waiting(slot),
        )
        for slot in slots
    ]  # fmt: skip
    if console.is_terminal:
        table = Table(*titles)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    else:
        for row in rows:
            print("  ".join(f"{title} {value}" for title, value in zip(titles, row, strict=True) if value))
    for slot in slots:
        for damage in slot.damage:
            print(f"slot {slot.slot:02d}: {damage}")
        for torn in slot.torn if not slot.held else ():
            print(f"slot {slot.slot:02d}: {torn}: what a crash leaves")


def _waiting(slot: Status) -> str:
    if slot.waiting is None:
        return "?"
    return ", ".join(f"{site} {dots(records)}" for site, records in slot.waiting.items()) or "nothing"


def _age(since_ms: int) -> str:
    if not since_ms:
        return ""
    hours = max(0.0, (wall_clock() - since_ms) / 3_600_000)
    when = datetime.fromtimestamp(since_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{when} ({hours:.1f} h ago)"


@contextmanager
def _silent(level: int = logging.CRITICAL) -> Iterator[None]:
    """Keep the log quiet, because the report has everything that it would say about the journal."""
    ours = logging.getLogger("visitstats")
    before = ours.level
    ours.setLevel(level)
    try:
        yield
    finally:
        ours.setLevel(before)
