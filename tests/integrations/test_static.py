"""Includes for static sites: Hugo builds a site with one, Liquid renders the other as Jekyll and Eleventy do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.node import needs_node, node
from tests.integrations.snippets import ASKED, FOLDER, NASTY, Printed, assert_same, read, site_embed

PARTIAL = FOLDER / "hugo" / "visitstats.html"
HUGO = shutil.which("hugo") or ""
METAS = {
    "visitstats-key": "tin:7",
    "author": NASTY,
    "article:section": NASTY,
    "article:published_time": "2022-07-22T08:00:00+07:00",
}


def options(printed: Printed) -> dict[str, str]:
    return {name: value for name, value in printed.attributes.items() if name not in ("api", "site")}


@pytest.mark.skipif(not HUGO, reason="no hugo: install the package hugo to test its partial")
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_a_site_of_hugo_has_the_snippet_and_the_metas(asked: tuple[str, ...], tmp_path: Path) -> None:
    printed = read(site_embed(*asked))
    said = {"api": "/vs/", "site": "portal", "options": options(printed)}
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"baseURL": "https://portal.vn/", "params": {"visitstats": said}, "disableHugoGeneratorInject": True}
        )
    )
    layouts = tmp_path / "layouts"
    (layouts / "partials").mkdir(parents=True)
    (layouts / "_default").mkdir()
    shutil.copy(PARTIAL, layouts / "partials")
    page = (
        '<html><head>{{ partial "visitstats.html" (dict "page" . "part" "head") }}</head>'
        '<body>{{ partial "visitstats.html" (dict "page" . "part" "snippet") }}</body></html>'
    )
    for name in ("single", "list"):
        (layouts / "_default" / f"{name}.html").write_text(page)
    (tmp_path / "content").mkdir()
    front = {"author": NASTY, "categories": [NASTY], "date": METAS["article:published_time"], "visitstats_key": "tin:7"}
    (tmp_path / "content" / "a.md").write_text(json.dumps(front) + "\n\nNội dung\n", encoding="utf-8")
    command = [HUGO, "--quiet", "--disableKinds", "taxonomy,term,sitemap,RSS"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    article = read((tmp_path / "public" / "a" / "index.html").read_text(encoding="utf-8"))
    home = read((tmp_path / "public" / "index.html").read_text(encoding="utf-8"))
    assert (article.metas, home.metas) == (METAS, {})
    for found in (article, home):
        assert [tag for tag in found.tags if tag not in ("html", "head", "body", "meta")] == printed.tags
        found.tags = printed.tags
        assert_same(found, printed)


@pytest.mark.skipif(not HUGO, reason="no hugo: install the package hugo to test its partial")
def test_hugo_refuses_an_address_that_would_be_code(tmp_path: Path) -> None:
    said = {"api": "/vs');alert(1)//", "site": "portal"}
    (tmp_path / "config.json").write_text(json.dumps({"baseURL": "https://portal.vn/", "params": {"visitstats": said}}))
    (tmp_path / "layouts" / "partials").mkdir(parents=True)
    shutil.copy(PARTIAL, tmp_path / "layouts" / "partials")
    (tmp_path / "layouts" / "index.html").write_text('{{ partial "visitstats.html" (dict "page" . "part" "snippet") }}')
    done = subprocess.run([HUGO], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "visitstats: api is /vs or https://" in done.stdout + done.stderr


@needs_node
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_jekyll_and_eleventy_have_the_snippet_and_the_metas(asked: tuple[str, ...]) -> None:
    printed = read(site_embed(*asked))
    said = {"api": "/vs", "site": "portal", "options": options(printed)}
    page = {
        "author": NASTY, "categories": [NASTY], "date": METAS["article:published_time"], "visitstats_key": "tin:7",
    }  # fmt: skip
    told: dict[str, Any] = node("liquid.mjs", {"folder": str(FOLDER / "liquid"), "said": said, "page": page})
    for system in ("jekyll", "eleventy"):
        assert_same(read(told[system]["snippet"]), printed)
        head = read(told[system]["head"])
        moment = head.metas.pop("article:published_time")
        assert head.metas == {name: value for name, value in METAS.items() if name != "article:published_time"}
        assert moment.startswith("2022-07-22T")


@needs_node
def test_a_page_without_front_matter_says_nothing() -> None:
    """Eleventy knows a date of every file: that is not when an article was published."""
    said = {"api": "/vs", "site": "portal"}
    told = node("liquid.mjs", {"folder": str(FOLDER / "liquid"), "said": said, "page": {}})
    assert told["jekyll"]["head"].strip() == told["eleventy"]["head"].strip() == ""
    assert read(told["jekyll"]["snippet"]).attributes == {"api": "/vs", "site": "portal"}
