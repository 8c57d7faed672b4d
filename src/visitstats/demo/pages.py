"""The pages of the demo portal, rendered once at start.

The pages are as a careful portal would make them: nothing inline, nothing from elsewhere, no number, time or token
baked in, and every link relative, so that they work under any path prefix of a proxy.
"""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from visitstats.demo.articles import TOPICS, Article, load_articles

# What the pages need and nothing more: the widget has to work under a policy like this one (portals with strict CSP).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'"
)

NEWS = "tin-tuc/"
OTHERS_PER_PAGE = 3
HEADLINES = 3

_HTML = "text/html; charset=utf-8"
_ASSETS = {"demo.css": "text/css; charset=utf-8", "demo.js": "text/javascript; charset=utf-8"}


class Html(str):
    """Text that is markup already; any other string is escaped when it enters a page."""


def demo_pages() -> dict[str, tuple[str, bytes]]:
    """Path below `/demo/` → (content type, body). "" is the seed's article, `tin-tuc/` the list of news."""
    articles = load_articles()
    pages = {article.path: (_HTML, article_page(article, articles).encode()) for article in articles}
    pages[NEWS] = (_HTML, list_page(articles).encode())
    content = files(__package__) / "content"
    for name, content_type in _ASSETS.items():
        pages[name] = (content_type, (content / name).read_bytes())
    for picture in (content / "anh").iterdir():
        pages[f"anh/{picture.name}"] = ("image/svg+xml", picture.read_bytes())
    return pages


def article_page(article: Article, articles: Sequence[Article]) -> str:
    """The page of one article, with links to the others."""
    root = _root(article.path)
    others = [other for other in articles if other.path != article.path]
    main = _fill(
        "article.html",
        title=article.title,
        blocks=_lines(_block(article, block, root) for block in article.blocks),
        author=article.author,
        agency=article.agency,
        other_pages=_other_pages(others, root),
    )
    head = _lines(
        Html(f'<meta {kind}="{name}" content="{escape(value)}">')
        for kind, name, value in (
            ("name", "author", article.author),
            ("property", "article:section", article.topic.name),
            ("property", "article:published_time", article.published.isoformat()),
        )
    )
    return _page(
        article.path,
        title=article.title,
        summary=article.summary,
        head=Html(head + "\n"),
        breadcrumb=_lines(
            (
                _li(_link(root + NEWS, "Trang chủ")),
                _li(_link(root + NEWS, "Tin tức")),
                _li(_link(f"{root}{NEWS}#{article.topic.slug}", article.topic.name)),
            )
        ),
        main=main,
        headlines=others[:HEADLINES],
    )


def list_page(articles: Sequence[Article]) -> str:
    """The list of news by topic, with places for the counts that `demo.js` fills."""
    root = _root(NEWS)
    sections = []
    for topic in TOPICS:
        items = _lines(_teaser(article, root) for article in articles if article.topic == topic)
        sections.append(_fill("list-section.html", slug=topic.slug, name=topic.name, items=items))
    return _page(
        NEWS,
        title="Tin tức - Cổng thông tin điện tử huyện Bắc Hà",
        summary="Tin tức mới của huyện Bắc Hà, tỉnh Lào Cai.",
        head=Html(""),
        breadcrumb=_lines(
            (_li(_link(root + NEWS, "Trang chủ")), _li(Html('<span aria-current="page">Tin tức</span>')))
        ),
        main=_fill("list.html", sections=_lines(sections), root=root),
        headlines=articles[:HEADLINES],
    )


def _page(
    path: str,
    *,
    title: str,
    summary: str,
    head: Html,
    breadcrumb: Html,
    main: Html,
    headlines: Sequence[Article],
) -> str:
    """The frame that all pages share."""
    root = _root(path)
    return _fill(
        "page.html",
        title=title,
        summary=summary,
        head=head,
        root=root,
        home_current=Html(' aria-current="page"' if path == NEWS else ""),
        menu=_lines(_li(_link(f"{root}{NEWS}#{topic.slug}", topic.name)) for topic in TOPICS),
        breadcrumb=breadcrumb,
        main=main,
        headlines=_lines(_headline(article, root, dated=False) for article in headlines),
    )


def _block(article: Article, block: str, root: str) -> Html:
    """A paragraph; or a picture with its caption; or a picture and the paragraph below it."""
    picture = article.picture_above(block)
    paragraph = Html(f"<p>{escape(block)}</p>")
    if picture is None:
        return paragraph
    caption = Html(f"\n<figcaption>{escape(block)}</figcaption>" if picture.is_caption else "")
    figure = _fill("figure.html", root=root, file=picture.file, alt=picture.alt, caption=caption)
    return figure if picture.is_caption else _lines((figure, paragraph))


def _other_pages(others: Sequence[Article], root: str) -> Html:
    """ "Tin khác" in pages. The last page stands first in the source: the style sheet's `:target` rules need it so."""
    groups = [others[i : i + OTHERS_PER_PAGE] for i in range(0, len(others), OTHERS_PER_PAGE)]
    pages = [
        _fill(
            "others.html",
            number=str(number),
            items=_lines(_headline(article, root, dated=True) for article in group),
            pager=_lines(
                Html(f'<span aria-current="page">{n}</span>') if n == number else _link(f"#tin-khac-{n}", str(n))
                for n in range(1, len(groups) + 1)
            ),
        )
        for number, group in enumerate(groups, start=1)
    ]
    return _lines(reversed(pages))


def _teaser(article: Article, root: str) -> Html:
    return _fill(
        "list-item.html",
        root=root,
        picture=article.pictures[0].file,
        href=_href(article, root),
        title=article.title,
        iso_date=article.published.isoformat(),
        date=f"{article.published:%d/%m/%Y}",
        summary=article.summary,
    )


def _headline(article: Article, root: str, *, dated: bool) -> Html:
    date = f' <time datetime="{article.published.isoformat()}">({article.published:%d/%m/%Y})</time>' if dated else ""
    return _li(Html(_link(_href(article, root), article.title) + date))


def _root(path: str) -> str:
    """The way from a page back to `/demo/`: relative, so that any prefix works."""
    return "../" * path.count("/")


def _href(article: Article, root: str) -> str:
    return (root + article.path) or "./"


def _link(href: str, text: str) -> Html:
    return Html(f'<a href="{escape(href)}">{escape(text)}</a>')


def _li(content: Html) -> Html:
    return Html(f"<li>{content}</li>")


def _lines(parts: Iterable[str]) -> Html:
    return Html("\n".join(parts))


def _fill(template: str, **values: str) -> Html:
    """A template of the package with its places filled; a place without a value is an error at start, not a gap."""
    text = (files(__package__) / "content" / template).read_text("utf-8").rstrip("\n")
    return Html(Template(text).substitute({k: v if isinstance(v, Html) else escape(v) for k, v in values.items()}))
