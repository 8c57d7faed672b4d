"""The demo portal's pages: what a visitor, a strict browser and a translator of the seed may rely on."""

import dataclasses
import hashlib
import itertools
import re
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import urldefrag, urljoin

import pytest

from visitstats.demo import articles as catalogue
from visitstats.demo.articles import load_articles, parse_text
from visitstats.demo.pages import CONTENT_SECURITY_POLICY, article_page, demo_pages, list_page

PAGES = demo_pages()
HTML_PATHS = sorted(path for path, (content_type, _) in PAGES.items() if content_type.startswith("text/html"))
SEED_TEXT = (files(catalogue.__package__) / "content" / "seed.txt").read_text("utf-8")

VOID = {"meta", "link", "img", "input", "br", "hr"}
INVISIBLE = {"head", "script"}
ADDRESSES = {"href", "src", "data-demo-views"}


class Page(HTMLParser):
    """Reads a page strictly: a tag that is not closed, or closed out of turn, is an error."""

    def __init__(self, path: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.by_tag: dict[str, list[str]] = {}
        self.feed(PAGES[path][1].decode())
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in <{tag}>"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.by_tag.setdefault(self.open[-1], []).append(data)
        if not INVISIBLE & set(self.open):
            self.parts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]

    def addresses(self) -> list[str]:
        return [value for name in sorted(ADDRESSES) for value in self.values(name)]


@pytest.fixture(params=HTML_PATHS, ids=lambda path: path or "(seed)")
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(path: str) -> Page:
    return Page(path)


def test_the_seed_is_kept_as_it_was_found() -> None:
    """Misprints are part of it: whoever corrects them changes what the article's readers have counted."""
    digest = hashlib.sha256(SEED_TEXT.encode()).hexdigest()
    assert digest == "ed5113f55c04fecc98405f74d4511d9e287b58d313cb8dcd2581e34af9904247"


def test_every_line_of_the_seed_is_on_its_page_in_the_same_order() -> None:
    """Numbers apart: those come from the service (`Lượt xem: 822`, `Đang online: 1`)."""
    text = " ".join(Page("").text.split())
    position = 0
    for line in SEED_TEXT.splitlines():
        wanted = re.sub(r"(^\s*•\s*)|((?<=:) \d+$)", "", line)
        wanted = " ".join(wanted.split())
        if wanted in ("", "1 2"):
            continue
        # "Tin tức" is a menu word as well: only the order of the last part is looked at, from "Tin khác" on.
        found = text.find(wanted, position)
        assert found >= 0, f"missing, or out of order: {wanted[:60]!r}"
        position = found + len(wanted)
    assert text.count("Lê Hiếu") == 1


def test_every_picture_that_the_seed_names_is_there_with_its_caption() -> None:
    page = Page("")
    assert page.by_tag["figcaption"] == [
        "Quang cảnh hội nghị",
        "Các đại biểu tham gia thảo luận tại hội nghị",
        "Đ/c Phó trưởng Khối thi đua Đinh Văn Đăng kết luận hội nghị",
    ]
    assert sum(tag == "figure" for tag, _ in page.tags) == 4  # "(ảnh trên)" has no caption


def test_other_news_are_paged_1_2() -> None:
    pager = [data for data in Page("").by_tag["span"] if data.strip() in {"1", "2"}]
    assert pager == ["2", "1"]  # the current page of each: the last one stands first in the source
    assert {"#tin-khac-1", "#tin-khac-2"} <= set(Page("").values("href"))


def test_there_are_the_seed_and_five_more_articles_and_a_list() -> None:
    assert len(HTML_PATHS) == 7
    assert {"", "tin-tuc/"} <= set(HTML_PATHS)
    for path in HTML_PATHS[2:]:
        assert re.fullmatch(r"tin-tuc/[a-z0-9-]+-c\d{4}\.html", path)


def test_an_article_is_three_to_five_paragraphs_and_names_its_author() -> None:
    for article in load_articles()[1:]:
        paragraphs = [block for block in article.blocks if article.picture_above(block) is None]
        assert 3 <= len(paragraphs) <= 5, article.title
        assert article.author
        assert article.agency


def test_the_window_title_of_an_article_is_its_title_alone() -> None:
    """The widget reports `document.title`, and editors read it in their lists."""
    for article in load_articles():
        assert Page(article.path).by_tag["title"] == [article.title]


def test_every_picture_of_the_catalogue_stands_somewhere() -> None:
    for article in load_articles():
        for picture in article.pictures:
            assert sum(block.startswith(picture.above) for block in article.blocks) == 1, picture
            assert f"anh/{picture.file}" in PAGES


def test_a_page_is_well_formed_with_unique_ids(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert page.tags[0] == ("html", {"lang": "vi"})


def test_a_page_works_under_a_strict_content_security_policy(page: Page) -> None:
    """No inline script, style or handler: the widget has to show that it needs none either."""
    for tag, attributes in page.tags:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert tag != "script" or attributes.get("src")
    assert not "".join(page.by_tag.get("script", [])).strip()
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_nothing_is_fetched_from_elsewhere(page: Page) -> None:
    """Every address is relative: any host, any path prefix, no internet."""
    for address in page.addresses():
        assert not re.match(r"[a-z]+:|/", address), address


@pytest.mark.parametrize("name", ["demo.css", "demo.js", *sorted(path for path in PAGES if path.startswith("anh/"))])
def test_style_script_and_pictures_name_no_other_host(name: str) -> None:
    text = PAGES[name][1].decode().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "//" not in text.replace("https?://", "")
    for address in re.findall(r'url\("?([^")#]+)"?\)', text):
        assert address in PAGES


@pytest.mark.parametrize("prefix", ["/", "/vs/", "/a/b/"])
def test_every_link_leads_to_a_page_that_exists(page: Page, path: str, prefix: str) -> None:
    base = f"http://portal.example{prefix}"
    for address in page.addresses():
        target, fragment = urldefrag(urljoin(f"{base}demo/{path}", address))
        if target == f"{base}widget.js":
            continue
        assert target.startswith(f"{base}demo/"), address
        found = target.removeprefix(f"{base}demo/")
        assert found in PAGES, address
        if fragment:
            assert fragment in Page(found).values("id"), address


def test_a_page_has_one_snippet_one_box_and_bakes_no_number_in(page: Page, path: str) -> None:
    """Pages are cached for hours: whatever they show before the service answers is "—"."""
    snippets = [attributes for tag, attributes in page.tags if tag == "script" and "data-site" in attributes]
    assert [set(snippet) for snippet in snippets] == [{"async", "src", "data-site"}]
    assert snippets[0]["data-site"] == "demo"
    assert sum("data-vs-box" in attributes for _, attributes in page.tags) == 1
    assert page.values("data-vs") == ([] if path == "tin-tuc/" else ["views"])
    assert re.findall(r"(?:Lượt xem|Đang online|Hôm nay|Trong tuần|Tất cả): (\S+)", page.text) == (
        ["—"] * (10 if path == "tin-tuc/" else 5)
    )


def test_the_list_has_a_place_for_the_count_of_every_article() -> None:
    places = {urljoin("/tin-tuc/", value).removeprefix("/") for value in Page("tin-tuc/").values("data-demo-views")}
    assert places == {article.path for article in load_articles()}


def test_a_page_can_be_read_aloud(page: Page) -> None:
    """One main heading, no level left out, a text for every picture, a label for every field."""
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    labelled = set(page.values("for"))
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes.keys() >= {"alt", "width", "height"}
        if tag == "input":
            assert attributes["id"] in labelled


def test_markup_in_an_article_is_shown_not_obeyed() -> None:
    first, second, *rest = load_articles()
    hostile = '<script>alert("1")</script> & <b>'
    hostile_article = dataclasses.replace(
        second, title=hostile, blocks=(hostile, *second.blocks[1:]), author=hostile, agency=hostile
    )
    for html in (
        article_page(hostile_article, (first, hostile_article, *rest)),
        article_page(first, (first, hostile_article, *rest)),
        list_page((first, hostile_article, *rest)),
    ):
        assert "<script>" not in html
        assert "<b>" not in html
        assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &lt;b&gt;" in html


@pytest.mark.parametrize(
    "text", ["", "Tiêu đề", "Tiêu đề\n\nLượt xem: 5\n\nTác giả\n\nCơ quan\n\nTin khác\n\nĐoạn văn"]
)
def test_a_text_without_a_paragraph_is_no_article(text: str) -> None:
    with pytest.raises(ValueError, match="an article is"):
        parse_text(text)
