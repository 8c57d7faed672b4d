"""How the numbers of a draft are related: totals, years, months and days of one source describe the same visits.

The source's own total is the baseline. Days are the dated part of it, and the rest is undated. A sum that is larger
than its total replaces the total, with a warning. Days that this service counted itself are never overwritten: from the
first of them on, days of the source are left out, and subtracted from their month, their year and the total.
"""

from typing import NamedTuple

from visitstats.imports.draft import Count, Draft

COUNTS: tuple[Count, ...] = ("visits", "views")


class Periods(NamedTuple):
    """The dated numbers of a count."""

    total: int | None
    """None where the source has no total, and its periods are not to be summed up."""
    years: dict[str, int]
    months: dict[str, int]
    days: dict[str, int]
    undated: dict[str, int]
    """The part of a period that is in none of its finer periods; that of the total is under "all"."""


def periods(draft: Draft, kind: Count) -> Periods:
    """Return the numbers of a count in the draft."""
    rows = dict(draft.db.execute("SELECT period, n FROM periods WHERE kind = ? ORDER BY period", (kind,)).fetchall())
    years, months, days = ({p: n for p, n in rows.items() if len(p) == size} for size in (4, 7, 10))
    undated: dict[str, int] = {}
    of_months: dict[str, int] = {}
    for day, n in days.items():
        of_months[day[:7]] = of_months.get(day[:7], 0) + n
    for month, n in of_months.items():
        if month in months:
            undated[month] = max(months[month] - n, 0)
    whole_months = of_months | {month: max(n, of_months.get(month, 0)) for month, n in months.items()}
    of_years: dict[str, int] = {}
    for month, n in whole_months.items():
        of_years[month[:4]] = of_years.get(month[:4], 0) + n
    for year, n in of_years.items():
        if year in years and years[year] > n:
            undated[year] = years[year] - n
    if draft.exact:
        # Nothing is adjusted: years already include their months, and the total may differ from their sum.
        return Periods(rows.get(""), years, months, days, {})
    dated = sum((of_years | {year: max(n, of_years.get(year, 0)) for year, n in years.items()}).values())
    total: int | None = rows.get("")
    if kind in draft.sums:
        articles = _of_articles(draft) + draft.extra["views"] if kind == "views" else 0
        total = (total or 0) + max(dated, articles)
        if kind in draft.stated:
            undated["all"] = 0
    elif total is not None and dated:
        undated["all"] = max(total - dated, 0)
        total = max(total, dated)
    return Periods(
        total, years, months, days, dict(sorted(undated.items(), key=lambda each: (each[0] != "all", each[0])))
    )


def _of_articles(draft: Draft) -> int:
    [(n,)] = draft.db.execute("SELECT ifnull(sum(views), 0) FROM articles").fetchall()
    return int(n)


def finish(draft: Draft, first_counted: str) -> None:
    """Complete a draft after everything was read: leave out days that were counted here, and warn of contradictions."""
    _complete_articles(draft)
    last = draft.options.through
    if first_counted and not last:
        _cut(draft, first_counted, inclusive=True)
    elif last:
        _cut(draft, last, inclusive=False)
    for kind in COUNTS if not draft.exact else ():
        _compare(draft, kind)
    for key, addresses in draft.added_up():
        draft.warn("added-up", f"{len(addresses)} addresses are {key}")
    order = {"added-up": 0}
    draft.warnings.sort(key=lambda text: order.get(text.partition(":")[0], 1))


def _complete_articles(draft: Draft) -> None:
    """Set the total of articles that have only days to the sum of these; raise a total that is less than this sum."""
    if draft.exact:
        draft.db.execute(
            "UPDATE articles SET views = (SELECT ifnull(sum(views), 0) FROM days WHERE days.number = articles.number) "
            "WHERE views IS NULL"
        )
        return
    for key, total, days in draft.db.execute(
        "SELECT key, views, (SELECT sum(views) FROM days WHERE days.number = articles.number) AS n FROM articles "
        "WHERE views IS NOT NULL AND n > views LIMIT 100"
    ).fetchall():
        draft.warn("total-raised", f"{key} has {total} views, its days have {days}")
        draft.read["views"] += days - total
    draft.db.execute(
        "UPDATE articles SET views = (SELECT sum(views) FROM days WHERE days.number = articles.number) "
        "WHERE number IN (SELECT number FROM days) AND ifnull(views, 0) < "
        "(SELECT sum(views) FROM days WHERE days.number = articles.number)"
    )


def _cut(draft: Draft, date: str, *, inclusive: bool) -> None:
    """Leave out the days from a date on (`inclusive`) or after it, and subtract them from months, years and totals."""
    sign = ">=" if inclusive else ">"
    db = draft.db
    for kind in COUNTS:
        gone = db.execute(
            f"SELECT period, n FROM periods WHERE kind = ? AND length(period) = 10 AND period {sign} ?",  # noqa: S608
            (kind, date),
        ).fetchall()
        # Months and years that begin after the date have no day before it.
        later = db.execute(
            "SELECT period, n FROM periods WHERE kind = ? AND length(period) IN (4, 7) "
            "AND period > substr(?, 1, length(period))",
            (kind, date),
        ).fetchall()
        n = sum(each for _, each in gone)
        for day, each in gone:
            for size in (7, 4):
                db.execute(
                    "UPDATE periods SET n = max(n - ?, 0) WHERE kind = ? AND period = ?", (each, kind, day[:size])
                )
        behind = [period for period, _ in later]
        extra = sum(each for period, each in later if not any(period != up and period.startswith(up) for up in behind)
                    and not any(day.startswith(period) for day, _ in gone))  # fmt: skip
        if kind not in draft.sums:
            db.execute("UPDATE periods SET n = max(n - ?, 0) WHERE kind = ? AND period = ''", (n + extra, kind))
        db.execute(f"DELETE FROM periods WHERE kind = ? AND length(period) = 10 AND period {sign} ?", (kind, date))  # noqa: S608
        db.executemany("DELETE FROM periods WHERE kind = ? AND period = ?", [(kind, period) for period in behind])
        if n or extra or behind:
            how = f"from {date} on" if inclusive else f"behind {date}"
            draft.warn("counted-here", f"{n + extra} {kind} of the days {how} are left out")
            draft.cut[kind] += n + extra
    cut = f"SELECT number, sum(views) AS n FROM days WHERE day {sign} ? GROUP BY number"  # noqa: S608
    [(n,)] = db.execute(f"SELECT ifnull(sum(n), 0) FROM ({cut})", (date,)).fetchall()  # noqa: S608
    if n:
        db.execute(
            f"UPDATE articles SET views = views - (SELECT n FROM ({cut}) AS gone WHERE gone.number = articles.number) "  # noqa: S608
            f"WHERE number IN (SELECT number FROM days WHERE day {sign} ?)",
            (date, date),
        )
        db.execute(f"DELETE FROM days WHERE day {sign} ?", (date,))  # noqa: S608
        draft.cut["articles"] += n


def _compare(draft: Draft, kind: Count) -> None:
    found = periods(draft, kind)
    [stated] = draft.db.execute("SELECT sum(n) FROM periods WHERE kind = ? AND period = ''", (kind,)).fetchone() or (
        None,
    )
    of_months: dict[str, int] = {}
    for day, n in found.days.items():
        of_months[day[:7]] = of_months.get(day[:7], 0) + n
    for month, n in found.months.items():
        if month in of_months and of_months[month] != n:
            draft.warn("period-differs", f"{month} has {n}, its days {of_months[month]}")
    of_years: dict[str, int] = {}
    for month, n in (of_months | found.months).items():
        of_years[month[:4]] = of_years.get(month[:4], 0) + n
    for year, n in found.years.items():
        months = [month for month in found.months if month.startswith(year)]
        if months and of_years.get(year, 0) > n:
            draft.warn("period-differs", f"{year} has {n}, its months {of_years[year]}")
    if kind in draft.sums or stated is None:
        return
    if rest := found.undated.get("all"):
        where = "year" if found.years else "month" if found.months else "day"
        draft.warn("undated", f"{rest} {kind} are in the total and in no {where}")
    if found.total is not None and found.total > stated:
        draft.warn("total-raised", f"the total is {stated}, the dates have {found.total}")
