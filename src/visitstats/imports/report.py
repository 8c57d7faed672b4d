"""The report of a plan for people: lines for a terminal, and CSV in which no cell is run as a formula."""

import csv
import io
import itertools
from collections.abc import Iterator
from typing import Any

from visitstats.imports.outcome import outcome
from visitstats.imports.plan import Plan
from visitstats.imports.sums import COUNTS, periods

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
LISTED = 200
"""The most rows of a list that a page shows; the CSV file has all rows."""
HEADING = ("what", "article", "title", "now", "in_file", "will_be", "reason", "file", "sheet", "line")


def dots(n: int | None) -> str:
    """Return a number as Vietnamese offices write it, such as 1.524; — for None."""
    return "—" if n is None else f"{n:,}".replace(",", ".")


def summary(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the lines of the summary, each as a label and a text."""
    draft = plan.draft
    yield "file", f"{', '.join(draft.files)}  (id {draft.hash[:16]})"
    yield "kind", draft.reader
    for name in draft.names:
        yield "read as", name
    if draft.range:
        yield "range", f"{draft.range[0]} to {draft.range[1]}"
    reasons = ", ".join(f"{dots(n)} {name}" for name, n in sorted(draft.rows.items()) if name != "read")
    yield "rows", f"{dots(draft.rows['read'])} = {reasons or 'none'}"
    for kind, numbers in draft.in_file.items():
        if numbers["read"]:
            yield (
                f"{kind} in the file",
                f"{dots(numbers['read'])} = {dots(numbers['taken'])} taken + {dots(numbers['left_out'])} left out",
            )
    for kind in COUNTS:
        found = periods(draft, kind)
        if dated := [f"{len(each)} {name}" for name, each in
                     (("years", found.years), ("months", found.months), ("days", found.days)) if each]:  # fmt: skip
            ends = sorted(found.days or found.months or found.years)
            rest = f"; {dots(found.undated['all'])} without a date" if found.undated.get("all") else ""
            yield f"{kind} by date", f"{', '.join(dated)} ({ends[0]} to {ends[-1]}){rest}"
    for kind, grown in plan.site.items():
        change = (
            f"{dots(grown.now)} → {dots(grown.now + grown.delta)}" if grown.delta else f"{dots(grown.now)}, unchanged"
        )
        yield f"site's {kind}", change
    if plan.articles:
        yield "articles", f"{dots(plan.articles)}: {dots(plan.changed)} change, {dots(plan.unknown)} are new here"
    for what, why in draft.ignored.items():
        yield "ignored", f"{what}: {dots(why) if isinstance(why, int) else why}"


def for_pages(plan: Plan) -> dict[str, Any]:
    """Return the data of the pages: the outcome without its articles, the site's future numbers, and the first rows of
    each list."""
    draft = plan.draft
    added = [
        [key, address, views]
        for key, addresses in itertools.islice(draft.added_up(), LISTED)
        for address, views in addresses
    ]
    left = [[line, reason, detail, n] for reason, _, n, detail, _, _, line in plan.left_out(LISTED)]
    changed, new = (
        [[each.facts.title or each.key, each.old, each.views, will_be] for each, will_be in found]
        for found in (plan.largest(LISTED), plan.new_here(LISTED))
    )
    whole = outcome(draft)
    return whole | {
        "warnings": whole["warnings"][:LISTED],
        "plan": {name: {"now": grown.now, "will_be": grown.now + grown.delta} for name, grown in plan.site.items()}
        | {"articles": plan.articles, "changed": plan.changed, "new": plan.unknown},
        "lists": {
            "changed": {"count": plan.changed, "rows": changed if plan.changed else []},
            "new": {"count": plan.unknown, "rows": new},
            "added": {"count": len(added), "rows": added},
            "left": {
                "count": sum(n for name, n in draft.rows.items() if name not in ("read", "taken", "repeated")),
                "rows": left,
            },
        },
    }


def rows(plan: Plan) -> Iterator[tuple[str | int | None, ...]]:
    """Yield every article, every row that was left out, and every warning."""
    for article, will_be in plan.all_articles():
        what = "new" if article.old is None else "change" if will_be != article.old else "same"
        yield what, article.key, article.facts.title, article.old, article.views, will_be, "", "", "", None
    for key, addresses in plan.draft.added_up():
        for address, views in addresses:
            yield "added-up", key, address, None, views, None, "", "", "", None
    for reason, kind, n, detail, file, sheet, line in plan.left_out(-1):
        yield "left-out", detail, "", None, n, None, f"{reason} ({kind})", file, sheet, line or None
    for text in plan.draft.warnings:
        word, _, detail = text.partition(": ")
        yield "warning", detail, "", None, None, None, word, "", "", None


def as_csv(plan: Plan, separator: str = ";") -> Iterator[str]:
    """Yield the rows as CSV with a heading, in pieces; the first begins with a byte order mark, for spreadsheets."""
    text = io.StringIO()
    write = csv.writer(text, delimiter=separator, lineterminator="\r\n")
    text.write("\ufeff")
    write.writerow(HEADING)
    for number, row in enumerate(rows(plan), 1):
        write.writerow(["" if cell is None else harmless(cell) for cell in row])
        if number % 1000 == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def harmless(cell: str | int) -> str | int:
    """Return a cell changed so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_BEGINS_A_FORMULA) else cell
