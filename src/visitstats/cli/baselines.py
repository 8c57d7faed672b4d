"""visitstats site set --baseline: the one number that most people have of an old counter."""

import secrets
import tempfile
from pathlib import Path

import msgspec

from visitstats.changes.recording import ChangeRefused, Order
from visitstats.cli.change_session import Bench, Session, how_to_undo
from visitstats.cli.session import dots
from visitstats.core.keys import KeyRules
from visitstats.imports.options import Options
from visitstats.imports.plan import plan_of
from visitstats.imports.reading import draft_of
from visitstats.system.patterns import linear_pattern


def set_baselines(session: Session, totals: dict[str, int], order: Order) -> None:
    """Set how many visits or views an older counter had of all time: an import of one number, in place of what was
    imported before. Raises ChangeRefused when imported history has more than that by date."""

    async def run(bench: Bench) -> None:
        for kind, total in totals.items():
            await _set(bench, kind, total, order)

    session.run(run, changes=True)


async def _set(bench: Bench, kind: str, total: int, order: Order) -> None:
    site = bench.site
    with tempfile.TemporaryDirectory(prefix="visitstats-baseline-") as folder:
        path = Path(folder) / f"--baseline {kind}"
        path.write_text(str(total), encoding="utf-8")
        options = Options(kind="number", counts="views" if kind == "views" else "visits")
        draft = draft_of([path], Path(folder) / "draft", site, KeyRules(site, linear_pattern), options)
        try:
            plan = await plan_of(draft, bench.changes, bench.desk.imports, bench.imports)
            grown = plan.site[kind]
            which = "= -1" if kind == "visits" else "<> -1"
            [(before,)] = draft.db.execute(f"SELECT ifnull(sum(n), 0) FROM earlier WHERE number {which}").fetchall()  # noqa: S608
            if before + grown.delta != total:
                raise ChangeRefused(
                    f"the imported history has {before + grown.delta} {kind} by date and article, more than {total}: "
                    f"undo an import first (visitstats audit {site.id} --kind import)"
                )
            if not grown.delta:
                print(f"The baseline is {dots(total)} {kind} already.")
                return
            # The same number may be set again later: it is another change.
            what = msgspec.structs.replace(plan.imported(), hash=secrets.token_hex(32))
            made = await bench.desk.imports.make(what, plan.parts(), order, "baseline")
        finally:
            draft.close()
    print(f"All {kind}: {dots(grown.now)} → {dots(grown.now + grown.delta)}, with a baseline of {dots(total)}.")
    how_to_undo(site.id, made)
