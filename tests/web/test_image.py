"""The image of deploy/Dockerfile, built and run for real, where buildah and mmdebstrap are (Debian: both are packages).

The image that it starts from cannot be had on every machine: one of the same name is made from Debian's packages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.client import BROWSERS
from tests.driver import children_of
from tests.ports import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
NEEDED = ("buildah", "mmdebstrap")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, NEEDED)),
        reason="the image is NOT BUILT: that needs root, buildah and mmdebstrap (Debian: apt install both)",
    ),
]


class Buildah:
    """buildah with storage of the test's own; it runs in a chroot, because a container in a container is refused."""

    def __init__(self, folder: Path) -> None:
        self._options = ("--storage-driver", "vfs", "--root", f"{folder}/storage", "--runroot", f"{folder}/run")

    def command(self, *arguments: str) -> list[str]:
        return ["buildah", *self._options, *arguments]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(self.command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"buildah {arguments[0]}:\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()


def make_base(folder: Path, buildah: Buildah) -> None:
    """Make python:3.11-slim of Debian's packages, with this machine's certificates and pip's settings."""
    packages, root = "python3,python3-venv,python3-pip", folder / "base.tar"
    made = subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), *sources()],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    settings = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    found = dict(
        line.partition(".")[2].split("=", 1) for line in settings.stdout.replace(":env:.", "env.").splitlines()
    )
    said = "".join(f"{name} = {value.strip(chr(39))}\n" for name, value in found.items())
    (folder / "pip.conf").write_text(f"[global]\n{said}", encoding="utf-8")
    container = buildah("from", "scratch")
    buildah("add", container, str(root), "/")
    buildah("copy", container, str(folder / "pip.conf"), "/etc/pip.conf")
    if CERTIFICATES.exists():
        buildah("copy", container, str(CERTIFICATES), str(CERTIFICATES))
    buildah("run", "--isolation", "chroot", container, "ln", "-s", "python3", "/usr/bin/python")
    buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", container)
    buildah("commit", "--rm", container, "docker.io/library/python:3.11-slim")


def sources() -> list[str]:
    """Where this machine gets Debian's packages; nothing where mmdebstrap's own is right."""
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("debian.sources")]
    return [str(place) for place in places if place.exists()][:1]


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """buildah with the image in it, as the head of the Dockerfile says that it is built."""
    folder = tmp_path_factory.mktemp("image")
    buildah = Buildah(folder)
    make_base(folder, buildah)
    buildah("bud", "--isolation", "chroot", "--pull-never", "-f", "deploy/Dockerfile", "-t", "visitstats", ".")
    yield buildah
    buildah("rmi", "--all", "--force")
    shutil.rmtree(folder, ignore_errors=True)  # half a gigabyte, of which some is not this user's


def test_it_runs_without_rights_and_keeps_its_numbers_on_the_volume(buildah: Buildah, tmp_path: Path) -> None:
    """A hit is counted, and there after the container has been made anew."""
    health = json.loads(re.findall(r"HEALTHCHECK .*?CMD (\[.+?\])\n", DOCKERFILE, re.DOTALL)[0])
    about = json.loads(buildah("inspect", "--type", "image", "visitstats"))["OCIv1"]
    assert about["config"]["User"] == "10001:10001"
    assert about["config"]["Labels"]["org.opencontainers.image.title"] == "visitstats"
    volume, port = tmp_path / "volume", free_port()
    volume.mkdir()
    os.chown(volume, 10001, 10001)
    for wanted, browser in enumerate(BROWSERS[:2], start=1):
        container = buildah("from", "--pull-never", "visitstats")
        within = ("run", "--isolation", "chroot", "--volume", f"{volume}:/var/lib/visitstats", "--env",
                  f"VISITSTATS_PORT={port}", container)  # fmt: skip
        service = subprocess.Popen(buildah.command(*within, "visitstats", "serve"), start_new_session=True)
        try:
            wait_until(lambda: answers(port), "the service in the container answers", 60)
            if wanted == 1:
                buildah(*within, "visitstats", "site", "add", "portal", "--host", "portal.example.vn")
                wait_until(lambda: total_after_hit(port, BROWSERS[0]) == 1, "the site is known")
            assert total_after_hit(port, browser) == wanted
            assert {path.stat().st_uid for path in volume.iterdir()} == {10001}
            buildah(*within, *health)
        finally:
            own = [
                pid for pid, said in children_of(service.pid).items() if said.startswith("/opt/visitstats/bin/python")
            ]
            os.kill(min(own), signal.SIGTERM)  # to the supervisor, as an engine does
            assert service.wait(60) == 0
            buildah("rm", container)


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def total_after_hit(port: int, browser: str) -> int:
    """Visitors of all time after a hit of this browser; -1 while the site is not known."""
    body = b'{"u":"http://portal.example.vn/a"}'
    headers = {"User-Agent": browser, "Content-Type": "text/plain"}
    request = Request(f"http://127.0.0.1:{port}/v1/sites/portal/hit", body, headers)
    try:
        with urlopen(request, timeout=10) as answer:
            return int(json.load(answer)["total"])
    except OSError:
        return -1
