"""The options of `visitstats site add` and `site set`: one for each field of a site's record."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from visitstats.core.errors import InvalidSite
from visitstats.core.hosts import meant_host
from visitstats.core.presets import PRESETS
from visitstats.core.site_fields import hosts_meant, tidied

Command = TypeVar("Command", bound=Callable[..., None])

ARROW = " => "
"""Between the pattern and the template of a rewrite rule."""


def _text(flag: str, text: str, default: str | None = None) -> Any:
    return Annotated[str | None, typer.Option(flag, help=text, show_default=default or False)]


def _number(flag: str, text: str, default: str) -> Any:
    return Annotated[int | None, typer.Option(flag, help=text, show_default=default)]


def _list(flag: str, text: str) -> Any:
    return Annotated[list[str] | None, typer.Option(flag, help=f"{text}; repeat it for each.", show_default=False)]


def _switch(flags: str, text: str) -> Any:
    return Annotated[bool | None, typer.Option(flags, help=text, show_default=False)]


OPTIONS: dict[str, Any] = {
    "hosts": _list("--host", "A host of the portal, or *.example.vn for it and all below it"),
    "name": _text("--name", "Its name, for people."),
    "timezone": _text("--timezone", "Time zone of its days.", "Asia/Ho_Chi_Minh"),
    "week_start": _number("--week-start", "First day of the week: 1 Monday … 7 Sunday.", "1"),
    "box": _text("--box", "What the box counts: visits or views.", "visits"),
    "views": _text("--views", "A view counts: per-visit or every-load.", "per-visit"),
    "preset": _list("--preset", f"Rules for the addresses of a system ({', '.join(PRESETS)})"),
    "rules": _list("--rule", f"Rewrite rule for addresses, 'PATTERN{ARROW}TEMPLATE'"),
    "id_params": _list("--id-param", "Query parameter that names an article"),
    "extra_drop_params": _list("--drop-param", "Query parameter to leave out of keys"),
    "ignore_case": _switch("--ignore-case/--keep-case", "Whether case makes no difference in addresses."),
    "hash_routes": _switch("--hash-routes/--no-hash-routes", "Whether #/… in an address is a page of its own."),
    "use_canonical": _switch("--use-canonical/--no-canonical", "Whether a canonical link names the article."),
    "missing_origin": _text("--missing-origin", "Beacons without an Origin: allow or refuse.", "allow"),
    "null_origin": _text("--null-origin", "Beacons with Origin: null: allow or refuse.", "refuse"),
    "shared_hosts": _switch("--shared-hosts/--own-hosts", "Whether its hosts may belong to other sites too."),
    "signatures": _text("--signatures", "Signed articles: off, prefer or require.", "off"),
    "archived": _switch("--archive/--no-archive", "Whether nothing is counted any more; numbers are still shown."),
    "max_articles": _number("--max-articles", "Articles beyond it count as (other).", "300000"),
    "new_articles_per_minute": _number(
        "--new-articles", "New articles in a minute; what is beyond counts as (other).", "60000"
    ),
    "office_networks": _list("--office", "A network that is not limited, as 10.20.0.0/16 or 203.0.113.7"),
    "excluded_networks": _list("--exclude-network", "A network whose visits do not count, as 10.20.0.0/16"),
    "excluded_paths": _list("--exclude-path", "Pages that do not count, as /admin/* or /*?preview=true"),
    "visitors_per_network": _number(
        "--visitors-per-network", "Visitors of one network (/24, /48) in half an hour; 0: no limit.", "2000"
    ),
    "max_visitors": _number("--max-visitors", "Visitors of a day that are told apart.", "1000000"),
    "show_search_engines": _switch(
        "--show-search-engines/--hide-search-engines", "Whether the box says how many pages search engines read today."
    ),
    "publish_top": _switch(
        "--publish-top/--hide-top", "Whether everybody may read the list of the most read articles (Xem nhiều)."
    ),
    "count_headless": _switch("--count-headless/--no-headless", "Whether headless browsers count as readers."),
}
"""The options, by the names of the fields."""


def with_site_options(command: Command) -> Command:
    """Give a command all of OPTIONS, each None unless it is given, in the place of its `**given`."""
    own = list(inspect.signature(command).parameters.values())
    options = [
        inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for field, option in OPTIONS.items()
    ]
    before = [each for each in own if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    after = [each for each in own if each.kind is inspect.Parameter.KEYWORD_ONLY]
    signature = inspect.Signature([*before, *options, *after])
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command


def fields(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a site's record that these options set. An empty text empties a list."""
    made = {field: value for field, value in given.items() if value is not None and value != []}
    for field, value in made.items():
        if isinstance(value, list):
            made[field] = tuple(text for text in value if text)
    if "rules" in made:
        made["rules"] = tuple(_rule(number, text) for number, text in enumerate(made["rules"], 1))
    for text in made.get("hosts", ()):
        _tell(text)
    return tidied(made)


def folded(hosts: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return hosts in their one spelling, each once, and tell about those that were pasted as addresses. Raises
    HitRejected "host"."""
    for text in hosts:
        _tell(text)
    return hosts_meant(hosts)


def _tell(host: str) -> None:
    if "/" in host:
        print(f"{host} is read as the host {meant_host(host)}.")


def shown(value: object) -> str:
    """Write the value of a field for people."""
    if not isinstance(value, tuple):
        return str(value)
    if any(isinstance(each, tuple) for each in value):
        return "\n".join(ARROW.join(each) for each in value)
    return " ".join(value)


def _rule(number: int, text: str) -> tuple[str, str]:
    pattern, arrow, template = text.rpartition(ARROW)
    if not arrow:
        raise InvalidSite(f"rule {number}: write it as 'PATTERN{ARROW}TEMPLATE', not {text[:60]!r}")
    return pattern.strip(), template.strip()
