"""Addresses, titles and authors of articles from WordPress' own tables, for the readers of its counters."""

import re
from typing import NamedTuple

from visitstats.imports.draft import Draft, Facts
from visitstats.imports.readers.heads import head_of
from visitstats.imports.sheets import Sheet
from visitstats.imports.source import Source

_PLAIN = re.compile(r"%(?:category|author)%")


class Post(NamedTuple):
    """A post of WordPress."""

    address: str
    facts: Facts


class Posts:
    """The posts of a dump; empty when the dump has no table of posts."""

    def __init__(self, source: Source, draft: Draft) -> None:
        self._posts: dict[str, Post] = {}
        self._map = dict(draft.options.addresses)
        users = _names(source.sheets, "users", "id", "display name")
        options = _names(source.sheets, "options", "option name", "option value")
        structure = options.get("permalink_structure", "")
        for sheet in source.sheets:
            head = head_of(sheet, "id", "post title", "post name", "post date") if _is(sheet, "posts") else None
            for row in head.rows() if head else ():
                if head is None or head.text(row, "post type") not in ("post", "page", ""):
                    continue
                number, name, when = head.text(row, "id"), head.text(row, "post name"), head.text(row, "post date")
                address = ""
                if structure and not _PLAIN.search(structure) and name and head.text(row, "post type") != "page":
                    address = _filled(structure, number, name, when)
                elif name and structure and head.text(row, "post type") == "page":
                    address = f"/{name}/"
                published = when.replace(" ", "T") if when[:4] not in ("0000", "") else ""
                self._posts[number] = Post(
                    address or f"/?p={number}",
                    Facts(head.text(row, "post title"), users.get(head.text(row, "post author"), ""), "", published),
                )
        if self._posts:
            draft.facts = ("title", "author", "published")
            if _PLAIN.search(structure):
                draft.warn("addresses", f"the addresses of this portal have {structure}, which the dump does not tell: "
                           "bring a list of addresses with --map FILE")  # fmt: skip

    def post(self, number: str) -> Post:
        """Return a post by its number."""
        found = self._posts.get(number, Post(f"/?p={number}", Facts()))
        return found._replace(address=self._map[number]) if number in self._map else found


def _is(sheet: Sheet, name: str) -> bool:
    return sheet.name == name or sheet.name.endswith(f"_{name}")


def _names(sheets: list[Sheet], table: str, key: str, value: str) -> dict[str, str]:
    for sheet in sheets:
        head = head_of(sheet, key, value) if _is(sheet, table) else None
        if head is not None:
            return {
                head.text(row, key): head.text(row, value) for row in head.rows() if len(head.text(row, value)) < 500
            }
    return {}


def _filled(structure: str, number: str, name: str, when: str) -> str:
    date = re.match(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)", when)
    parts = (
        dict(zip(("year", "monthnum", "day", "hour", "minute", "second"), date.groups(), strict=True)) if date else {}
    )
    parts |= {"post_id": number, "postname": name}
    return re.sub(r"%(\w+)%", lambda match: parts.get(match[1], match[0]), structure)
