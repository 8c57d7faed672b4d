"""The names that people give to columns: folded headings (no tone marks, no case) and their meanings."""

import re
from collections.abc import Sequence

from visitstats.imports.sheets import Cell, fold, text_of

_NAMES = {
    "views": """luot xem|so luot xem|tong luot xem|
        tong so luot xem|luot doc|so luot doc|luot truy cap bai|so lan xem|luot xem bai|luot xem tin|views|
        pageviews|page views|hits|view count|viewcount|view|luotxem|soluotxem|solanxem|newscount|hitstotal|luotdoc""",
    "visits": """luot truy cap|so luot truy cap|truy cap|so truy cap|tong luot truy cap|luot ghe tham|visits|sessions|
        tong so luot truy cap|sotruycap|luottruycap|soluottruycap|so luong truy cap|luot khach""",
    "date": """ngay|thoi gian|thang|nam|date|thoigian|month|year|day|ngay thang|thang nam|ngay truy cap|ngaytruycap|
        ky""",
    "published": """ngay dang|ngay xuat ban|ngay dang tin|ngay dang bai|published|ngaydang|publish date|ngayxuatban|
        thoi gian dang|created|ngay tao""",
    "address": """duong dan|dia chi|link|url|path|lien ket|duong link|address|dia chi url|link bai|link bai viet|
        dia chi bai viet|duongdan|page|encoded absolute url""",
    "title": """tieu de|ten bai|tin bai|title|tieude|ten bai viet|tieu de bai viet|tieu de tin|bai viet|ten tin bai|
        ten tin|tentin""",
    "author": "tac gia|nguoi dang|but danh|author|tacgia|nguoi viet|nguoidang|created by",
    "category": "chuyen muc|danh muc|category|chuyenmuc|danhmuc|loai tin",
    "id": "id|newsid|news id|item id|itemid|ma tin|ma bai|matin",
}
MEANINGS = {name.strip(): meaning for meaning, names in _NAMES.items() for name in names.split("|")}
TOTAL = re.compile(r"(?:cong|tong|tong cong|tong so|total|grand total|luy ke|ca nam|tong luot.*|"
                   r"cong (?:quy|thang|nam).*|tong (?:quy|thang|nam).*)")  # fmt: skip
_UNIT = re.compile(r"\s*[(\[].*?[)\]]")
# Headings that programs write; the separator of a text is chosen by them.
OTHERS = frozenset(
    """
    uri type date count id|c type|c val|c count|hitstotal|period|label|nb hits|nb visits|metadata url|hostname|
    page path and screen class|page path|active users|session|bot|firstvisit|event|meta key|meta value|post id|
    last visit|last counter|visit|value|category|time|guests|members|bots|tm|ip|classpk|viewcount|object pk|name|num|
    pageviews|visitors|website id|session id|created at|url path|catid|alias|publtime|x|y|1path|2path|total views
    """.replace("\n", " ").split("|")
)


def meaning(heading: str) -> str:
    """Return the meaning of a heading; "" when it is unknown."""
    folded = fold(heading)
    return MEANINGS.get(folded) or MEANINGS.get(fold(_UNIT.sub("", heading)), "")


def known(cells: Sequence[Cell]) -> int:
    """Return how many of the cells are headings that some reader knows."""
    return sum(1 for cell in cells if isinstance(cell, str) and (meaning(cell) or fold(cell).lstrip("# ") in _ALL))


_ALL = frozenset(each.strip() for each in OTHERS) | {"uri", "type", "count", "event", "path", "stt", "tt", "ghi chu"}


def is_total(cell: Cell) -> bool:
    """Return whether a row that begins with this cell is a sum of the rows above it."""
    return isinstance(cell, str) and TOTAL.fullmatch(fold(text_of(cell))) is not None
