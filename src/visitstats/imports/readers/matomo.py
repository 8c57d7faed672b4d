"""Matomo: pages (Actions.getPageUrls) with `nb_hits` as views, by day if the export is by day; and VisitsSummary."""

from visitstats.imports.draft import Draft
from visitstats.imports.numbers import Dates, whole
from visitstats.imports.places import ImportRefused
from visitstats.imports.readers.heads import Head, head_of
from visitstats.imports.sheets import Sheet, fold
from visitstats.imports.source import Source

KIND = "matomo"
LABELS = tuple(fold(name) for name in ("label", "Page URL", "Nhãn", "URL trang", "Libellé"))
HITS = tuple(
    fold(name) for name in ("nb_hits", "Pageviews", "Page views", "Hits", "Lượt xem trang", "Số lần xem trang")
)
VISITS = tuple(
    fold(name) for name in ("nb_visits", "Unique Pageviews", "Visits", "Lượt truy cập", "Lượt xem trang duy nhất")
)
ADDRESSES = tuple(fold(name) for name in ("metadata_url", "Metadata: url", "url"))
DATES = tuple(fold(name) for name in ("date", "Ngày"))
_OTHERS = frozenset(fold(name) for name in ("Others", "Khác", "Other", "Autres"))
_GUARDED = ("'=", "'+", "'-", "'@")


def _pick(head: Head, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in head.columns), "")


def _pages(sheet: Sheet) -> Head | None:
    for label in LABELS:
        for hits in HITS:
            if head := head_of(sheet, label, hits):
                return head
    return None


def _summary(sheet: Sheet) -> Head | None:
    head = head_of(sheet, "nb visits", "date")
    return head if head and not _pick(head, LABELS) else None


def knows(source: Source) -> int:
    """Return how sure the reader is that the files are of its source, from 0 to 100."""
    for sheet in source.sheets:
        head = _pages(sheet)
        if head and ("nb hits" in head.columns or "metadata url" in head.columns):
            return 92
        if _summary(sheet):
            return 88
    return 0


def read(source: Source, draft: Draft) -> None:
    """Add the numbers of the files to the draft."""
    summaries = [head for sheet in source.sheets if (head := _summary(sheet))]
    pages = [head for sheet in source.sheets if (head := _pages(sheet))]
    if not pages and not summaries:
        raise ImportRefused(source.items[0].place, "the columns label and nb_hits are expected")
    has_views = any("nb actions" in head.columns or _pick(head, HITS) for head in summaries)
    for head in summaries:
        _read_summary(head, draft)
    for head in pages:
        _read_pages(head, draft, with_days=not has_views)
    if pages and not summaries:
        draft.warn("no-visits", "nb_visits of pages do not add up to visits of the site")


def _read_summary(head: Head, draft: Draft) -> None:
    dates = Dates("ymd")
    views = _pick(head, HITS)
    for row in head.rows():
        period = dates.period(head.cell(row, "date"), place := head.place(row, "date"))
        visits = whole(head.cell(row, "nb visits"), place) or 0
        if draft.is_repeated(place, f"site\0{period}", visits, period):
            continue
        draft.add_period("visits", period, visits)
        draft.read["visits"] += visits
        if views:
            draft.add_period("views", period, whole(head.cell(row, views), place) or 0)
    draft.sums |= {"visits", "views"} if views else {"visits"}


def _read_pages(head: Head, draft: Draft, *, with_days: bool) -> None:
    label, hits, address, date = (_pick(head, names) for names in (LABELS, HITS, ADDRESSES, DATES))
    dates = Dates("ymd")
    others = 0
    for row in head.rows():
        name = head.text(row, label)
        name = name[1:] if name.startswith(_GUARDED) else name
        count = whole(head.cell(row, hits), place := head.place(row, hits)) or 0
        day = dates.day(head.cell(row, date), head.place(row, date)) if date else ""
        page = head.text(row, address) if address else ""
        if fold(name) in _OTHERS and not page:
            others += count
            draft.belongs_to_none(count)
            if day and with_days:
                draft.add_period("views", day, count)
            continue
        if not page and not name.startswith(("/", "http")):
            raise ImportRefused(place, "a folder, not a page: export with flat=1", name)
        if draft.is_repeated(place, f"{name}\0{page}\0{day}", count, f"{name[:60]} {day}".strip()):
            continue
        taken = draft.article_day(page or name, day, count, place) if day else draft.article(page or name, count, place)
        if taken is not None and day and with_days:
            draft.add_period("views", day, count)
    if with_days:
        draft.sums.add("views")
    if others:
        draft.warn("cut-list", f'{others} views of "Others" belong to no article; export again without the limit')
