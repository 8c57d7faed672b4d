"""make release: everything that is published of a version, in dist/VERSION, from what is committed and nothing else.

    wheel, sdist          built from an export of the commit, dated by it: twice the same bytes
    widget-VERSION.js     with its Subresource Integrity in widget-VERSION.txt
    sbom.cdx.json         CycloneDX 1.5: every package that the wheel needs, in the versions of requirements/runtime.txt
    image                 visitstats-VERSION.tar, where docker, podman or buildah is there; else that is said
    SHA256SUMS            of all of them

It refuses a tree that is not clean, and a version of which CHANGELOG.md says nothing.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENGINES = ("docker", "podman", "buildah")
BUILD = "import setuptools.build_meta as b, sys; to = sys.argv[1]; b.build_sdist(to); b.build_wheel(to)"


def main(root: Path, images: bool = True) -> Path:
    """Make a release of the tree at `root`, and return its folder. Ends with a line when it must not."""
    if git(root, "status", "--porcelain"):
        sys.exit("release: the tree is not clean; commit or stash what is in it")
    found = re.search(r'__version__ = "(.+)"', (root / "src/visitstats/__init__.py").read_text("utf-8"))
    of = found[1] if found else ""
    if f"\n## [{of}]" not in (root / "CHANGELOG.md").read_text("utf-8"):
        sys.exit(f"release: CHANGELOG.md has no section [{of}]")
    folder = root / "dist" / of
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    moment = git(root, "log", "-1", "--format=%ct")
    with tempfile.TemporaryDirectory() as made:
        tree = Path(made)
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=root, check=True, capture_output=True).stdout
        (tree / "tree.tar").write_bytes(archive)
        with tarfile.open(tree / "tree.tar") as packed:
            packed.extractall(tree / "source", filter="data")
        source = tree / "source"
        environ = {**os.environ, "SOURCE_DATE_EPOCH": moment}
        subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=source, env=environ, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        widget(source, folder, of)
        (folder / "sbom.cdx.json").write_text(json.dumps(sbom(source, of), indent=1) + "\n", encoding="utf-8")
        if images:
            image(source, folder, of)
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())
    )
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
    return folder


def git(root: Path, *command: str) -> str:
    """Ask git."""
    done = subprocess.run(["git", *command], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def widget(source: Path, folder: Path, of: str) -> None:
    """Copy the widget, and say its integrity."""
    static = source / "src/visitstats/web/static"
    data = (static / "widget.js").read_bytes()
    integrity = "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode()
    if json.loads((static / "widget.json").read_text("utf-8"))["integrity"] != integrity:
        sys.exit("release: widget.json is not of this widget.js; run make widget")
    (folder / f"widget-{of}.js").write_bytes(data)
    (folder / f"widget-{of}.txt").write_text(
        f'<script async src="…/widget-{of}.js" integrity="{integrity}" crossorigin="anonymous" data-site="…"></script>'
        "\n",
        encoding="utf-8",
    )


def sbom(source: Path, of: str) -> dict[str, Any]:
    """Return the packages that the wheel needs, all that those need, and their versions and licences."""
    text = (source / "requirements" / "runtime.txt").read_text("utf-8")
    pins: dict[str, str] = {
        canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)
    }
    todo, needs = list(requirements("visitstats")), dict[str, list[str]]()
    while todo:
        name = todo.pop()
        if name not in needs:
            needs[name] = list(requirements(name))
            todo += needs[name]
    components = [component(name, pins.get(name) or version(name)) for name in sorted(needs)]
    refs: dict[str, str] = {each["name"]: each["bom-ref"] for each in components}
    own = {"type": "application", "bom-ref": f"pkg:pypi/visitstats@{of}", "name": "visitstats", "version": of,
           "licenses": [{"expression": "MIT"}], "purl": f"pkg:pypi/visitstats@{of}"}  # fmt: skip
    edges = [{"ref": own["bom-ref"], "dependsOn": sorted(refs[name] for name in requirements("visitstats"))}]
    edges += [{"ref": refs[name], "dependsOn": sorted(refs[each] for each in found)} for name, found in needs.items()]
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": own},
        "components": components, "dependencies": edges,
    }  # fmt: skip


def requirements(name: str) -> set[str]:
    """Return what a package needs here, with the extras that are asked for."""
    found = set[str]()
    todo = [(name, "")]
    while todo:
        package, extra = todo.pop()
        for text in requires(package) or []:
            each = Requirement(text)
            asked = each.marker is None or each.marker.evaluate({"extra": extra})
            if not asked or (extra and "extra" not in str(each.marker)):
                continue
            needed = canonicalize_name(each.name)
            try:
                version(needed)
            except PackageNotFoundError:
                continue  # of another Python or system
            if package == name and not extra:
                todo += [(needed, more) for more in each.extras]
            found.add(needed)
    return found


def component(name: str, of: str) -> dict[str, Any]:
    """Describe a package."""
    about: Any = metadata(name)
    licence = about.get("License-Expression") or (about.get("License") or "").partition("\n")[0][:80]
    purl = f"pkg:pypi/{name}@{of}"
    found: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": of, "purl": purl}
    if licence:
        found["licenses"] = [{"license": {"name": licence}}]
    return found


def image(source: Path, folder: Path, of: str) -> None:
    """Build the image with what there is."""
    engine = next(filter(shutil.which, ENGINES), None)
    if engine is None:
        print(f"release: no image: none of {', '.join(ENGINES)} is here", file=sys.stderr)
        return
    name, path = f"visitstats:{of}", folder / f"visitstats-{of}.tar"
    build = ["bud"] if engine == "buildah" else ["build"]
    subprocess.run(
        [engine, *build, "-f", "deploy/Dockerfile", "-t", name, "--build-arg", f"VERSION={of}", "."],
        cwd=source,
        check=True,
    )
    save = ["push", name, f"docker-archive:{path}:{name}"] if engine == "buildah" else ["save", "-o", str(path), name]
    subprocess.run([engine, *save], check=True)


if __name__ == "__main__":
    print(main(Path(__file__).resolve().parents[1]))
