"""The pages for editors, as a table: the checks of look, access and words go over its rows. A further page is one more
row."""

from __future__ import annotations

from typing import NamedTuple


class Listed(NamedTuple):
    """A page."""

    name: str
    route: str
    """Its address behind `#/`."""
    ready: str
    """A selector of what is there when the page has its data."""


KEY = "/demo/tin-tuc/man-tam-hoa-bac-ha-vao-cuoi-vu-thu-hoach-c2508.html"
"""An article of the stand."""
PAGES = (
    Listed("signin", "", "#token"),
    Listed("portals", "portals", ".portals tbody tr:nth-child(3)"),
    Listed("why", "bac-ha/why", ".causes li"),
    Listed("settings", "bac-ha/settings", ".lines li"),
    Listed("overview", "bac-ha", ".ranks .rank:nth-child(5)"),
    Listed("articles", "bac-ha/articles?period=last-week", ".list tbody tr:nth-child(5)"),
    Listed("article", f"bac-ha/article?key={KEY}", ".plot rect.counted"),
    Listed("import", "bac-ha/import", "#file"),
    Listed("corrections", "bac-ha/corrections", "form.stack button.main"),
    Listed("audit", "bac-ha/audit", ".log tbody tr, .sheet .soft"),
    Listed("reports", "bac-ha/reports?period=last-month", ".report .rank:nth-child(3)"),
    Listed("tokens", "tokens", ".tokens tbody tr:nth-child(3)"),
    Listed("health", "health", ".parts dd"),
)
"""All pages; "signin" is what is seen without a token."""
BY_NAME = {listed.name: listed for listed in PAGES}
