"""The user control for ASP.NET, SharePoint and DNN: Mono's ASP.NET compiles it and renders pages with it."""

from __future__ import annotations

import shutil
import subprocess
from html import escape
from pathlib import Path
from xml.etree import ElementTree  # our own files

import pytest

from tests.integrations.snippets import ASKED, FOLDER, NASTY, Printed, assert_same, read, site_embed

HERE = Path(__file__).parent
CONTROL = FOLDER / "aspnet" / "Visitstats.ascx"
SYSTEM_WEB = Path("/usr/lib/mono/4.5/System.Web.dll")
needs_mono = pytest.mark.skipif(
    not (shutil.which("mcs") and shutil.which("mono") and SYSTEM_WEB.exists()),
    reason="no Mono: install mono-mcs and libmono-system-web4.0-cil to test the control for ASP.NET",
)
# Only the assemblies that a portal surely has, which also means: not those that Debian packages apart.
KEY, WEB_KEY = "b77a5c561934e089", "b03f5f7f11d50a3a"
CONFIGURATION = f"""<configuration><system.web><compilation defaultLanguage="C#"><assemblies><clear/>
<add assembly="mscorlib"/>
<add assembly="System, Version=4.0.0.0, Culture=neutral, PublicKeyToken={KEY}"/>
<add assembly="System.Core, Version=4.0.0.0, Culture=neutral, PublicKeyToken={KEY}"/>
<add assembly="System.Web, Version=4.0.0.0, Culture=neutral, PublicKeyToken={WEB_KEY}"/>
</assemblies></compilation><globalization fileEncoding="utf-8"/></system.web></configuration>"""


def page(controls: str, *, head: str = '<head runat="server"><title>x</title></head>', first: str = "") -> str:
    return (
        f'<%@ Page Language="C#" %>\n{first}<%@ Register TagPrefix="vs" TagName="Counter" Src="Visitstats.ascx" %>\n'
        f"<html>{head}<body>{controls}</body></html>"
    )


def control(**properties: str) -> str:
    said = "".join(f' {name}="{escape(value)}"' for name, value in properties.items())
    return f'<vs:Counter runat="server"{said} />'


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A web application with the control in it."""
    folder = tmp_path_factory.mktemp("aspnet")
    (folder / "bin").mkdir()
    for source, options in (("Host.cs", ["-r:System.Web"]), ("SharePoint.cs", ["-target:library"])):
        made = "Host.exe" if source == "Host.cs" else "Microsoft.SharePoint.dll"
        subprocess.run(["mcs", *options, f"-out:{folder / 'bin' / made}", str(HERE / source)], check=True, timeout=60)
    shutil.copy(folder / "bin" / "Host.exe", folder)
    shutil.copy(CONTROL, folder)
    (folder / "web.config").write_text(CONFIGURATION, encoding="utf-8")
    return folder


def rendered(portal: Path, *pages: str) -> list[Printed]:
    names = [f"page{number}.aspx" for number in range(len(pages))]
    for name, text in zip(names, pages, strict=True):
        (portal / name).write_text(text, encoding="utf-8")
    command = ["mono", str(portal / "Host.exe"), str(portal), *names]
    done = subprocess.run(command, cwd=portal, capture_output=True, text=True, timeout=120)
    answers = done.stdout.split("\f")[:-1]
    assert len(answers) == len(pages), done.stdout + done.stderr
    assert [answer for answer in answers if "Error 500" in answer] == []
    return [read(answer) for answer in answers]


def only_ours(found: Printed) -> Printed:
    """Without the tags of the page around."""
    found.tags = [tag for tag in found.tags if tag not in ("html", "head", "title", "body")]
    return found


@needs_mono
def test_the_control_prints_what_the_command_prints(portal: Path) -> None:
    """Its options are pasted from what the command prints, with the values escaped once more for the page."""
    printed = [site_embed(*asked) for asked in ASKED.values()]
    made = rendered(portal, *(page(control(Api="/vs/", SiteId="portal", Options=text)) for text in printed))
    for found, text in zip(made, printed, strict=True):
        assert_same(only_ours(found), read(text))


@needs_mono
def test_the_control_says_key_author_category_and_date(portal: Path) -> None:
    said = {"Key": f"news:{NASTY}", "Author": NASTY, "Category": NASTY, "Published": "2022-07-22"}
    counter = control(Api="/vs", SiteId="portal", **said)
    list_item = control(ViewsOf=f"/a?b=1&c={NASTY}")
    # What is asked for by name only, in SharePoint's own assembly.
    sharepoint = control(Api="/vs", SiteId="portal", FromSharePoint="true", CategoryField="ChuyenMuc")
    plain, headless, item, wrong, elsewhere = rendered(
        portal,
        page(counter + list_item),
        page(counter, head="<head><title>x</title></head>"),
        page(sharepoint, first='<%@ Assembly Name="Microsoft.SharePoint" %>'),
        page(control(Api="/vs');alert(1)//", SiteId="portal") + control(Api="/vs", SiteId='"><b>')),
        page(control(Api="/vs", SiteId="portal", FromSharePoint="true", Author="An")),
    )
    assert plain.metas == {
        "visitstats-key": f"news:{NASTY}",
        "author": NASTY,
        "article:section": NASTY,
        "article:published_time": "2022-07-22",
    }
    assert plain.places == [{"data-vs-views": f"/a?b=1&c={NASTY}"}]
    assert "key" not in plain.attributes
    assert headless.attributes["key"] == f"news:{NASTY}"
    assert headless.metas == {}
    assert item.metas == {
        "author": "Lê Hiếu <b>",
        "article:section": "Tin tức",
        "article:published_time": "2022-07-22T08:00:00",
    }
    assert only_ours(wrong).tags == []
    assert elsewhere.metas["author"] == "An"


def test_the_manifest_of_dnn_names_what_is_in_the_package() -> None:
    """The package is the manifest with the control beside it."""
    manifest = ElementTree.parse(FOLDER / "dnn" / "visitstats.dnn").getroot()  # noqa: S314
    package = manifest.find("packages/package")
    assert package is not None
    assert (manifest.get("type"), package.get("type")) == ("Package", "SkinObject")
    folder, name = package.findtext(".//basePath", ""), package.findtext(".//file/name")
    assert name == CONTROL.name
    assert package.findtext(".//controlSrc") == f"{folder}/{name}".replace("\\", "/")
    assert package.findtext(".//controlKey") == "VISITSTATS"
    assert {str(each.get("type")) for each in package.findall("components/component")} == {"SkinObject", "File"}
