"""Small counters: Moe-Counter, django-hitcount, and a file that holds one number."""

from collections.abc import Iterator

from visitstats.imports.draft import Draft
from visitstats.imports.numbers import whole
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers.heads import Head, first_head, head_of
from visitstats.imports.sheets import Row, text_of
from visitstats.imports.source import Source

MOE, HITCOUNT, NUMBER = "moe-counter", "django-hitcount", "number"


# Moe-Counter ---------------------------------------------------------------------------------------------------------


def _moe(source: Source) -> Head | None:
    for sheet in source.sheets:
        if sheet.form in ("sql", "database") and sheet.name != "tb_count":
            continue
        head = head_of(sheet, "name", "num")
        if head is not None and set(head.columns) <= {"id", "name", "num"}:
            return head
    return None


def knows_moe(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 85 if _moe(source) else 0


def read_moe(source: Source, draft: Draft) -> None:
    """Add one number for each name; the options say what each name stands for."""
    head = _moe(source)
    if head is None:
        raise ImportRefused(source.items[0].place, "the columns name and num are expected")
    said = dict(draft.options.names)
    for row in head.rows():
        name = head.text(row, "name")
        views = whole(head.cell(row, "num"), place := head.place(row, "num")) or 0
        if draft.is_repeated(place, name, views, name):
            continue
        address = said.get(name, name if name.startswith(("/", "http")) else "")
        if address == "site":
            draft.add_period("views", "", views)
            draft.belongs_to_none(views)
        elif address:
            draft.article(address, views, place)
        else:
            draft.leave_out("no-article", place, f"{name} (say --name {name}=/address, or {name}=site)", views)


# django-hitcount -----------------------------------------------------------------------------------------------------


def _hitcount(source: Source) -> Head | None:
    return first_head(source.sheets, "hits", "object pk", ending="hitcount_hit_count")


def knows_hitcount(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 88 if _hitcount(source) else 0


def read_hitcount(source: Source, draft: Draft) -> None:
    """Add the running totals. Single hits are purged after 30 days, and are never added to the totals."""
    head = _hitcount(source)
    if head is None:
        raise ImportRefused(source.items[0].place, "the columns hits and object_pk are expected")
    addresses = dict(draft.options.addresses)
    kinds = (head.text(row, "content type") or head.text(row, "content type id") for row in _totals(head))
    types = set(kinds)
    template = draft.options.url
    if len(types) > 1 and not addresses and template:
        draft.warn("content-types", f"objects of {len(types)} kinds ({', '.join(sorted(types))}) share their numbers")
    for row in _totals(head):
        number = head.text(row, "object pk")
        kind = head.text(row, "content type") or head.text(row, "content type id")
        views = whole(head.cell(row, "hits"), place := head.place(row, "hits")) or 0
        if draft.is_repeated(place, f"{kind}\0{number}", views, f"object {number}"):
            continue
        address = addresses.get(f"{kind}:{number}") or addresses.get(number) or ""
        if not address and template:
            address = template.replace("{object_pk}", number).replace("{id}", number).replace("{ID}", number)
        if address:
            draft.article(address, views, place)
        else:
            draft.leave_out("no-article", place, f"object {number} (bring addresses with --map FILE or --url)", views)
    if any(sheet.name.endswith("hitcount_hit") for sheet in source.sheets):
        draft.ignore("hitcount_hit", "single hits of the last days, which the totals have")


def _totals(head: Head) -> Iterator[Row]:
    """Yield the rows that are totals. Django's own export (`dumpdata`) also has rows of single hits."""
    for row in head.rows():
        if "model" not in head.columns or head.text(row, "model").lower().endswith("hitcount"):
            yield row


# One number ----------------------------------------------------------------------------------------------------------


def _number(source: Source) -> str | None:
    if len(source.sheets) != 1 or source.sheets[0].form != "text":
        return None
    filled = [row for row in source.sheets[0].first if any(row.cells)]
    if len(filled) != 1 or len(filled[0].cells) > 3:
        return None
    text = ",".join(text_of(cell) for cell in filled[0].cells)
    return text if text[:1].isdigit() or text[:1] == "-" else None


def knows_number(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    return 65 if _number(source) is not None else 0


def read_number(source: Source, draft: Draft) -> None:
    """Add the total of a counter that is one file (`SoTruyCap.txt`): visits, unless an option says otherwise."""
    place = source.sheets[0].place.at(1)
    n = whole(_number(source), place)
    if n is None:
        raise ImportRefused(place, "one whole number is expected")
    kind = draft.options.counts or "visits"
    draft.add_period(kind, "", n)
    if kind == "views":
        draft.belongs_to_none(n)
        return
    draft.read[kind] += n
    draft.rows["read"] += 1
    draft.rows["taken"] += 1
