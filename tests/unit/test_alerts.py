"""The rules, alerts and dashboards in deploy/ are right in themselves; `tests/web/test_prometheus.py` runs them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROMETHEUS, GRAFANA = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana"
ALERTS = (PROMETHEUS / "visitstats-alerts.yml").read_text(encoding="utf-8")
TESTS = (PROMETHEUS / "visitstats-alerts.test.yml").read_text(encoding="utf-8")
RUNBOOKS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
NAMES = re.findall(r"- alert: (\w+)", ALERTS)
BOARDS = sorted(GRAFANA.glob("*/*.json"))


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}")
    return found


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("boards", GRAFANA / "boards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configuration_and_its_rules_are_valid() -> None:
    """Debian's Prometheus cannot find pods, so of that example everything else is checked."""
    promtool = tool("promtool")
    run(promtool, "check", "config", "prometheus.yml")
    for each in ("token", "several-hosts", "compose"):
        run(promtool, "check", "config", "--syntax-only", f"examples/{each}.yml")


def test_the_example_for_kubernetes_is_valid(tmp_path: Path) -> None:
    text = (PROMETHEUS / "examples" / "kubernetes.yml").read_text(encoding="utf-8")
    found = "kubernetes_sd_configs: [{role: pod}]"
    assert found in text
    (tmp_path / "k.yml").write_text(text.replace(found, 'static_configs: [{targets: ["a:1"]}]'), encoding="utf-8")
    run(tool("promtool"), "check", "config", "--syntax-only", str(tmp_path / "k.yml"))


@pytest.mark.timeout(300)  # four seconds, on a machine that does nothing else
def test_each_alert_fires_when_it_ought_to_and_not_otherwise() -> None:
    run(tool("promtool"), "test", "rules", "visitstats-alerts.test.yml")


def test_each_alert_has_a_test_for_firing_and_one_for_silence() -> None:
    for name in NAMES:
        assert f"name: {name} fires\n" in TESTS
        assert f"name: {name} is silent\n" in TESTS
        fires, silent = (TESTS.partition(f"name: {name} {kind}\n")[2].partition("- name:")[0] for kind in KINDS)
        assert "exp_labels" in fires
        assert "exp_alerts: []" in silent


KINDS = ("fires", "is silent")


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_severity_texts_and_a_section_that_says_what_to_do(name: str) -> None:
    alert = ALERTS.partition(f"- alert: {name}\n")[2].partition("- alert:")[0]
    assert re.search(r"severity: (critical|warning|info)\b", alert)
    assert "{{" not in re.findall(r"summary: (.+)", alert)[0], "a summary is the same for all"
    assert re.search(r'description: "\S.+\.?"', alert)
    assert f'runbook_url: "{{{{ $externalLabels.visitstats_docs }}}}/operations.md#{name.lower()}"' in alert
    section = RUNBOOKS.partition(f"### {name}\n")[2].partition("\n#")[0]
    assert [
        word for word in ("Means", "Harm", "Look at", "Do") if f"**{word}.**" not in section.replace("\n", " ")
    ] == []


def test_no_section_is_of_an_alert_that_there_is_not() -> None:
    assert re.findall(r"^### (Visitstats\w+)", RUNBOOKS, re.MULTILINE) == sorted(
        NAMES, key=lambda name: RUNBOOKS.index(f"### {name}\n")
    )


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "on-call"), ("warning", "office"), ("info", "office")])
def test_alerts_reach_who_has_to_know(severity: str, receiver: str) -> None:
    amtool = tool("amtool")
    run(amtool, "check-config", "alertmanager.yml")
    labels = (f"severity={severity}", "alertname=VisitstatsDown", "job=visitstats")
    told = run(amtool, "config", "routes", "test", "--config.file=alertmanager.yml", *labels)
    assert told.split() == [receiver]


def test_boards_and_recording_rules_are_what_the_script_makes() -> None:
    stale = [str(path) for path, text in generator().files().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run python3 deploy/grafana/boards.py"
    assert len(BOARDS) == 6


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_board_is_complete(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["uid"] == f"visitstats-{path.stem}-{path.parent.name}"
    assert board["title"]
    assert board["description"]
    assert [each["name"] for each in board["templating"]["list"]] == ["datasource", "job", "instance", "site"]
    taken: set[tuple[int, int]] = set()
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, f"{panel['title']} overlaps another"
        taken |= cells
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"]
        for target in panel["targets"]:
            query = target["expr"]
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\[(.+?)\]", query)) <= {"$__rate_interval", "1h"}
            assert not re.search(r"@|\[~|[a-z]:visitstats", query), query
            metrics = re.findall(r"visitstats_\w+(\{.*?\})?", query)
            assert metrics
            assert all('job=~"$job"' in selectors for selectors in metrics), query
    assert path.parent.name != "vi" or any(ord(letter) > 127 for letter in board["description"])
