"""The snippet that a portal pastes into its pages (docs/embedding.md, "The snippet, in four forms")."""

import re
from collections.abc import Mapping
from html import escape

from visitstats.core.box_markup import attributes_of, snippet
from visitstats.core.boxes import DEFAULT_PRESET, BadBox, Box, for_site
from visitstats.core.sites import Site

SERVICE = "https://YOUR-COUNTER"
"""Placeholder for the service's address, which only the portal's owner knows."""

# The script must not hold up the page's load event, however long the service takes. A preload does not; the script is
# inserted when that is here, or when the page is loaded: once, and without a word where Trusted Types forbid it. An
# element of the page may be called "head" or "body", and hide what the document has under that name.
_LOADER = (
    "!function(w,d,u){function e(n){return d.createElement(n)}"
    "function g(){var a=u,s=e('script');u=0;if(a)try{s.async=1;s.src=a;h.appendChild(s)}catch(x){}}"
    "var h=d.documentElement,l=e('link');l.rel='preload';l.as='script';l.href=u;l.onload=g;h.appendChild(l);"
    "d.readyState=='complete'?g():w.addEventListener('load',g)}(window,document,'%s/widget.js')"
)
_ADDRESS = re.compile(r"(https?:/)?/[\w./:\[\]-]*")


def long_form(site_id: str, attributes: Mapping[str, str] | None = None, service: str = SERVICE) -> str:
    """Return the snippet that does not delay the page. `attributes` are those of docs/embedding.md without "data-";
    raises ValueError for an address of the service that cannot stand in a script."""
    if not _ADDRESS.fullmatch(service):
        raise ValueError(f"{service!r} is no address such as https://counter.example.vn or /vs")
    service = service.rstrip("/")
    given = {"api": service, "site": site_id, **(attributes or {})}
    said = "".join(f' data-{name}="{escape(value)}"' for name, value in given.items())
    return f"<script data-visitstats{said}>\n{_LOADER % service}\n</script>"


def site_snippet(site: Site, api: str, box: Box, preset: str = DEFAULT_PRESET, *, short: bool = False) -> str:
    """Return the snippet of a box of a site. `api` is the address of the service; `short` asks for the form without
    inline code. Raises BadBox for an address that is none."""
    api = api.rstrip("/")
    try:
        script = long_form(site.id, attributes_of(box), api)
    except ValueError as error:
        raise BadBox(str(error)) from error
    return snippet(site.id, api, box, preset=preset, script="" if short else script)


def own_box(site: Site, box: Box) -> Box:
    """Return a preset with the line of search engines, where the site shows it."""
    return for_site(box, search_engines=site.show_search_engines, add=True)
