"""`make release` makes all that is published from what is committed; its wheel runs by itself, offline."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest

from scripts import release
from tests.ports import free_port
from tests.waiting import wait_until
from visitstats import __version__

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone: nothing is committed here"),
    pytest.mark.timeout(300),
]


class Made(NamedTuple):
    tree: Path
    folder: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A release of the files as they are here, in a clone."""
    tree = tmp_path_factory.mktemp("release") / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True,
        text=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/", "docs/images/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    change = (tree / "CHANGELOG.md").read_text("utf-8")
    if f"\n## [{__version__}]" not in change:
        (tree / "CHANGELOG.md").write_text(f"{change}\n## [{__version__}]\n", encoding="utf-8")
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "-c", "user.name=a", "-c", "user.email=a@example.vn", "commit", "-qm", "One")
    return Made(tree, release.main(tree, images=False))


def git(tree: Path, *command: str) -> None:
    subprocess.run(["git", *command], cwd=tree, check=True, capture_output=True)


def test_all_parts_are_there_with_their_sums(made: Made) -> None:
    names = {path.name for path in made.folder.iterdir()}
    assert names == {
        f"visitstats-{__version__}-py3-none-any.whl", f"visitstats-{__version__}.tar.gz", f"widget-{__version__}.js",
        f"widget-{__version__}.txt", "sbom.cdx.json", "SHA256SUMS",
    }  # fmt: skip
    lines = (made.folder / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: known for known, _, name in (line.partition("  ") for line in lines)}
    assert sums.keys() == names - {"SHA256SUMS"}
    for name, known in sums.items():
        assert hashlib.sha256((made.folder / name).read_bytes()).hexdigest() == known
    [integrity] = re.findall(
        r'integrity="sha384-(.+?)"', (made.folder / f"widget-{__version__}.txt").read_text("utf-8")
    )
    widget = (made.folder / f"widget-{__version__}.js").read_bytes()
    assert base64.b64encode(hashlib.sha384(widget).digest()).decode() == integrity


def test_the_list_of_parts_is_what_the_wheel_needs(made: Made) -> None:
    found: dict[str, Any] = json.loads((made.folder / "sbom.cdx.json").read_text("utf-8"))
    names = {each["name"]: each["version"] for each in found["components"]}
    assert {"redis", "hiredis", "uvicorn", "starlette", "msgspec"} <= names.keys()
    assert "pytest" not in names
    pins = (ROOT / "requirements" / "runtime.txt").read_text("utf-8")
    assert f"\nredis=={names['redis']} " in pins
    refs = {each["bom-ref"] for each in found["components"]}
    assert {each for row in found["dependencies"] for each in row["dependsOn"]} <= refs


def test_nothing_that_is_not_committed_gets_in_and_the_same_commit_makes_the_same_wheel(made: Made) -> None:
    wheel = made.folder / f"visitstats-{__version__}-py3-none-any.whl"
    before = wheel.read_bytes()
    stray = made.tree / "src" / "visitstats" / "stray.py"
    stray.write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="not clean"):
        release.main(made.tree, images=False)
    stray.unlink()
    (made.tree / ".gitignore").write_text((made.tree / ".gitignore").read_text("utf-8"), encoding="utf-8")
    release.main(made.tree, images=False)
    assert wheel.read_bytes() == before
    with tarfile.open(made.folder / f"visitstats-{__version__}.tar.gz") as packed:
        assert not [name for name in packed.getnames() if "stray" in name]


def test_a_version_of_which_the_changelog_says_nothing_is_refused(made: Made, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(made.tree), str(tmp_path / "t")], check=True)
    tree = tmp_path / "t"
    path = tree / "src" / "visitstats" / "__init__.py"
    path.write_text(path.read_text("utf-8").replace(__version__, "9.9.9"), encoding="utf-8")
    git(tree, "-c", "user.name=a", "-c", "user.email=a@example.vn", "commit", "-qam", "Two")
    with pytest.raises(SystemExit, match=re.escape("no section [9.9.9]")):
        release.main(tree, images=False)


@pytest.fixture
def installed(made: Made, tmp_path: Path) -> Path:
    """An environment with the wheel alone; what it needs is found where the tests find it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "v")], check=True)
    [packages] = (tmp_path / "v" / "lib").glob("python3*/site-packages")
    with zipfile.ZipFile(made.folder / f"visitstats-{__version__}-py3-none-any.whl") as wheel:
        wheel.extractall(packages)  # noqa: S202 - it is ours
    others = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "others.pth").write_text(others + "\n", encoding="utf-8")
    return tmp_path / "v" / "bin" / "python"


def test_the_wheel_runs_the_demo_by_itself(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VISITSTATS_", "PYTHON"))}
    command = [str(installed), "-c", "import sys; from visitstats.cli import main; sys.exit(main())"]
    told = subprocess.run(
        [str(installed), "-c", "import visitstats; print(visitstats.__file__)"], env=kept, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert told.startswith(str(tmp_path))
    with (tmp_path / "log").open("wb") as log:
        demo = subprocess.Popen(
            [*command, "demo", "--port", str(port), "--data-dir", str(tmp_path / "data")], env=kept, cwd=tmp_path,
            stdout=log, stderr=log,
        )  # fmt: skip
    try:

        def page(path: str) -> bytes:
            try:
                with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    body: bytes = answer.read()
                    return body
            except OSError:
                return b""

        def shown() -> bool:
            assert demo.poll() is None, (tmp_path / "log").read_text("utf-8")
            return b"<html" in page("/demo/")

        wait_until(shown, "the demo is served", 60)
        assert page("/widget.js") == (ROOT / "src/visitstats/web/static/widget.js").read_bytes()
        assert json.loads(page("/v1/sites/demo/stats"))["total"] > 0
    finally:
        demo.terminate()
        demo.wait(30)
