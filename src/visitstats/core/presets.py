"""What is known of the addresses of common systems: rules that a site takes over by naming them in `preset`.

A preset may split the counts of an article in two, never join those of two articles: a rule matches only where an id
decides, and a parameter is dropped only where it names nothing. Addresses without such an id keep their key. The
examples are tests and stand in docs/keys.md.

The names and what they do are frozen: a change gives articles new keys.
"""

from collections.abc import Mapping

import msgspec


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one system, as a site could state them itself."""

    about: str
    rules: tuple[tuple[str, str], ...] = ()
    """Pattern and template, in order (`core.rewriting`)."""
    drop_params: tuple[str, ...] = ()
    ignore_case: bool = False
    examples: tuple[tuple[str, str], ...] = ()
    """Addresses and their keys."""


# Modules that keep an id at the end of an article's address. Others (page, download, shops) end it with any words, also
# with a year.
_NUKEVIET_MODULE = "((?:news|tin|thong-bao|su-kien)[a-z0-9-]*)"
# With .html: `/vi/news/Tin/page-2` and `/vi/news/tag/covid-19` are lists.
_NUKEVIET_ARTICLE = r"(?:(?:print|savefile|sendmail)/)?[^/?#]+/[^/?#]*-([0-9]+)\.html(?:[?#].*)?$"

# Where an asset stands in Liferay: /web/GROUP/PAGE/-/…, with a language before it or not.
_LIFERAY_LANGUAGE = "^(?:/[a-z]{2}(?:[_-][A-Za-z]{2})?)?"
_LIFERAY_GROUP = _LIFERAY_LANGUAGE + "/(?:web|group)/([^/?#]+)"
_LIFERAY_CONTENT = "/-/asset_publisher/[^/?#]+/content/(id/[0-9]+|[^/?#]+)"
# With the number of the site that the article belongs to: two sites may have articles of the same title.
_LIFERAY_SITES_CONTENT = r"/-/asset_publisher/[^/?#]+/content/([^/?#]+/[0-9]+)(?:[/?#].*)?$"
_LIFERAY_DISPLAY_PAGE = "/(?:-|w)/([^/?#]+)(?:[?#].*)?$"

# What buttons and apps add when somebody shares a page. Only where the path, or a parameter that is known, names the
# article: elsewhere `from` and `source` may be a part of it.
_SHARE_PARAMS = ("share", "shared", "share_from", "sharefrom", "via", "ref", "refer", "referrer", "from", "source")

# An article's number before its alias, as `12-ten-bai`. Not a year, because Joomla may be told to leave the numbers
# out: then `2023-bao-cao` is an alias.
_JOOMLA_NUMBER = "([0-9]{1,3}|[03-9][0-9]{3}|1[0-8][0-9]{2}|2[1-9][0-9]{2}|[0-9]{5,})"

PRESETS: Mapping[str, Preset] = {
    "nukeviet": Preset(
        about="NukeViet 4 and its eGovernment edition: module and id; slug, category, print and savefile make no "
        "difference. Vietnamese is the language that is not named; each other one has articles of its own.",
        rules=(
            (rf"^/(?:vi/)?{_NUKEVIET_MODULE}/{_NUKEVIET_ARTICLE}", r"\1:\2"),
            (rf"^/([a-z]{{2}})/{_NUKEVIET_MODULE}/{_NUKEVIET_ARTICLE}", r"\1:\2:\3"),
        ),
        examples=(
            ("/vi/news/Tin/so-ket-2642.html?fbclid=x", "news:2642"),
            ("/vi/news/Khac/ten-moi-2642.html#c", "news:2642"),
            ("/vi/news/print/Tin/so-ket-2642.html", "news:2642"),
            ("/vi/news/savefile/Tin/so-ket-2642.html", "news:2642"),
            ("/en/news/News/half-year-2642.html", "en:news:2642"),
            ("/vi/news/Tin/page-2/", "/vi/news/Tin/page-2"),
            ("/vi/about/ke-hoach-2023.html", "/vi/about/ke-hoach-2023.html"),
        ),
    ),
    "portal-pages": Preset(
        about="Portals with articles below `/portal/pages/DATE/`: the number at the end; date and slug make no "
        "difference. Case makes none in any address, but in the values of parameters.",
        ignore_case=True,
        rules=((r"^/portal/pages/[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}/[^/?#]*-([0-9]+)\.aspx(?:[?#].*)?$", r"pages:\1"),),
        examples=(
            ("/portal/pages/2023-01-30/Ung-dung-cong-nghe-v-468686.aspx", "pages:468686"),
            ("/portal/Pages/2023-1-30/ung-dung-468686.aspx?zarsrc=30", "pages:468686"),
        ),
    ),
    "sharepoint": Preset(
        about="SharePoint: case makes no difference, but in the values of parameters. A news item is its page, "
        "`ListName` and `NewsId`, a list item its page below `/Lists/…` and `ItemID` (`ID`); other parameters beside "
        "them make no difference. Elsewhere all parameters count but those of the editing ribbon and of shared links.",
        ignore_case=True,
        drop_params=(
            *("Source", "ContentTypeId", "IsDlg", "InitialTabId", "VisibilityContext"),
            # What Teams, Outlook and "Copy link" add.
            *("csf", "web", "xsdata", "sdata", "ovuser", "clickparams", "wdLOR"),
        ),
        rules=(
            (
                r"^(/[^?#]*)\?(?:[^#]*&)?(listname=[^&#]+)&(?:[^#]*&)?(newsid=[0-9]+)(?:[&#].*)?$",
                r"\1?\2&\3",
            ),
            (r"^(/(?:[^?#]*/)?lists/[^/?#]+/[^?#]+)\?(?:[^#]*&)?((?:item)?id=[0-9]+)(?:[&#].*)?$", r"\1?\2"),
        ),
        examples=(
            ("/DetailNews.aspx?NewsId=12&ListName=TinTuc&CategoryId=3", "/detailnews.aspx?listname=TinTuc&newsid=12"),
            ("/DetailNews.aspx?NewsId=13&ListName=TinTuc", "/detailnews.aspx?listname=TinTuc&newsid=13"),
            ("/DetailNews.aspx?NewsId=12&ListName=ThongBao", "/detailnews.aspx?listname=ThongBao&newsid=12"),
            (
                "/Lists/NghienCuuTraoDoi/View_Detail.aspx?ItemID=70&Source=%2FPages%2Fdefault.aspx",
                "/lists/nghiencuutraodoi/view_detail.aspx?itemid=70",
            ),
            ("/stttt/Pages/bo-tttt-so-ket.aspx", "/stttt/pages/bo-tttt-so-ket.aspx"),
        ),
    ),
    "liferay": Preset(
        about="Liferay: the site's name (when the address has it) and the title in the address, with the site's number "
        "where it follows, on whatever page the article is shown; blogs and older addresses with an asset's number "
        "likewise.",
        drop_params=("redirect", "inheritRedirect", "p_auth", "p_p_auth"),
        rules=(
            (rf"{_LIFERAY_GROUP}(?:/[^?#]*)?{_LIFERAY_SITES_CONTENT}", r"content:\1/\2"),
            (rf"{_LIFERAY_GROUP}(?:/[^?#]*)?{_LIFERAY_CONTENT}", r"content:\1/\2"),
            (rf"{_LIFERAY_GROUP}{_LIFERAY_DISPLAY_PAGE}", r"content:\1/\2"),
            (rf"{_LIFERAY_GROUP}(?:/[^?#]*)?/-/blogs/([^/?#]+)", r"blogs:\1/\2"),
            (rf"^(?:/[^?#]*)?{_LIFERAY_SITES_CONTENT}", r"content:\1"),
            (rf"^(?:/[^?#]*)?{_LIFERAY_CONTENT}", r"content:\1"),
            (rf"{_LIFERAY_LANGUAGE}{_LIFERAY_DISPLAY_PAGE}", r"content:\1"),
            (r"^(?:/[^?#]*)?/-/blogs/([^/?#]+)", r"blogs:\1"),
            (r"[?&]_[0-9A-Za-z_]*_assetEntryId=([0-9]+)(?:[&#].*)?$", r"asset:\1"),
        ),
        examples=(
            ("/web/guest/news/-/asset_publisher/Ab12/content/so-ket-thi-dua", "content:guest/so-ket-thi-dua"),
            (
                "/vi/web/guest/home/-/asset_publisher/Xy9/content/so-ket-thi-dua?redirect=%2Fhome",
                "content:guest/so-ket-thi-dua",
            ),
            ("/tin-tuc/-/asset_publisher/Ab12/content/so-ket-thi-dua", "content:so-ket-thi-dua"),
            (
                "/web/guest/news/-/asset_publisher/Ab12/content/so-ket-thi-dua/20182",
                "content:guest/so-ket-thi-dua/20182",
            ),
            (
                "/web/guest/home/-/asset_publisher/Xy9/content/so-ket-thi-dua/30417?inheritRedirect=false",
                "content:guest/so-ket-thi-dua/30417",
            ),
            ("/tin-tuc/-/asset_publisher/Ab12/content/so-ket-thi-dua/20182", "content:so-ket-thi-dua/20182"),
            ("/web/guest/news/-/asset_publisher/Ab12/content/id/40211", "content:guest/id/40211"),
            ("/web/guest/-/so-ket-thi-dua", "content:guest/so-ket-thi-dua"),
            ("/web/guest/blog/-/blogs/chuyen-doi-so", "blogs:guest/chuyen-doi-so"),
            (
                "/tin?p_p_id=101&_101_struts_action=%2Fasset_publisher%2Fview_content&_101_assetEntryId=40211",
                "asset:40211",
            ),
        ),
    ),
    "websphere": Preset(
        about="IBM WebSphere Portal: the number of the content (`cur_id`) or its path (`WCM_GLOBAL_CONTEXT=…`, "
        "`urile=wcm:path:…`), whatever the state in the address. Without any the state counts, since it may name the "
        "article.",
        drop_params=("CACHEID", "CVID", "MOD", "useDefaultText", "useDefaultDesc"),
        rules=(
            (r"^/[^?#]*\?(?:[^#]*&)?cur_id=([^&#]+)", r"content:\1"),
            (r"^/[^?#]*\?(?:[^#]*&)?WCM_GLOBAL_CONTEXT=([^&#]+)", r"content:\1"),
            (r"^/[^?#]*\?(?:[^#]*&)?urile=wcm:path:([^&#]+)", r"content:\1"),
        ),
        examples=(
            ("/wps/portal/trang-chu/tin/!ut/p/z1/04_Sj9CPyk/?WCM_PI=1&cur_id=d0e4a1", "content:d0e4a1"),
            ("/wps/portal/!ut/p/z0/fY67DsIwDEW/?cur_id=d0e4a1", "content:d0e4a1"),
            ("/wps/portal/tin/!ut/p/z0/04_Sj?cur_id=d0e4a2", "content:d0e4a2"),
            (
                "/wps/portal/tin/!ut/p/z1/04_Sj/?WCM_GLOBAL_CONTEXT=/wps/wcm/connect/vn/tin/bai-1",
                "content:/wps/wcm/connect/vn/tin/bai-1",
            ),
            ("/wps/portal/trang-chu/tin", "/wps/portal/trang-chu/tin"),
        ),
    ),
    "wordpress": Preset(
        about="WordPress: `?p=`, `?page_id=` and `?attachment_id=` decide where they are; `/amp`, `/embed`, `/print` "
        "and pages of comments are the article; `/index.php/…` is the address without it; share buttons' `share`, "
        "`ref`, `from`, `source`, `via` make no difference.",
        drop_params=(
            "amp",
            "noamp",
            "preview",
            "preview_id",
            "preview_nonce",
            "_wpnonce",
            "share",
            "nb",
            "like_comment",
            "unapproved",
            "moderation-hash",
            "doing_wp_cron",
            "print",
            *_SHARE_PARAMS,
        ),
        rules=(
            (r"^/index\.php(/.*)$", r"\1"),
            (r"^/\?(?:[^#]*&)?((?:p|page_id|attachment_id)=[0-9]+)(?:[&#].*)?$", r"/?\1"),
            (r"^(/[^?#]+)/(?:amp|embed|print|comment-page-[0-9]+)([?#].*)?$", r"\1\2"),
        ),
        examples=(
            ("/?p=954", "/?p=954"),
            ("/?p=955&preview=true", "/?p=955"),
            ("/2023/05/so-ket/amp/", "/2023/05/so-ket"),
            ("/so-ket/comment-page-2/#comment-17", "/so-ket"),
            ("/index.php/2023/05/so-ket/", "/2023/05/so-ket"),
        ),
    ),
    "press": Preset(
        about="Newspapers: `amp` and `print` as a part of the path, `.amp` at its end or as a parameter make no "
        "difference; nor do share buttons' `share`, `ref`, `from`, `source`, `via`, nor `m.` before the host (never "
        "does, on any site).",
        drop_params=("amp", "print", "outputType", *_SHARE_PARAMS),
        rules=(
            (r"^(/(?:[^?#]*/)?)(?:amp|print)(/[^?#]*)?([?#].*)?$", r"\1\2\3"),
            (r"^(/[^?#]*[^/?#])\.(?:amp|print)(\.html?)?([?#].*)?$", r"\1\2\3"),
        ),
        examples=(
            ("/amp/tin-tuc/so-ket-4567.html", "/tin-tuc/so-ket-4567.html"),
            ("/tin-tuc/print/so-ket-4567.html", "/tin-tuc/so-ket-4567.html"),
            ("/tin-tuc/so-ket-4567.html/amp?utm_source=zalo", "/tin-tuc/so-ket-4567.html"),
            ("/tin-tuc/so-ket-4567.amp", "/tin-tuc/so-ket-4567"),
            ("/tin-tuc/so-ket-4567.html?print=1", "/tin-tuc/so-ket-4567.html"),
            ("/tin-tuc/so-ket-4567.html?ref=zalo&share=1", "/tin-tuc/so-ket-4567.html"),
        ),
    ),
    "joomla": Preset(
        about="Joomla: the article's number, in whatever menu, category and language the page is shown, with its alias "
        "or without it; K2's items likewise. In readable addresses the number stands before the alias (`/12-ten-bai`); "
        'a portal that leaves the numbers out (Joomla 4: "Remove IDs from URLs") does not need this preset.',
        drop_params=("tmpl", "print", "fontstyle", "joscclean", "return"),
        rules=(
            (r"^/index\.php(/.*)$", r"\1"),
            (
                r"^/[^?#]*\?(?:[^#]*&)?id=([0-9]+)(?::[^&#]*)?(?:&[^#]*)?&option=com_content&(?:[^#]*&)?view=article(?:[&#].*)?$",
                r"article:\1",
            ),
            (
                r"^/[^?#]*\?(?:[^#]*&)?id=([0-9]+)(?::[^&#]*)?(?:&[^#]*)?&option=com_k2&(?:[^#]*&)?view=item(?:[&#].*)?$",
                r"item:\1",
            ),
            (r"^/(?:[^?#]*/)?component/content/article\?(?:[^#]*&)?id=([0-9]+)(?::[^&#]*)?(?:[&#].*)?$", r"article:\1"),
            (r"^/(?:[^?#]*/)?component/content/article/(?:[0-9]+-[^/?#]+/)?([0-9]+)(?:[-.?#][^/]*)?$", r"article:\1"),
            (r"^/(?:[^?#]*/)?item/([0-9]+)-[^/?#]+(?:[?#].*)?$", r"item:\1"),
            # Where no component is named, the menu's is meant.
            (r"^/[^?#]*\?(?:[^#]*&)?id=([0-9]+)(?::[^&#]*)?(?:&[a-n][^&#]*)*&view=article(?:[&#].*)?$", r"article:\1"),
            (rf"^/(?:[^?#]*/)?{_JOOMLA_NUMBER}-[^/?#]*[a-zA-Z][^/?#]*(?:[?#].*)?$", r"article:\1"),
        ),
        examples=(
            ("/index.php?option=com_content&view=article&id=12:ten-bai&catid=8:tin&Itemid=101", "article:12"),
            ("/index.php?option=com_content&view=article&id=12&Itemid=105", "article:12"),
            ("/tin-tuc/12-ten-bai?tmpl=component&print=1", "article:12"),
            ("/vi/component/content/article/8-tin/12-ten-bai.html", "article:12"),
            ("/tin-tuc?view=article&id=12:ten-bai&catid=8", "article:12"),
            (
                "/index.php?option=com_content&view=category&id=12&Itemid=101",
                "/?Itemid=101&id=12&option=com_content&view=category",
            ),
            ("/index.php?option=com_k2&view=item&id=12:ten-bai&Itemid=7", "item:12"),
            ("/gioi-thieu/2023-bao-cao", "/gioi-thieu/2023-bao-cao"),
        ),
    ),
    "dnn": Preset(
        about="DNN (DotNetNuke): case makes no difference, but in the values of parameters. The number of the article "
        "decides, by the module that shows it (News Articles, EasyDNNnews, DNNArticle, the blog), whatever page, "
        "module number and title the address has; a page without one is its `tabid`.",
        ignore_case=True,
        drop_params=("language", "mid", "ctl", "skinsrc", "containersrc", "popup", "dnnprintmode", "returnurl"),
        rules=(
            (r"[/?&]artmid[/=][0-9]+[/&](?:[^#]*[/&])?articleid[/=]([0-9]+)(?:[/?&#].*)?$", r"easydnnnews:\1"),
            (r"[/?&]articleid[/=]([0-9]+)[/&](?:[^#]*[/&])?artmid[/=][0-9]+(?:[/?&#].*)?$", r"easydnnnews:\1"),
            (r"/articleview/(?:[^?#]*/)?articleid/([0-9]+)(?:[/?#].*)?$", r"newsarticle:\1"),
            (
                r"[?&]articleid=([0-9]+)&(?:[^#]*&)?articletype=(?i:articleview)(?:[&#].*)?$",
                r"newsarticle:\1",
            ),
            (r"[/?&]articleid[/=]([0-9]+)(?:[/?&#].*)?$", r"dnnarticle:\1"),
            (r"[/?&](?:entryid|postid)[/=]([0-9]+)(?:[/?&#].*)?$", r"post:\1"),
            (r"/tabid/([0-9]+)(?:/[^?#]*)?/(item|news)id/([0-9]+)(?:[/?#].*)?$", r"tab:\1/\2:\3"),
            (r"[?&](item|news)id=([0-9]+)&(?:[^#]*&)?tabid=([0-9]+)(?:[&#].*)?$", r"tab:\3/\1:\2"),
            (r"^(?:/[^?#]*)?/tabid/([0-9]+)(?:/language/[a-z]{2}-[a-z]{2})?$", r"tab:\1"),
            (r"^/\?tabid=([0-9]+)$", r"tab:\1"),
        ),
        examples=(
            ("/Tin-tuc/tabid/63/ArticleID/12/Ten-bai.aspx", "dnnarticle:12"),
            ("/tin-khac/tabid/70/articleid/12/Default.aspx", "dnnarticle:12"),
            ("/Tin-tuc/ArtMID/437/ArticleID/12/Ten-bai", "easydnnnews:12"),
            ("/Tin-tuc/articleType/ArticleView/articleId/12/Ten-bai.aspx", "newsarticle:12"),
            ("/Default.aspx?tabid=63&articleType=ArticleView&articleId=12&language=vi-VN", "newsarticle:12"),
            ("/Blog/EntryId/12/Ten-bai", "post:12"),
            ("/Gioi-thieu/tabid/63/language/vi-VN/Default.aspx", "tab:63"),
            ("/Default.aspx?TabId=63", "tab:63"),
        ),
    ),
    "drupal": Preset(
        about="Drupal: `/node/12`, `?q=node/12` and their print, amp and comment pages are one; a readable address "
        "(`/tin-tuc/ten-bai`) is another, which only `--use-canonical` or an alias can join. Each language that the "
        "path names has articles of its own.",
        drop_params=("destination", "_format", "_wrapper_format", "render", "amp", "print"),
        rules=(
            (r"^/index\.php(/.*)$", r"\1"),
            (r"^(/[a-z]{2}(?:-[a-z]+)?|/)\?(?:[^#]*&)?q=(node/[0-9]+)(?:[&#].*)?$", r"\1/\2"),
            (r"^(/[a-z]{2}(?:-[a-z]+)?|/)\?q=([^&#]+)$", r"\1/\2"),
            (
                r"^(/[a-z]{2}(?:-[a-z]+)?)?/(?:print(?:pdf|mail)?|print/(?:pdf|html)/node)/([0-9]+)(?:[?#].*)?$",
                r"\1/node/\2",
            ),
            (r"^((?:/[a-z]{2}(?:-[a-z]+)?)?/node/[0-9]+)(?:/(?:amp|print|printable/[a-z]+))?(?:[?#].*)?$", r"\1"),
        ),
        examples=(
            ("/node/12", "/node/12"),
            ("/?q=node/12&destination=front", "/node/12"),
            ("/index.php?q=node/12", "/node/12"),
            ("/node/12?page=1#comment-7", "/node/12"),
            ("/print/12", "/node/12"),
            ("/en/node/12/printable/print", "/en/node/12"),
            ("/tin-tuc/ten-bai", "/tin-tuc/ten-bai"),
        ),
    ),
}
