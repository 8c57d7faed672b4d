"""A real Prometheus with the rules of deploy/, which scrapes a service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.driver import Service
from tests.ports import free_port
from tests.waiting import wait_until

PROMETHEUS = Path(__file__).parents[1] / "deploy" / "prometheus"


class Collector:
    """Prometheus as a process of its own, which scrapes every so many `seconds`. With `faster` all spans of the rules
    are so many times as short: with 60 `for: 5m` is five seconds."""

    def __init__(self, folder: Path, service: Service, *, seconds: int = 1, faster: int = 1) -> None:
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("there is no prometheus")
        self.port = free_port()
        for path in PROMETHEUS.glob("visitstats-*.yml"):
            text = path.read_text(encoding="utf-8")
            if faster > 1:
                text = re.sub(r"(?<=for: )\w+|(?<=\[)\w+(?=\])", lambda span: shorter(span[0], faster), text)
            (folder / path.name).write_text(text, encoding="utf-8")
        config = (PROMETHEUS / "prometheus.yml").read_text("utf-8").replace("9401", str(service.metrics_port))
        config = re.sub(r"(?ms)^alerting:.*?\n\n", "", config.replace("_interval: 15s", f"_interval: {seconds}s"))
        (folder / "prometheus.yml").write_text(config, encoding="utf-8")
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            cwd=folder, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def ask(self, query: str) -> list[dict[str, Any]]:
        parameters = urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{parameters}", timeout=5) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                return found
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []  # it is on its way
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        except OSError:
            return []

    def wait_for(self, query: str) -> None:
        wait_until(lambda: self.ask(query), f"there is an answer to {query}", 15)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def firing(self) -> set[str]:
        """The alerts that fire now, by name."""
        return {each["metric"]["alertname"] for each in self.ask('ALERTS{alertstate="firing"}')}


def shorter(span: str, faster: int) -> str:
    """A span of Prometheus ("5m"), so many times as short and at least three seconds."""
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    whole = sum(int(n) * seconds[unit] for n, unit in re.findall(r"(\d+)([smhd])", span))
    return f"{max(3, whole // faster)}s"
