"""What may be said about an import, beside its files."""

from typing import Literal

import msgspec

Strategy = Literal["replace", "add", "keep-larger"]
STRATEGIES: tuple[Strategy, ...] = ("replace", "add", "keep-larger")


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options of an import. All of them but `strategy` say how files are read, so they are a part of its id."""

    kind: str = ""
    """The source; empty to find it out."""
    timezone: str = ""
    """The zone of the old counter's days and moments, where it is not the site's."""
    encoding: str = ""
    sheet: str = ""
    """Name of the sheet to be read."""
    table: str = ""
    """Name of the table to be read, of a dump or database."""
    columns: tuple[str, ...] = ()
    """The names of the columns in their order, for files without a heading."""
    column: tuple[tuple[str, str], ...] = ()
    """What a column means, and its name: ("views", "LuotXem")."""
    modules: tuple[tuple[str, str], ...] = ()
    """NukeViet: the name of a module in addresses, and its table: ("tin-xa", "nv4_vi_tin_xa")."""
    url: str = ""
    """Template of an address, with names of columns: /DetailNews.aspx?NewsId={ID}."""
    addresses: tuple[tuple[str, str], ...] = ()
    """Id and address of articles (`--map FILE`)."""
    pages: tuple[str, ...] = ()
    """Addresses of the site, for counters that keep hashes alone."""
    prefix: str = "bsz"
    """busuanzi: what its keys begin with."""
    date_order: Literal["", "dmy", "mdy", "ymd"] = ""
    match: Literal["address", "title"] = "address"
    views: Literal["", "per-visit", "every-load"] = ""
    """Which views are taken where the source tells them apart; empty for those that the site counts."""
    counts: Literal["", "visits", "views"] = ""
    """What a bare number, or a name of Moe-Counter, stands for."""
    names: tuple[tuple[str, str], ...] = ()
    """Moe-Counter: a name, and an address or "site"."""
    first: str = ""
    """First date of the range of which the file is, where it does not say so."""
    last: str = ""
    through: str = ""
    """Last date to be taken; empty for the day before the first that was counted here."""
    repair_latin1: bool = False
    strategy: Strategy = "replace"

    def means(self, what: str) -> str:
        """Return the name of the column that stands for something; "" when it was not said."""
        return next((name for meaning, name in self.column if meaning == what), "")
