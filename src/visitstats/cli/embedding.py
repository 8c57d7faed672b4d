"""visitstats site embed: prints the snippet for a portal's pages, from the table of boxes."""

from typing import Annotated

import typer

from visitstats.cli.session import ConfigOption, DataDirOption, RedisOption, find_site, with_store
from visitstats.core.box_words import WORDS
from visitstats.core.boxes import (
    DEFAULT_PRESET,
    FORMATS,
    LINES,
    PRESETS,
    STRUCTURES,
    THEMES,
    asked_box,
)
from visitstats.core.sites import Site
from visitstats.web.snippet import SERVICE, own_box, site_snippet

ApiOption = Annotated[str, typer.Option("--api", help="Address of the service: /vs, or https://counter.example.vn.")]
PresetOption = Annotated[str, typer.Option("--preset", help=f"The box: {', '.join(PRESETS)}.")]


def _text(flag: str, text: str) -> typer.models.OptionInfo:
    return typer.Option(flag, help=text, show_default=False)  # type: ignore[no-any-return]


ThemeOption = Annotated[
    str | None, _text("--theme", f"Its look: {', '.join(THEMES)}, or classes; empty: the page's own.")
]
LinesOption = Annotated[
    str | None, _text("--lines", f"Its lines, as online,today|total (| is a gap): {', '.join(LINES)}.")
]
LabelsOption = Annotated[str | None, _text("--labels", "Their labels, in the same order, as Đang online|Hôm nay.")]
TitleOption = Annotated[str | None, _text("--title", "Its title; empty: none.")]
FormatOption = Annotated[
    str | None, _text("--format", f"How numbers are written: {', '.join(FORMATS)}, or zeros as 00000000.")
]
StructureOption = Annotated[str | None, _text("--structure", f"Its elements: {', '.join(STRUCTURES)}.")]
LanguageOption = Annotated[str | None, _text("--lang", f"Its language: {', '.join(WORDS)}.")]


def site_embed(
    site_id: Annotated[str, typer.Argument(metavar="ID")],
    api: ApiOption = SERVICE,
    preset: PresetOption = DEFAULT_PRESET,
    theme: ThemeOption = None,
    lines: LinesOption = None,
    labels: LabelsOption = None,
    title: TitleOption = None,
    form: FormatOption = None,
    structure: StructureOption = None,
    lang: LanguageOption = None,
    short: Annotated[
        bool, typer.Option("--short", help="One line without inline code, which the page's load event waits for.")
    ] = False,
    config: ConfigOption = None, data_dir: DataDirOption = None, redis_url: RedisOption = None,
) -> None:  # fmt: skip
    """Print the snippet to paste into a portal's pages."""
    options = {
        "preset": preset,
        "theme": theme,
        "lines": lines,
        "labels": labels,
        "title": title,
        "format": form,
        "structure": structure,
        "lang": lang,
    }
    box = asked_box({name: text for name, text in options.items() if text is not None})
    site = with_store(config, data_dir, redis_url, lambda records, reads: find_site(records, site_id))
    print(site_snippet(site, api, box if lines is not None else own_box(site, box), preset, short=short))


def usual_snippet(site: Site) -> str:
    """Return the snippet of the usual box."""
    return site_snippet(site, SERVICE, own_box(site, PRESETS[DEFAULT_PRESET]))
