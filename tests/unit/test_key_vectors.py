"""Addresses that mean trouble: each row is one article, however it is spelled; rows of `APART` are as many articles."""

import unicodedata
from itertools import pairwise

import pytest

from tests.addresses import article_key
from visitstats.core.errors import HitRejected
from visitstats.core.hosts import fold_host
from visitstats.core.sites import Site

PORTAL = Site(id="portal", hosts=("portal.vn", "xn--botin-xqa.vn"))
VIETNAMESE = "/tin-tức/Đảng-ủy"

TOGETHER: dict[str, tuple[str, ...]] = {
    "/tin-t%E1%BB%A9c/%C4%90%E1%BA%A3ng-%E1%BB%A7y": (
        VIETNAMESE,
        unicodedata.normalize("NFD", VIETNAMESE),
        "/tin-t%e1%bb%a9c/%C4%90%e1%ba%A3ng-%E1%bb%a7y",
        "/tin-tu%CC%9B%CC%81c/Đảng-ủy",  # a letter and two marks, encoded
        "/tin-tư\u0301c/Đảng-ủy",  # half composed
        "/tin-tức//Đảng-ủy/?utm_source=zalo#c",
    ),
    "/a/b": (
        "/a;jsessionid=1F2/b",
        "/a/;jsessionid=1/b",
        "/a/b;JSESSIONID=x?jsessionid=2",
        "/a%3Bjsessionid%3D1/b",
        "//a//b/",
        "/./a/./b/.",
        "/x/../a/b",
        "/a/x/%2E%2e/b/",
        "/../a/b",
        "\\a\\b",
        "/a/b/index.html",
        "/a/b/Default.aspx",
        "/a/b?",
        "/a/b?&",
        "/a/b?x=",
        "/a/b?x",
        "/a/b#/c",
        "/a/b#!c",
        "/a/b?FBCLID=1&Zarsrc=3&_ga=1",
        "/%61/%62",
    ),
    "/x?a=1&b=2": (
        "/x?b=2&a=1",
        "/x?a=1&&b=2&",
        "/x?&a=1&b=2&c=",
        "/x?%61=1&b=%32",
        "/x?a=1&b=2&c&UTM_Medium=z",
        "/x?a=1&utm_source=zalo&b=2&gidzl=1&typeInapp=2",
    ),
    "/x?q=a%20b": ("/x?q=a+b", "/x?q=a%20b", "/x?q=a b"),
    "/x?a=2&a=1": ("/x?a=2&a=1&fb_ref=1", "/x?a=2&b=&a=1"),
    "/c++": ("/c%2B%2B", "/c%2b+"),
    "/": ("", "?", "#top", "/?fbclid=1", "/index.php", "/./", "/..", "//"),
}
APART: tuple[tuple[str, ...], ...] = (
    ("/a/b", "/a%2Fb", "/a%252Fb", "/a%5Cb", "/a;v=1/b", "/A/b", "/a/..%2Fb", "/a/..;/b"),
    ("/x?a=1&a=2", "/x?a=2&a=1", "/x?a=1", "/x?A=1", "/x?a=1;b=2", "/x?a=1%26b=2", "/x?a=%2B", "/x?a=+"),
    ("/c+", "/c%20", "/c"),
    ("/x?ref=1", "/x?src=1", "/x?tab=1", "/x?page=1"),  # not ours to drop
)
HOSTS = (
    "portal.vn",
    "PORTAL.VN.",
    "www.portal.vn",
    "m.portal.vn:8443",
    "www.m.portal.vn",
    "portal.vn:",
    "u:p@portal.vn",
    "ｐortal.vn",
    "portal。vn",
    "báotin.vn",
    "BÁOTIN.VN",
    "www.xn--botin-xqa.vn",
    "XN--BOTIN-XQA.VN:443",
)
STRANGERS = (
    "portal.vn.evil.example",
    "portal.vn@evil.example",
    "evil.example\\@portal.vn",
    "portal.vn%2eevil.example",
    "wwwportal.vn",
    "portal.vn:80x",
    "pórtal.vn",
    "xn--botin-0qa.vn",
    "portal.vn evil",
    "[::1",
    "-portal.vn",
    "portal..vn",
)


def key(tail: str, host: str = "portal.vn") -> str:
    return article_key(PORTAL, f"https://{host}{tail}")


@pytest.mark.parametrize("expected", TOGETHER)
def test_one_article_whatever_its_address_looks_like(expected: str) -> None:
    assert {tail: key(tail) for tail in TOGETHER[expected]} == dict.fromkeys(TOGETHER[expected], expected)
    assert key(expected) == expected


@pytest.mark.parametrize("tails", APART)
def test_articles_that_are_not_one(tails: tuple[str, ...]) -> None:
    assert len({key(tail) for tail in tails}) == len(tails)


@pytest.mark.parametrize("host", HOSTS)
def test_spellings_of_a_host_of_the_site(host: str) -> None:
    assert key("/a", host) == "/a"


@pytest.mark.parametrize("host", STRANGERS)
def test_hosts_that_only_look_like_the_sites(host: str) -> None:
    with pytest.raises(HitRejected) as refused:
        key("/a", host)
    assert refused.value.reason == "host"


def test_folding_a_host_once_is_folding_it() -> None:
    """Whatever people type for a host finds its record again."""
    for host in ("www.m.www.portal.vn", "ĐÀLẠT.vn", "[2001:DB8::1]:8080", "192.0.2.7:81", "::ffff:192.0.2.7"):
        folds = [host, fold_host(host), fold_host(fold_host(host))]
        assert [one == two for one, two in pairwise(folds)][-1]


PRESETS: dict[str, dict[str, tuple[str, ...]]] = {
    "nukeviet": {
        "news:2642": (
            "/news/Tin/so-ket-2642.html",
            "/vi//news/Khac/./ten-2642.html?page=2",
            "/vi/news/savefile/Tin/so-ket-2642.html",
            "/vi/news/Tin/so-k%E1%BA%BFt-2642.html;jsessionid=1",
            "/vi/news/print/Tin/so-ket-2642.html/#c",
        ),
        "news:2": ("/vi/news/Tin/so-ket-2642-2.html",),
        "/vi/news/groups/Tin-nong/so-ket-2642.html": ("/vi/news/groups/Tin-nong/so-ket-2642.html",),
        "thong-bao:2642": ("/vi/thong-bao/Tin/so-ket-2642.html",),
    },
    "sharepoint": {
        "/pages/bai.aspx": (
            "/Pages/bai.aspx?csf=1&web=1",
            "/pages/BAI.aspx?xsdata=MDV&sdata=x&ovuser=a%2Cb&Source=%2F",
        ),
        "/pages/bai.aspx?mode=2": ("/Pages/bai.aspx?Mode=2&web=1",),
        "/detailnews.aspx?listname=TinTuc&newsid=12": (
            "/detailnews.aspx?NEWSID=12&CategoryId=3&ListName=TinTuc",
            "/DetailNews.aspx?listname=TinTuc&x=1&newsid=12#a",
        ),
        "/detailnews.aspx?listname=tintuc&newsid=12": ("/DetailNews.aspx?NewsId=12&ListName=tintuc",),
        "/detailnews.aspx?newsid=12": ("/DetailNews.aspx?NewsId=12",),
        "/pages/a.aspx?itemid=5": ("/Pages/A.aspx?ItemID=5&Source=%2F",),
    },
    "websphere": {
        "content:/vn/tin/bai-1": (
            "/wps/portal/tin/!ut/p/z1/04_S/?1dmy&current=true&urile=wcm:path:/vn/tin/bai-1",
            "/wps/portal/tin/!ut/p/z1/04_X/?urile=wcm%3apath%3a%2fvn%2ftin%2fbai-1&1dmy",
        ),
        "content:/wps/wcm/connect/vn/tin/bai-1": (
            "/wps/portal/!ut/p/z0/a/?1dmy&WCM_GLOBAL_CONTEXT=%2fwps%2fwcm%2fconnect%2fvn%2ftin%2fbai-1&page=2",
            "/wps/portal/tin?urile=wcm:path:/x&WCM_GLOBAL_CONTEXT=/wps/wcm/connect/vn/tin/bai-1#c",
        ),
        "content:D0E5": ("/wps/portal/!ut/p/z0/a/?cur_id=D0E5&WCM_GLOBAL_CONTEXT=/wps/wcm/connect/vn/tin/bai-1",),
        "content:D0E4": ("/wps/portal/!ut/p/z1/a/?cur_id=D0E4",),
    },
    "wordpress": {
        "/?p=954": ("/index.php?p=954", "/?cat=3&p=954", "/?p=954&preview=true&preview_id=954&utm_source=x"),
        "/2023/05/a": ("/2023/05/a/?amp=1", "/index.php/2023/05/a/amp/", "/2023/05/a/?replytocom=7#respond"),
        "/2023/05/a/feed": ("/2023/05/a/feed/",),
    },
    "press": {
        "/tin/a-45.html": (
            "/amp/tin/a-45.html",
            "/tin/amp/a-45.html?AMP=1",
            "/tin/a-45.amp.html",
            "/print/tin/a-45.html?outputType=amp",
        ),
        "/tin/a-45-print.html": ("/tin/a-45-print.html",),
    },
    "portal-pages": {
        "pages:468686": ("/Portal/PAGES/2023-01-30/Khac-468686.ASPX", "/portal/pages/2024-1-3/a-b-468686.aspx?x=1#c"),
        "/portal/pages/2023-01-30/468686.aspx": ("/portal/pages/2023-01-30/468686.aspx",),
    },
    "joomla": {
        "article:12": (
            "/index.php?option=com_content&view=article&id=12:ten-bai&catid=8&Itemid=105",
            "/index.php?view=article&option=com_content&amp;id=12&limitstart=1&start=2",
            "/index.php/tin-tuc/12-ten-bai",
            "/vi/tin-tuc/8-tin/12-ten-khac.html?start=1&fbclid=x",
            "/component/content/article?id=12:ten-bai&catid=8",
            "/component/content/article/12",
            "/component/content/article/8-tin/12-ten-bai",
            "/tin-tuc/12-ten-bai?tmpl=component&print=1&layout=default",
        ),
        "item:12": (
            "/tin/item/12-ten-bai.html",
            "/index.php?option=com_k2&view=item&layout=item&id=12:x&tmpl=component",
        ),
    },
    "dnn": {
        "dnnarticle:12": ("/x/Tabid/63/articleid/12/khac.aspx?popUp=true", "/Default.aspx?tabid=63&ArticleID=12"),
        "easydnnnews:12": (
            "/khac/ArticleID/12/ArtMID/9",
            "/Default.aspx?ArtMID=437&ArticleID=12&tabid=63",
            "/Tin/artmid/437/articleid/12/a?fbclid=x",
        ),
        "newsarticle:12": (
            "/a/tabid/63/articleType/ArticleView/articleId/12/language/vi-VN/Ten-bai.aspx",
            "/Default.aspx?tabid=9&articletype=articleview&ArticleId=12",
        ),
        "post:12": ("/Blog/PostId/12/a", "/Default.aspx?tabid=4&EntryId=12"),
        "tab:63/item:12": ("/a/tabid/63/mid/400/ItemId/12/Default.aspx", "/Default.aspx?ItemID=12&mid=400&tabid=63"),
        "tab:63": ("/Khac/tabid/63/Default.aspx", "/?tabid=63&language=en-US"),
    },
    "drupal": {
        "/node/12": ("/node/12/print", "/node/12/amp?x=1", "/printpdf/12", "/print/pdf/node/12", "/index.php/node/12/"),
        "/en/node/12": ("/en?q=node/12", "/en/print/12"),
        "/tin-tuc/a": ("/?q=tin-tuc/a&destination=x",),
    },
    "liferay": {
        "/web/guest/van-ban?id=5": ("/web/guest/van-ban?id=5&p_auth=Ab12&redirect=%2Fhome",),
        "content:guest/so-ket": (
            "/vi/web/guest/-/so-ket",
            "/web/guest/w/so-ket?x=1",
            "/web/guest/a/b/-/asset_publisher/Z9/content/so-ket#c",
        ),
        "content:guest/so-ket/20182": (
            "/vi/web/guest/a/-/asset_publisher/Z9/content/so-ket/20182/maximized?redirect=%2F#c",
            "/group/guest/-/asset_publisher/Z8/content/so-ket/20182/",
        ),
        "content:guest/so-ket-2": ("/web/guest/a/-/asset_publisher/Z9/content/so-ket-2/pop_up",),
        "content:so-tttt/so-ket": ("/web/so-tttt/-/so-ket",),
    },
}


@pytest.mark.parametrize(("preset", "expected"), [(name, each) for name, keys in PRESETS.items() for each in keys])
def test_addresses_of_systems_that_are_not_in_the_documentation(preset: str, expected: str) -> None:
    site = Site(id="p", hosts=("portal.vn",), preset=(preset,))
    tails = PRESETS[preset][expected]
    assert {tail: article_key(site, f"https://portal.vn{tail}") for tail in tails} == dict.fromkeys(tails, expected)
