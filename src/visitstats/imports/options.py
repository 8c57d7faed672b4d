"""The options of an import."""

from typing import Literal

import msgspec

Strategy = Literal["replace", "add", "keep-larger"]
STRATEGIES: tuple[Strategy, ...] = ("replace", "add", "keep-larger")


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options of an import. All but `strategy` say how files are read; these are part of the import's id."""

    kind: str = ""
    """The kind of source; empty to detect it."""
    timezone: str = ""
    """The time zone of the old counter's days and moments, if it differs from the site's."""
    encoding: str = ""
    sheet: str = ""
    """Name of the sheet to be read."""
    table: str = ""
    """Name of the table to be read in a dump or database."""
    columns: tuple[str, ...] = ()
    """The names of the columns in their order, for files without a heading."""
    column: tuple[tuple[str, str], ...] = ()
    """The meaning of a column, and its name: ("views", "LuotXem")."""
    modules: tuple[tuple[str, str], ...] = ()
    """NukeViet: the name of a module in addresses, and its table: ("tin-xa", "nv4_vi_tin_xa")."""
    url: str = ""
    """Template of an address, with names of columns: /DetailNews.aspx?NewsId={ID}."""
    addresses: tuple[tuple[str, str], ...] = ()
    """Id and address of articles (`--map FILE`)."""
    pages: tuple[str, ...] = ()
    """Addresses of the site, for counters that keep only hashes."""
    prefix: str = "bsz"
    """busuanzi: the prefix of its keys."""
    date_order: Literal["", "dmy", "mdy", "ymd"] = ""
    match: Literal["address", "title"] = "address"
    views: Literal["", "per-visit", "every-load"] = ""
    """The kind of views to take where the source has both; empty for the kind that the site counts."""
    counts: Literal["", "visits", "views"] = ""
    """The count that a single number, or a name of Moe-Counter, stands for."""
    names: tuple[tuple[str, str], ...] = ()
    """Moe-Counter: a name, and an address or "site"."""
    first: str = ""
    """First date of the range that the file covers, if the file does not state it."""
    last: str = ""
    through: str = ""
    """Last date to be taken; empty for the day before the first day that this service counted."""
    repair_latin1: bool = False
    strategy: Strategy = "replace"

    def means(self, what: str) -> str:
        """Return the name of the column with a meaning; "" when no option names it."""
        return next((name for meaning, name in self.column if meaning == what), "")
