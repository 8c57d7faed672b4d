"""The words in the files of reports, in Vietnamese and English, as an office writes them."""

from collections.abc import Mapping
from datetime import date
from typing import Literal

from visitstats.core.periods import Calendar
from visitstats.core.ranges import Range
from visitstats.core.sites import Site

Language = Literal["vi", "en"]

WORDS: Mapping[str, tuple[str, str]] = {
    "summary": ("Báo cáo truy cập", "Visits"),
    "articles": ("Lượt xem bài viết", "Views of articles"),
    "authors": ("Lượt xem theo tác giả", "Views by author"),
    "categories": ("Lượt xem theo chuyên mục", "Views by category"),
    "royalties": ("Nhuận bút: bài đăng", "Royalties: articles published"),
    "sheet.summary": ("Tổng hợp", "Summary"),
    "sheet.days": ("Theo ngày", "By day"),
    "sheet.articles": ("Bài viết", "Articles"),
    "sheet.author": ("Tác giả", "Authors"),
    "sheet.category": ("Chuyên mục", "Categories"),
    "sheet.plot": ("Biểu đồ", "Plot"),
    "no": ("STT", "No."),
    "author": ("Tác giả", "Author"),
    "category": ("Chuyên mục", "Category"),
    "articles.n": ("Số bài", "Articles"),
    "views": ("Lượt xem", "Views"),
    "visits": ("Lượt truy cập", "Visits"),
    "uniques": ("Bạn đọc (ước tính, cộng theo ngày)", "Readers (estimated, sum of days)"),
    "ignored": ("Máy tìm kiếm, máy tự động và lượt không tính", "Bots and what else was not counted"),
    "best": ("Ngày cao nhất (lượt truy cập)", "Best day (visits)"),
    "peak": ("Cùng lúc đông nhất (người)", "Most online at once"),
    "share": ("Tỷ lệ", "Share"),
    "figure": ("Chỉ tiêu", "Figure"),
    "now": ("Trong kỳ", "In the period"),
    "whole": ("Các ngày trọn vẹn", "Days that are over"),
    "before": ("Kỳ trước", "Period before"),
    "year_ago": ("Cùng kỳ năm trước", "Same days a year before"),
    "change": ("Tăng, giảm", "Change"),
    "date": ("Ngày", "Date"),
    "sum": ("Tổng", "Sum"),
    "none.author": ("(không ghi tác giả)", "(no author)"),
    "none.category": ("(không ghi chuyên mục)", "(no category)"),
    "title": ("Tiêu đề", "Title"),
    "published": ("Ngày đăng", "Published"),
    "within": ("Lượt xem trong {n} ngày từ khi đăng", "Views within {n} days of publication"),
    "due": ("Lượt xem trong {n} ngày từ khi đăng, tính kỳ này", "Views within {n} days of publication, due now"),
    "royal": ("Cộng đến khi chốt", "In all, when closed"),
    "had": ("Đã tính ở kỳ trước", "Due before"),
    "until": ("Tính đến hết ngày", "Counted up to"),
    "over": ("Đã đủ ngày", "All days over"),
    "yes": ("có", "yes"),
    "not.yet": ("chưa", "not yet"),
    "no.date": ("không có ngày đăng", "no date"),
    "total": ("Từ trước đến nay", "Of all time"),
    "address": ("Địa chỉ", "Address"),
    "key": ("Khóa", "Key"),
    "open": (
        "Số liệu đến {at}, chưa chốt: có thể còn thay đổi.",
        "Figures of {at}, not closed: they may still change.",
    ),
    "closed": ("Đã chốt {at}, {who}, mã {code}.", "Closed {at}, {who}, code {code}."),
    "late": (
        "Gồm {visits} lượt truy cập, {views} lượt xem của kỳ {of} đến sau khi chốt kỳ ấy.",
        "With {visits} visits and {views} views of {of} that came after that was closed.",
    ),
    "royalties.closed": (
        "Lượt đến sau khi chốt tính vào kỳ chốt sau.",
        "What came after that is due in the month that is closed next.",
    ),
    "earlier": (
        "Gồm {n} lượt của bài đăng trước kỳ này, đến sau khi chốt kỳ trước.",
        "With {n} views of articles published before, which came after the month before was closed.",
    ),
    "compared": (
        "So sánh trên các ngày {whole}: kỳ trước {before}; cùng kỳ năm trước {year_ago}.",
        "Compared on {whole}: period before {before}; a year before {year_ago}.",
    ),
    "unknown": (
        "Không có số liệu {n} ngày ({days}): máy chủ ngừng hoặc chưa đếm.",
        "No figures of {n} days ({days}): the server was down, or did not count yet.",
    ),
}


def word(name: str, language: Language) -> str:
    """Return a word."""
    return WORDS[name][language == "en"]


def day(text: str) -> str:
    """Write a date as 24/11/2026."""
    return f"{date.fromisoformat(text):%d/%m/%Y}"


def days(asked: Range | None) -> str:
    """Write the days of a range, such as 01/10/2026 – 31/10/2026."""
    if asked is None or asked.is_all:
        return "—"
    return day(asked.first) if asked.first == asked.last else f"{day(asked.first)} – {day(asked.last)}"


def period(asked: Range, language: Language) -> str:
    """Write a period by its usual name, such as tháng 10/2026."""
    vi = language == "vi"
    if asked.is_all:
        return "từ trước đến nay" if vi else "of all time"
    year, month = asked.first[:4], int(asked.first[5:7])
    if asked.unit == "month":
        return f"tháng {month}/{year}" if vi else f"{date.fromisoformat(asked.first):%B %Y}"
    if asked.unit == "quarter":
        return f"quý {(month + 2) // 3}/{year}" if vi else f"quarter {(month + 2) // 3} of {year}"
    if asked.unit == "year":
        return f"năm {year}" if vi else year
    if asked.first == asked.last:
        return f"ngày {day(asked.first)}" if vi else day(asked.first)
    return f"từ {day(asked.first)} đến {day(asked.last)}" if vi else f"{day(asked.first)} to {day(asked.last)}"


def moment(site: Site, at_ms: int) -> str:
    """Write a moment as 24/11/2026 10:42, in the site's zone."""
    text = Calendar(site.timezone).iso(at_ms)
    return f"{day(text[:10])} {text[11:16]}"


def name_of(site: Site) -> str:
    """Return the name of a site and its host."""
    return " · ".join(filter(None, (site.name or site.id, site.main_host)))
