"""visitstats site export, import, merge, rename, remove, restore: sites as wholes."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from visitstats.cli.change_session import DryRunOption, SiteArgument, WhoOption, WhyOption, ordered
from visitstats.cli.confirming import check_can_ask, confirm
from visitstats.cli.moving import Move, archive, check_free, export_to, exported, room, show
from visitstats.cli.session import (
    ConfigOption,
    DataDirOption,
    RedisOption,
    complain,
    dots,
    find_site,
    settings_of,
    with_parts,
    with_store,
)
from visitstats.cli.site_options import folded
from visitstats.core.errors import InvalidSite, VisitstatsError
from visitstats.core.sites import Site
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused, Place
from visitstats.imports.readers import heading_words
from visitstats.imports.site_file import Head, head_of
from visitstats.imports.source import Source
from visitstats.store.fitness import Parts
from visitstats.store.reads import Reads
from visitstats.store.records import Records
from visitstats.store.removals import KEPT_MS
from visitstats.system.clock import wall_clock


class NotWritten(VisitstatsError):
    """A file that could not be written."""


YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def site_export(
    site_id: SiteArgument,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to write it; - for stdout.", show_default="SITE.jsonl")
    ] = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Write a whole site into a file: settings, history, articles with their days, changes."""
    name = out or f"{site_id}.jsonl"

    async def run(parts: Parts) -> str:
        site = await find_site(parts.records, site_id)
        with room() as folder, _written(name) as write:
            made = await export_to(parts, site, folder, write)
        sums, lines = made.sums.sums, made.sums.lines
        return f"{dots(sums['visits'])} visits, {dots(sums['views'])} views, {dots(lines['articles'])} articles"

    said = with_parts(settings_of(config, data_dir=data_dir, redis_url=redis_url), run, claim=False)
    complain(f"wrote {'site ' + site_id if name == '-' else name}: {said}")


def site_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that site export has written.")],
    as_id: Annotated[str, typer.Option("--as", metavar="ID", help="Another id.", show_default="as it was")] = "",
    host: Annotated[
        list[str] | None, typer.Option("--host", help="Its hosts, instead of those in the file.", show_default=False)
    ] = None,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Make a site from a file of site export, with all of its numbers."""
    head = _head(file)
    settings = head.settings | ({"hosts": folded(host)} if host else {})
    site = _site(settings | {"id": as_id or head.site})

    async def run(parts: Parts) -> str:
        with room() as folder:
            return (await Move(parts, options, site, folder).make_new(file, ordered(who, why))).id

    options = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    change = with_parts(options, run)
    print(f"Site {site.id} is made, and its numbers are imported: change {change}.")
    print(f"Paste the snippet into its pages: visitstats site embed {site.id}.")
    print("Signing secrets and access tokens are not in the file: make new ones where they are used.")


def site_merge(
    source: Annotated[str, typer.Argument(metavar="FROM")],
    target: Annotated[str, typer.Argument(metavar="INTO")],
    move_hosts: Annotated[bool, typer.Option("--move-hosts", help="Also move the hosts of FROM to INTO.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Add the numbers of one site to another's, as one change, and archive the first."""
    if source == target:
        raise InvalidSite(f"site {source} cannot be merged into itself")
    check_can_ask(f"merge site {source} into {target}", yes=yes or dry_run)

    async def run(parts: Parts) -> str:
        one, other = await find_site(parts.records, source), await find_site(parts.records, target)
        with room() as folder:
            move = Move(parts, options, other, folder)
            if not dry_run:
                await move.catch_up()
            async with move.planned((await exported(parts, one, folder)).path, "add") as plan:
                before = await move.made_before(plan)
                if before is None and (earlier := await move.made_of(source)):
                    raise InvalidSite(
                        f"site {source} was merged before (change {earlier}), with other numbers: undo that first "
                        f"(visitstats undo {target} {earlier})"
                    )
                if before is None:
                    show(plan)
            if dry_run:
                return "It was merged before." if before else "Nothing was changed (--dry-run)."
            if before is None:
                confirm(source, f"merge site {source} into {target}", yes=yes)
            change = before[0].id if before else await _merged(parts, move, one, folder)
            if before:
                await move.go_on(change)
            if before and not one.archived:
                await parts.records.put_site(msgspec.structs.replace(one, archived=True))
            if move_hosts:
                hosts = tuple(dict.fromkeys((*other.hosts, *one.hosts)))
                await parts.records.put_site(msgspec.structs.replace(other, hosts=hosts))
        if before:
            return f"Site {source} was merged into {target} before (change {change}). That is not done again."
        return (
            f"Site {source} is merged into {target}, and archived: change {change}.\n"
            f"To take it back: visitstats undo {target} {change}; visitstats site set {source} --no-archive"
        )

    async def _merged(parts: Parts, move: Move, one: Site, folder: Path) -> str:
        await archive(parts, one, options.data_dir / "journal")
        try:
            async with move.planned((await exported(parts, one, folder)).path, "add") as plan:
                return (await move.make(plan, ordered(who, why))).id
        except BaseException:
            if not await move.made_of(source):
                await parts.records.put_site(one)
            raise

    options = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    print(with_parts(options, run))


def site_rename(
    old: Annotated[str, typer.Argument(metavar="OLD")],
    new: Annotated[str, typer.Argument(metavar="NEW")],
    who: WhoOption = None,
    why: WhyOption = "",
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Give a site another id: NEW is made like OLD, with its numbers, and OLD is archived."""

    async def run(parts: Parts) -> tuple[str, Site]:
        one = await find_site(parts.records, old)
        site = _site(msgspec.to_builtins(one) | {"id": new})
        there = (await parts.records.sites()).get(new)
        if there is not None and one.archived and msgspec.structs.replace(there, archived=True) == site:
            site = there  # what a rename has left that was killed, or has made
        else:
            await check_free(parts, new)
        with room() as folder:
            move = Move(parts, options, site, folder)
            if there is not None:
                await move.catch_up()
                if begun := await move.made_of(old):
                    await move.go_on(begun)
                    return begun, site
            await archive(parts, one, options.data_dir / "journal")
            try:
                made = await move.make_new((await exported(parts, one, folder)).path, ordered(who, why))
                return made.id, site
            except BaseException:
                if new not in await parts.records.sites():
                    await parts.records.put_site(one)
                raise

    options = settings_of(config, data_dir=data_dir, redis_url=redis_url)
    change, site = with_parts(options, run)
    if site.archived:
        print(f"Site {new} is archived, as {old} was: visitstats site set {new} --no-archive lets it count.")
    print(f"Site {old} is {new} from now on: change {change}. Site {old} is archived.")
    print(f"Pages that still name {old} are not counted: paste the snippet anew (visitstats site embed {new}).")
    print(f"Access tokens for {old} are not good for {new}: make new ones (visitstats token add).")


def site_remove(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    yes: YesOption = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Stop counting for a portal. Its counts are kept for 30 days, in which it can be brought back; then they are
    deleted."""

    async def known(records: Records, reads: Reads) -> Site:
        return await find_site(records, site_id)

    with_store(config, data_dir, redis_url, known)
    confirm(site_id, f"remove site {site_id}", yes=yes)
    now = wall_clock()
    with_store(config, data_dir, redis_url, lambda records, reads: records.remove_site(site_id, now))
    until = datetime.fromtimestamp((now + KEPT_MS) / 1000, UTC).astimezone().date()
    print(f"Site {site_id} is removed. Its counts are kept until {until.isoformat()}, and then deleted.")
    print(f"To go on with them: visitstats site restore {site_id}, or add the same id again.")


def site_restore(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Bring a removed site back, as it was and with its counts."""
    with_store(config, data_dir, redis_url, lambda records, reads: records.restore_site(site_id))
    print(f"Site {site_id} is back, with its counts.")


@contextmanager
def _written(name: str) -> Iterator[Callable[[bytes], object]]:
    """Write a file as a whole or not at all; - is stdout. Raises NotWritten."""
    if name == "-":
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    new = Path(f"{name}.new")
    try:
        with new.open("wb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        new.replace(name)
    except OSError as error:
        raise NotWritten(f"{name} cannot be written: {error.strerror or error}") from error
    finally:
        new.unlink(missing_ok=True)


def _head(file: Path) -> Head:
    source = Source([file], Options(), heading_words)
    if len(source.exports) != 1:
        raise ImportRefused(Place(file.name), "no export of a site; other files: visitstats import SITE FILE")
    return head_of(source.exports[0])


def _site(fields: dict[str, Any]) -> Site:
    try:
        return msgspec.convert(fields, Site)
    except msgspec.ValidationError as error:
        raise InvalidSite(f"site {str(fields['id'])[:70]}: {error}") from error
