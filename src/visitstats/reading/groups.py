"""Articles grouped by author or by category: the order of the groups in a list, and the sums of each group.

A group is an author or category exactly as it is written. Articles without one form a group too, which comes last.
"""

import sqlite3
from typing import Literal, NamedTuple, get_args

import msgspec

from visitstats.core.query import Query
from visitstats.reading.index import SITE_BITS, Known

Grouping = Literal["author", "category"]
GROUPINGS: tuple[str, ...] = get_args(Grouping)
_NUMBER = (1 << SITE_BITS) - 1


class Group(msgspec.Struct, frozen=True):
    """The sums of the articles of an author or a category, in the period that was asked for."""

    name: str
    """Empty for articles without one."""
    articles: int
    views: int


class Where(NamedTuple):
    """A condition in SQL, with its values."""

    text: str
    values: list[object]


def grouped(
    connection: sqlite3.Connection, known: Known, by: Grouping, query: Query, where: Where, sums: list[int] | None
) -> list[Group]:
    """Return the groups of the articles that a query selects, the group with the most views first. `sums` are the views
    by article number; None stands for the views of all time."""
    names = {number: text for number, _, text in _words(connection, known, by)}
    found: dict[str, tuple[int, int]] = {}
    for _, word, n in _selected(connection, by, query, where, sums):
        name = names.get(word, "")
        articles, views = found.get(name, (0, 0))
        found[name] = articles + 1, views + n
    groups = [Group(name, *counts) for name, counts in found.items()]
    return sorted(groups, key=lambda group: (-group.views, -group.articles, not group.name, group.name))


def in_groups(
    connection: sqlite3.Connection, known: Known, by: Grouping, query: Query, where: Where, sums: list[int] | None
) -> tuple[list[int], int]:
    """Return article numbers group by group, the most read first in each group, and the views of all articles."""
    words = sorted(_words(connection, known, by), key=lambda word: word[1:], reverse=query.descends)
    ranks = {number: place for place, (number, _, _) in enumerate(words)}
    rows = [(ranks.get(word, len(words)), -n, -number) for number, word, n in _selected(
        connection, by, query, where, sums)]  # fmt: skip
    rows.sort()
    return [-number for _, _, number in rows], -sum(n for _, n, _ in rows)


def _selected(
    connection: sqlite3.Connection, by: Grouping, query: Query, where: Where, sums: list[int] | None
) -> list[tuple[int, int, int]]:
    """Return number, word and views of each article that is selected."""
    rows = connection.execute(f"SELECT at, {by}, total FROM article WHERE {where.text}", where.values)  # noqa: S608
    least, found = query.least, []
    for at, word, total in rows:
        number = at & _NUMBER
        n = total if sums is None else sums[number]
        if n >= least:
            found.append((number, word or 0, n))
    return found


def _words(connection: sqlite3.Connection, known: Known, by: Grouping) -> list[tuple[int, str, str]]:
    return connection.execute(
        "SELECT id, folded, text FROM word WHERE sid = ? AND kind = ?", (known.sid, by)
    ).fetchall()
