"""What rules, alerts and dashboards ask for is what the service shows, in a real Prometheus after a real load."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Hit, crowd
from tests.collector import PROMETHEUS, Collector
from tests.driver import Service
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)  # a Prometheus and a service have to start

ROOT = Path(__file__).parents[2]
FILES = sorted([*PROMETHEUS.glob("visitstats-*.yml"), *(ROOT / "deploy" / "grafana").glob("en/*.json")])
TARGETS = {
    name: [
        target["expr"]
        for panel in json.loads((ROOT / "deploy" / "grafana" / "en" / f"{name}.json").read_text("utf-8"))["panels"]
        for target in panel.get("targets", ())
    ]
    for name in ("fleet", "portal", "service")
}


def load(service: Service) -> None:
    """Hits of several readers, some of them more than once, and some that are not counted."""

    async def send() -> None:
        connections = await service.connections()
        for n, visitor in enumerate(crowd(20, "board")):
            connection = connections[n % len(connections)]
            await connection.hit("t1", Hit(visitor, f"/a{n % 5}"))
            await connection.hit("t1", Hit(visitor, "/b"), {"user-agent": "Googlebot/2.1"})
            await connection.alive("t1", visitor)
        for connection in connections:
            connection.close()

    asyncio.run(send())


def scraped(service: Service) -> dict[str, set[str]]:
    """Metric → the labels of its samples."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(visitstats_\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        found.setdefault(name, {"job", "instance"}).update(re.findall(r'(\w+)="', labels or ""))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_metric_and_label_that_is_asked_for_is_in_a_scrape(service: Service, path: Path) -> None:
    """Of a series that comes with its event alone no alert would ever fire."""
    text = path.read_text(encoding="utf-8").replace('\\"', '"')
    text = re.sub(r"#.*|exp_\w+:.*|visitstats_docs", "", text)
    first = {"visitstats_online", "visitstats_hits_total", "visitstats_task_last_success_timestamp_seconds"}
    wait_until(lambda: first <= scraped(service).keys(), "the workers know the site, and have done a task", 30)
    # These are there while there is something to tell.
    told = scraped(service) | {
        "visitstats_store_lacks_hits": {"host", "job", "instance"},
        "visitstats_verify_problems": {"job", "instance"},
    }
    asked = re.findall(r"(?<![:\w])(visitstats_[a-z0-9_]+)(\{[^}]*\})?", text)
    assert asked
    for name, selectors in asked:
        assert name in told, name
        assert set(re.findall(r'(\w+)(?:=~|!=|!~|=)"', selectors)) <= told[name], name + selectors


@pytest.fixture(scope="module")
def collector(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    found = Collector(tmp_path_factory.mktemp("prometheus"), service)
    try:
        wait_until(lambda: found.ask("count_over_time(up[1m]) > 1"), "it has scraped", 30)
        load(service)
        wait_until(lambda: found.ask("increase(visitstats_hits_total[1m]) > 0"), "it has seen the load", 30)
        yield found
    finally:
        found.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_no_panel_of_a_board_is_empty(collector: Collector, name: str) -> None:
    for query in TARGETS[name]:
        for variable, value in (("$__rate_interval", "1m"), ("$job", ".*"), ("$instance", ".*"), ("$site", ".*")):
            query = query.replace(variable, value)
        collector.wait_for(query)


def test_recorded_series_are_there_and_no_alert_fires_of_a_service_that_is_well(collector: Collector) -> None:
    recorded = re.findall(r"record: (\S+)", (PROMETHEUS / "visitstats-rules.yml").read_text("utf-8"))
    for name in recorded:
        collector.wait_for(name)
    assert collector.firing() == set()


def test_prometheus_shows_what_was_sent(collector: Collector, service: Service) -> None:
    """Visits and hits of a site, also of several workers."""
    expected = {name: _sample(service, f'visitstats_visits{{period="total",site="{name}"}}') for name in ("t1",)}

    def same() -> bool:
        found = collector.ask('max by (site) (visitstats_visits{period="total"})')
        shown = {each["metric"]["site"]: float(each["value"][1]) for each in found}
        return all(shown.get(site) == n for site, n in expected.items())

    wait_until(same, "the total is the service's", 15)
    assert expected["t1"] >= 20


def _sample(service: Service, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return float(re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[0])


def test_doctor_looks_from_outside_at_a_real_service(service: Service) -> None:
    """Without a proxy readers reach more than they need, which is a warning and no fault."""
    found = json.loads(
        service.cli("doctor", "--url", f"http://127.0.0.1:{service.port}", "--site", "t1", "--page", "/no", "--json")
    )
    assert found["ok"]
    rows = {row["check"]: row["status"] for row in found["checks"]}
    assert rows == {
        "reach": "ok", "widget": "ok", "compression": "ok", "clock": "ok", "cors": "ok", "numbers": "ok",
        "hidden": "warn", "policy": "ok",
    }  # fmt: skip
