"""The gallery of boxes at `/demo/boxes/`: every preset and theme at three widths, on a light and on a dark ground, with
the snippet to copy.

The samples are rendered by the service as the widget builds them, with made-up numbers; a live box, a frame and a
picture of the demo's own numbers stand beside them.
"""

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template

import msgspec

from visitstats.core.box_markup import Shown, box_html, frame_query, snippet
from visitstats.core.boxes import LINES, PRESETS, THEMES, Box, Line, asked_box

GALLERY = "boxes/"
GALLERY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'"
)
WIDTHS = (160, 240, 320)
NUMBERS = {
    "online": 23, "search_engines": 7, "today": 412, "yesterday": 967, "week": 1379, "last_week": 6204, "month": 21904,
    "last_month": 27450, "year": 301877, "total": 1524318, "average": 904, "record": 3120,
}  # fmt: skip
SAMPLE = Shown(NUMBERS, "2026-10-20")
STALE = Shown(NUMBERS, "2026-10-20", "08:15")
NOTHING = Shown({})

ABOUT = {
    "lao-cai": "mặc định: cổng huyện, xã",
    "nukeviet": "khối thống kê của NukeViet",
    "classic": "cổng SharePoint, ASP.NET",
    "classic-long": "cổng ASP.NET, có tuần trước và tháng trước",
    "footer-inline": "một dòng ở chân trang",
    "compact": "bốn ô",
    "digits": "bánh xe số; mỗi số vẫn là một đoạn chữ",
    "badge": "nhãn nhỏ",
}
THEME_ABOUT = {
    "plain": "theo kiểu chữ và màu của trang",
    "card": "khung bo góc, có biểu tượng",
    "government-blue": "tiêu đề nền xanh, vạch vàng",
    "government-red": "tiêu đề nền đỏ, vạch vàng",
    "underline": "gạch chân, màu xanh lá",
    "digits": "bánh xe số",
    "contrast": "tương phản cao",
    "dark": "nền tối",
    "dark-contrast": "nền tối, tương phản cao",
}

_HTML = "text/html; charset=utf-8"


def gallery_pages() -> dict[str, tuple[str, bytes]]:
    """Path below `/demo/` → (content type, body)."""
    content = files(__package__) / "content"
    pages = {
        f"{GALLERY}{name}": (kind, (content / name).read_bytes())
        for name, kind in (
            ("gallery.css", "text/css; charset=utf-8"),
            ("gallery.js", "text/javascript; charset=utf-8"),
        )
    }
    template = Template((content / "gallery.html").read_text("utf-8"))
    page = template.substitute(
        overview=_overview() + _overview(night=True),
        presets="\n".join(_preset(name, box) for name, box in PRESETS.items()),
        themes="\n".join(_theme(name) for name in THEMES),
        states="\n".join(_states()),
        live=_live(),
    )
    return {GALLERY: (_HTML, page.encode()), **pages}


def _overview(*, night: bool = False) -> str:
    made = []
    for name, box in PRESETS.items():
        shown = msgspec.structs.replace(box, theme=f"{box.theme} vs-dark") if night else box
        heading = f'<p class="name"><a href="#mau-{name}">{name}</a></p>'
        made.append(f'<div class="w190">{heading}{box_html(shown, SAMPLE, places=False)}</div>')
    return f'<div class="widths overview{" night" if night else ""}">{"".join(made)}</div>'


def _preset(name: str, box: Box) -> str:
    anchor = f"mau-{name}"
    code = snippet("portal", "/vs", box, preset=name)
    return _sample(anchor, name, ABOUT[name], _rows([(box, SAMPLE)]), code)


def _theme(name: str) -> str:
    base = "digits" if name == "digits" else "lao-cai"
    box = asked_box({"preset": base, "theme": name})
    own = "vs-dark" in box.looks
    rows = _row([(box, SAMPLE)], night=own) if own else _rows([(box, SAMPLE)])
    return _sample(f"kieu-{name}", name, THEME_ABOUT[name], rows, f'data-theme="{THEMES[name]}"')


def _states() -> Iterable[str]:
    usual, digits = PRESETS["lao-cai"], PRESETS["digits"]
    card = asked_box({"theme": "card"})
    every = msgspec.structs.replace(card, lines=tuple(Line(name) for name in LINES))
    arabic = Box(
        title="إحصاءات الزيارات",
        lines=(
            Line("online", "متصل الآن"),
            Line("today", "اليوم"),
            Line("week", "هذا الأسبوع"),
            Line("total", "المجموع"),
        ),
        theme="vs-portal vs-blue vs-icons",
        language="ar",
    )
    total = msgspec.structs.replace(digits, lines=digits.lines[:1])
    yield _sample("tat-ca", "mọi dòng", "mười hai dòng mà hộp có thể có", _rows([(every, SAMPLE)]))
    yield _sample("may-ngung", "máy chủ ngừng", "số cuối cùng, kèm giờ", _rows([(usual, STALE), (digits, STALE)]))
    yield _sample("chua-biet", "chưa có số", "không bao giờ là 0", _rows([(card, NOTHING), (digits, NOTHING)]))
    yield _sample(
        "so-lon",
        "số rất nhỏ, số rất lớn",
        "không chữ số nào bị cắt",
        _rows([(total, Shown({"total": 7})), (total, Shown({"total": 1234567890}))]),
    )
    for structure in ("dl", "table"):
        box = asked_box({"preset": "classic", "structure": structure})
        yield _sample(f"cau-truc-{structure}", structure, f"phần tử {structure} thay cho ul", _rows([(box, SAMPLE)]))
    for language in ("en", "fr", "zh", "th", "ru", "km", "lo"):
        box = asked_box({"lang": language})
        yield _sample(f"tieng-{language}", language, f'data-lang="{language}"', _row([(box, SAMPLE)]))
    yield _sample("phai-sang-trai", "từ phải sang trái", "nhãn riêng, tiếng Ả Rập", _row([(arabic, SAMPLE)]))
    for way in ("dot", "comma", "space", "none", "short", "00000000"):
        box = asked_box({"format": way})
        yield _sample(f"so-{way}", way, f'data-format="{way}"', _row([(box, SAMPLE)]))


def _live() -> str:
    root = "../../"
    box = PRESETS["classic"]
    query = escape(frame_query(box, "classic"))
    code = snippet("demo", f"{root.rstrip('/')}", box, preset="classic")
    # Three ways to the same numbers; the script counts this page, the others count nothing.
    lines = [line.replace(" async", " defer") for line in code.splitlines() if line.startswith("<script")]
    # One right behind the other: the widget would try to insert a second file that is not there yet, which this page's
    # policy refuses.
    script = "\n".join(sorted(lines, key=lambda line: "more.js" in line))
    return (
        f'<div class="widths"><div class="w240"><h3>script</h3>{script}</div>'
        f'<div class="w240"><h3>/box</h3><iframe src="{root}v1/sites/demo/box{query}" '
        'title="Thống kê truy cập, trong khung" width="240" height="300" frameborder="0"></iframe></div>'
        f'<div class="w240"><h3>box.svg</h3><img src="{root}v1/sites/demo/box.svg{query}" '
        'alt="Thống kê truy cập của cổng minh họa, dạng hình"></div></div>'
    )


def _rows(boxes: list[tuple[Box, Shown]]) -> str:
    return _row(boxes) + _row(boxes, night=True)


def _row(boxes: list[tuple[Box, Shown]], *, night: bool = False) -> str:
    made = []
    for box, shown in boxes:
        if night and "vs-dark" not in box.looks:
            box = msgspec.structs.replace(box, theme=f"{box.theme} vs-dark".strip())
        made += [f'<div class="w{width}">{box_html(box, shown, places=False)}</div>' for width in WIDTHS]
    return f'<div class="widths{" night" if night else ""}">{"".join(made)}</div>'


def _sample(anchor: str, name: str, about: str, rows: str, code: str = "") -> str:
    copied = (
        f'<div class="code"><button type="button" data-copy="{anchor}-ma">Chép đoạn mã</button>'
        f'<pre id="{anchor}-ma" tabindex="0" role="group" aria-label="Đoạn mã {escape(name)}">'
        f"{escape(code)}</pre></div>"
        if code
        else ""
    )
    heading = f"<h3>{escape(name)} <small>{escape(about)}</small></h3>"
    return f'<section class="sample" id="{anchor}">{heading}{rows}{copied}</section>'
