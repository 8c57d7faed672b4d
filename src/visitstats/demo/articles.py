"""The articles of the demo portal: where each one stands, and its text as the package carries it.

Texts are plain files of one shape, that of `content/seed.txt` (a verbatim copy of the page that the project began
with, misprints included): the title, then blocks separated by blank lines, the last two being the author and the
agency. "Lượt xem: N" under the title is a number, not text, and whatever follows "Tin khác" is the page around it.
"""

from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import NamedTuple

VIEWS_LABEL = "Lượt xem:"
FURNITURE = "Tin khác"


class Picture(NamedTuple):
    """A picture under `anh/`, standing above the block that begins with `above`."""

    file: str
    alt: str
    above: str
    is_caption: bool = True
    """Whether that block is the picture's caption; else it is a paragraph."""


class Topic(NamedTuple):
    """A section of the list of news; `slug` is its anchor there."""

    slug: str
    name: str


POLITICS = Topic("thoi-su-chinh-tri", "Thời sự – Chính trị")
ECONOMY = Topic("kinh-te", "Kinh tế")
SOCIETY = Topic("van-hoa-xa-hoi", "Văn hóa – Xã hội")
DIGITAL = Topic("chuyen-doi-so", "Chuyển đổi số")
TOPICS = (POLITICS, ECONOMY, SOCIETY, DIGITAL)


@dataclass(frozen=True, slots=True)
class Article:
    """One article, ready to be laid out; everything in it is text, nothing is markup."""

    path: str
    """Its address below the portal's root; "" is the seed's article."""
    topic: Topic
    published: date
    title: str
    blocks: tuple[str, ...]
    author: str
    agency: str
    pictures: tuple[Picture, ...]

    @property
    def summary(self) -> str:
        """The first sentence of the article."""
        return self.blocks[0].split(". ")[0].rstrip(".") + "."

    def picture_above(self, block: str) -> Picture | None:
        return next((picture for picture in self.pictures if block.startswith(picture.above)), None)


class _Entry(NamedTuple):
    """What the catalogue knows of an article; its text is in `content/`."""

    slug: str
    topic: Topic
    published: date
    pictures: tuple[Picture, ...]


# Newest first, as the portal lists them. The seed's article has no slug: its address is the portal's root.
_CATALOGUE = (
    _Entry(
        "",
        POLITICS,
        date(2022, 7, 22),
        (
            Picture(
                "hoi-nghi-quang-canh.svg", "Hội trường, các hàng đại biểu nhìn lên sân khấu", "Quang cảnh hội nghị"
            ),
            Picture("hoi-nghi-thao-luan.svg", "Sáu đại biểu ngồi sau dãy bàn có tài liệu", "Các đại biểu tham gia"),
            Picture("hoi-nghi-ket-luan.svg", "Một người phát biểu trên bục", "Đ/c Phó trưởng Khối thi đua"),
            Picture(
                "hoi-nghi-khen-thuong.svg", "Chín người đứng thành hàng nhận Giấy khen", "Dịp này", is_caption=False
            ),
        ),
    ),
    _Entry(
        "bac-ha-chu-dong-phong-chong-thien-tai-trong-mua-mua-lu-c2519",
        POLITICS,
        date(2022, 7, 20),
        (Picture("mua-lu.svg", "Ba người mặc áo phao bên bờ suối đục, trời mưa", "Lực lượng xung kích"),),
    ),
    _Entry(
        "ra-mat-to-cong-nghe-so-cong-dong-tai-cac-thon-to-dan-pho-c2515",
        DIGITAL,
        date(2022, 7, 18),
        (Picture("cong-nghe-so.svg", "Ba người bên bàn có máy tính và điện thoại", "Thành viên Tổ công nghệ số"),),
    ),
    _Entry(
        "cac-truong-hoc-tren-dia-ban-huyen-chuan-bi-cho-nam-hoc-2022-2023-c2511",
        SOCIETY,
        date(2022, 7, 15),
        (Picture("truong-hoc.svg", "Ngôi trường mái đỏ, cột cờ, học sinh trên sân", "Một điểm trường"),),
    ),
    _Entry(
        "man-tam-hoa-bac-ha-vao-cuoi-vu-thu-hoach-c2508",
        ECONOMY,
        date(2022, 7, 12),
        (Picture("man-tam-hoa.svg", "Cành mận trĩu quả và một giỏ mận", "Mận Tam hoa chín đỏ"),),
    ),
    _Entry(
        "nhan-dan-cac-xa-chung-suc-lam-duong-giao-thong-nong-thon-c2504",
        ECONOMY,
        date(2022, 7, 8),
        (Picture("duong-giao-thong.svg", "Con đường mới giữa ruộng bậc thang", "Tuyến đường liên thôn mới"),),
    ),
)


class ArticleText(NamedTuple):
    title: str
    blocks: tuple[str, ...]
    author: str
    agency: str


def parse_text(text: str) -> ArticleText:
    """The parts of an article file; ValueError when it has no title, no paragraph or no author and agency."""
    lines = text.splitlines()
    stripped = [line.strip() for line in lines]
    if FURNITURE in stripped:
        stripped = stripped[: stripped.index(FURNITURE)]
    kept = [line for line in stripped if line and not line.startswith(VIEWS_LABEL)]
    if len(kept) < 4:
        raise ValueError("an article is a title, paragraphs, an author and an agency")
    title, *blocks, author, agency = kept
    return ArticleText(title, tuple(blocks), author, agency)


def load_articles() -> tuple[Article, ...]:
    """All articles, newest first; the first one is the seed's."""
    content = files(__package__) / "content"
    articles = []
    for slug, topic, published, pictures in _CATALOGUE:
        path, file = (f"tin-tuc/{slug}.html", f"tin/{slug}.txt") if slug else ("", "seed.txt")
        text = parse_text((content / file).read_text("utf-8"))
        articles.append(Article(path, topic, published, *text, pictures))
    return tuple(articles)
