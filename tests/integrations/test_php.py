"""WordPress, Joomla and NukeViet: the PHP is run, with as much of each system around it as it calls."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # our own files

import pytest

from tests.addresses import article_key
from tests.browser.portal import Answer, Portal
from tests.integrations.snippets import ASKED, FOLDER, NASTY, assert_same, read, site_embed
from visitstats.core.sites import Site

PHP = shutil.which("php") or ""
pytestmark = pytest.mark.skipif(not PHP, reason="no php: install the package php-cli to test the integrations in PHP")
HERE = Path(__file__).parent
FILES = sorted(FOLDER.rglob("*.php"))
JOOMLA = FOLDER / "joomla" / "mod_visitstats"


def run(harness: str, case: dict[str, Any]) -> dict[str, Any]:
    command = [PHP, "-d", "display_errors=stderr", str(HERE / f"{harness}.php")]
    done = subprocess.run(command, input=json.dumps(case), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_php_finds_no_fault(file: Path) -> None:
    done = subprocess.run(
        [PHP, "-d", "error_reporting=-1", "-l", str(file)], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.startswith("No syntax errors"), done.stdout + done.stderr


def test_the_three_have_one_snippet_between_them() -> None:
    """What one learns, all learn."""
    shared = re.compile(r"^// ---- The snippet: .*^// ---- The end of what is the same -+$", re.MULTILINE | re.DOTALL)
    found = [match[0] for file in FILES if (match := shared.search(file.read_text(encoding="utf-8")))]
    assert len(found) == 3
    assert len(set(found)) == 1


# ---- WordPress --------------------------------------------------------------------------------------------------


def wordpress(snippet: str, **more: Any) -> dict[str, Any]:
    posts = {
        "12": {"permalink": "https://portal.vn/2023/05/so-ket/", "status": "publish", "post_author": 3},
        "13": {"permalink": "https://portal.vn/?p=13", "status": "publish", "post_author": 3},
        "14": {"permalink": "https://portal.vn/?p=14", "status": "draft", "post_author": 3},
    }
    usual = {
        "option": snippet, "pasted": snippet, "posts": posts, "post": 12, "singular": True, "preview": False,
        "author": NASTY, "category": NASTY, "home": "http://127.0.0.1:9/blog",
    }  # fmt: skip
    return run("wordpress", usual | more)


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_wordpress_prints_what_was_pasted(asked: tuple[str, ...]) -> None:
    pasted = site_embed(*asked)
    told = wordpress(pasted)
    assert_same(read(told["footer"]), read(pasted))
    saved = wordpress(told["saved"])
    assert (told["errors"], saved["saved"], saved["footer"]) == ([], told["saved"], told["footer"])


def test_the_attributes_alone_are_enough() -> None:
    """A firewall may refuse a form with a script in it."""
    whole = wordpress(site_embed("--preset", "classic"))
    attributes = whole["footer"].partition("<script data-visitstats ")[2].partition(">\n")[0]
    assert attributes.startswith('data-api="/vs" data-site="portal" data-title=')
    assert wordpress(attributes)["footer"] == whole["footer"]


def test_wordpress_says_key_author_category_and_date_of_an_article() -> None:
    head = read(wordpress(site_embed())["head"])
    assert head.tags == ["meta"] * 4
    assert head.metas == {
        "visitstats-key": "https://portal.vn/2023/05/so-ket/",
        "author": NASTY,
        "article:section": NASTY,
        "article:published_time": "2022-07-22T08:00:00+07:00",
    }
    site = Site(id="portal", hosts=("portal.vn",))
    same = article_key(site, "https://portal.vn/?p=12", explicit=head.metas["visitstats-key"])
    assert same == article_key(site, "https://portal.vn/2023/05/so-ket/") == "/2023/05/so-ket"
    assert wordpress(site_embed(), singular=False)["head"] == ""


def test_wordpress_counts_no_preview_and_nothing_without_settings() -> None:
    told = wordpress(site_embed(), preview=True)
    assert (told["head"], told["footer"]) == ("", "")
    told = wordpress("")
    assert (told["head"], told["footer"], told["columns"]) == ("", "", {"title": "Title"})


def test_wordpress_shortcodes_are_places_and_nothing_else() -> None:
    told = {name: read(html) for name, html in wordpress(site_embed())["shortcodes"].items()}
    assert told["visitstats"].places == [{"data-vs-box": None}]
    assert told["visitstats_views"].places == [{"data-vs": "views"}]
    assert told["visitstats_views of"].places == [{"data-vs-views": "https://portal.vn/2023/05/so-ket/"}]
    assert told["visitstats_top"].places == [{"data-vs-top": '"><script>', "data-vs-limit": "5"}]
    assert {tag for place in told.values() for tag in place.tags} == {"div", "span", "ol"}


def test_the_column_of_wordpress_is_one_request(portal: Portal) -> None:
    """Behind the portal's own address, too; a draft is not asked for."""
    portal.answer("views", lambda sent: Answer({"views": {key: 1000 + len(key) for key in sent.fields["keys"]}}))
    told = wordpress(site_embed(), home=portal.origin + "/blog")
    assert told["columns"] == {"title": "Title", "visitstats": "Lượt xem"}
    (sent,) = portal.of("views")
    assert sent.path == "/vs/v1/sites/portal/views"
    assert sent.fields == {"keys": ["https://portal.vn/2023/05/so-ket/", "https://portal.vn/?p=13"]}
    assert told["list"] == {"12": "1.033", "13": "1.023", "14": "—"}


def test_the_column_of_wordpress_is_a_dash_while_the_service_is_away(portal: Portal) -> None:
    portal.answer("views", Answer({"error": "store-away"}, status=503))
    away = wordpress(site_embed(api=portal.origin))
    assert set(away["list"].values()) == {"—"}
    assert set(wordpress(site_embed(api="http://127.0.0.1:9"))["list"].values()) == {"—"}


@pytest.mark.parametrize(
    "pasted",
    [
        "<script>alert(1)</script>",
        """<script data-api="javascript:alert(1)" data-site="portal"></script>""",
        """<script data-api="/vs');alert(1)//" data-site="portal"></script>""",
        """<script data-api="/vs" data-site="a&quot;b"></script>""",
    ],
)
def test_wordpress_keeps_nothing_but_a_snippet(pasted: str) -> None:
    """Settings that are refused leave those before as they are."""
    told = wordpress(site_embed(), pasted=pasted)
    assert "visitstats site embed" in told["errors"][0]
    assert told["saved"] == site_embed()
    assert told["capability"] == "manage_options"
    assert wordpress(pasted)["footer"] == ""
    assert "script" not in read(wordpress(pasted)["form"]).tags


# ---- Joomla -----------------------------------------------------------------------------------------------------

ARTICLE = {"alias": "", "author": NASTY, "category": "Tin tức", "published": "2022-07-22 01:00:00"}
SHOWN = {"option": "com_content", "view": "article", "id": "12:ten-bai"}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_joomla_prints_what_was_pasted(asked: tuple[str, ...]) -> None:
    pasted = site_embed(*asked)
    told = run("joomla", {"pasted": pasted, "input": SHOWN, "article": ARTICLE})
    assert_same(read(told["content"]), read(pasted))
    assert read(told["content"]).places == [{"data-vs-box": None}]


def test_joomla_says_key_author_category_and_date_of_an_article() -> None:
    """The key is that of the preset, so that a portal with it keeps its counts. Joomla escapes what the head says."""
    told = run("joomla", {"pasted": site_embed(), "input": SHOWN, "article": ARTICLE})
    preset = Site(id="portal", hosts=("portal.vn",), preset=("joomla",))
    address = "https://portal.vn/index.php?option=com_content&view=article&id=12:ten-bai&catid=8"
    assert told["metas"] == [
        ["name", "visitstats-key", article_key(preset, address)],
        ["name", "author", NASTY],
        ["property", "article:section", "Tin tức"],
        ["property", "article:published_time", "2022-07-22T01:00:00+00:00"],
    ]
    assert len(told["queries"]) == 1
    assert "a.state = 1 AND a.id = 12" in told["queries"][0]
    changed = {"alias": "Ban biên tập", "published": None}
    named = run("joomla", {"pasted": site_embed(), "input": SHOWN, "article": ARTICLE | changed})
    assert ["name", "author", "Ban biên tập"] in named["metas"]
    assert len(named["metas"]) == 3


def test_joomla_says_nothing_of_pages_that_are_no_article() -> None:
    for shown, article in (
        ({**SHOWN, "view": "category"}, ARTICLE),
        ({**SHOWN, "option": "com_k2"}, ARTICLE),
        (SHOWN, 0),
    ):
        told = run("joomla", {"pasted": site_embed(), "input": shown, "article": article})
        assert told["metas"] == []
        assert read(told["content"]).attributes["site"] == "portal"
    assert run("joomla", {"pasted": "", "input": SHOWN, "article": ARTICLE})["content"] == ""


def test_the_manifest_of_joomla_names_what_is_in_the_folder() -> None:
    manifest = ElementTree.parse(JOOMLA / "mod_visitstats.xml").getroot()  # noqa: S314
    assert (manifest.tag, manifest.get("type"), manifest.get("client")) == ("extension", "module", "site")
    named = {str(each.text) for each in manifest.findall("files/*")}
    assert named == {each.name for each in JOOMLA.iterdir()} - {"mod_visitstats.xml"}
    (entry,) = manifest.findall("files/filename[@module='mod_visitstats']")
    assert entry.text == "mod_visitstats.php"
    (field,) = manifest.findall(".//field[@name='snippet']")
    assert field.get("filter") == "raw", "or Joomla takes the snippet away when it is saved"
    (cache,) = manifest.findall(".//field[@name='cache']")
    assert cache.get("default") == "0", "the key is that of each page"
    words = {
        word for field in manifest.iter("field") for word in (field.get("label"), field.get("description")) if word
    }
    words |= {str(manifest.findtext("name")).upper(), str(manifest.findtext("description"))}
    for language in ("en-GB", "vi-VN"):
        text = (JOOMLA / "language" / language / f"{language}.mod_visitstats.ini").read_text(encoding="utf-8")
        known = dict(re.findall(r'^([A-Z_]+)="([^"]+)"$', text, re.MULTILINE))
        assert {word for word in words if word.startswith("MOD_")} == set(known)


# ---- NukeViet ---------------------------------------------------------------------------------------------------

ROW = {
    "id": 2642,
    "catid": 8,
    "author": "Lê &quot;Hiếu&quot; &lt;script&gt; $1 \\1 [FOOTER] {TEMPLATE}",
    "publtime": "T6",
}


def nukeviet(snippet: str, **more: Any) -> dict[str, Any]:
    usual = {
        "pasted": snippet, "post": {"config_snippet": snippet}, "module": "news", "module_file": "news",
        "language": "vi", "row": ROW, "category": "Tin &amp; bài",
    }  # fmt: skip
    return run("nukeviet", usual | more)


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_nukeviet_prints_what_was_pasted(asked: tuple[str, ...]) -> None:
    pasted = site_embed(*asked)
    told = nukeviet(pasted)
    assert_same(read(told["content"]), read(pasted))
    assert read(told["content"]).places == [{"data-vs-box": None}]
    assert told["again"] == told["content"]
    assert told["submitted"]["error"] == []
    assert nukeviet(told["submitted"]["config"]["snippet"])["content"] == told["content"]


def test_nukeviet_takes_no_part_of_it_for_a_variable_or_a_place() -> None:
    """The page is put together by replacing [POSITION] and {VARIABLE}, and the head by a regular expression."""
    told = nukeviet(site_embed("--title", NASTY))
    opening = told["content"][: told["content"].index(">", told["content"].index("data-api"))]
    assert not set("$\\[]{}") & set(opening)
    assert not re.search(r"\{[A-Z]|\[[A-Z]", told["content"])


@pytest.mark.parametrize(
    ("language", "module", "address"),
    [("vi", "news", "/vi/news/Tin/so-ket-2642.html"), ("en", "news", "/en/news/News/half-year-2642.html"),
     ("vi", "thong-bao", "/vi/thong-bao/Chung/lich-hop-2642.html")],
)  # fmt: skip
def test_nukeviet_says_key_author_category_and_date_of_an_article(language: str, module: str, address: str) -> None:
    """The key is that of the preset, so that a portal with it keeps its counts. NukeViet keeps texts with entities."""
    told = nukeviet(site_embed(), language=language, module=module)
    assert told["head"].startswith("<head><meta ")
    head = read(told["head"])
    preset = Site(id="portal", hosts=("portal.vn",), preset=("nukeviet",))
    assert head.metas == {
        "visitstats-key": article_key(preset, "https://portal.vn" + address),
        "author": 'Lê "Hiếu" <script> $1 \\1 [FOOTER] {TEMPLATE}',
        "article:section": "Tin & bài",
        "article:published_time": "2022-07-22T08:00:00+07:00",
    }
    assert head.tags == ["head", *["meta"] * 4]


def test_the_settings_of_nukeviet_are_readable() -> None:
    """NukeViet reads the .ini as XML."""
    settings = ElementTree.parse(FOLDER / "nukeviet" / "global.visitstats.ini").getroot()  # noqa: S314
    assert [each.tag for each in settings] == ["info", "config", "datafunction", "submitfunction"]


def test_nukeviet_says_nothing_of_pages_that_are_no_article() -> None:
    assert nukeviet(site_embed(), row=None)["head"] == "<head></head>"
    assert nukeviet(site_embed(), module="about", module_file="page")["head"] == "<head></head>"
    refused = nukeviet("<script>alert(1)</script>")
    assert refused["content"] == ""
    assert refused["submitted"]["error"]
    assert "script" not in read(refused["form"]).tags
