"""`visitstats tasks` beside a running service."""

from __future__ import annotations

import json

from tests.client import Connection, Hit, crowd
from tests.driver import Service


async def test_each_task_can_be_run_by_hand_and_its_run_is_listed(service: Service) -> None:
    """Beside the service; none of them changes a count."""
    connection = await Connection.open(service.port)
    for visitor in crowd(3, "tasks"):
        assert (await connection.hit("t1", Hit(visitor, "/a"))).status == 200
    connection.close()
    before = service.cli("stats", "t1")
    for name in ("close-hours", "close-days", "pack", "index", "verify"):
        assert service.cli("tasks", "run", name).strip()
    assert service.cli("tasks", "run", "close-days", "--for", "2026-11-01").strip() == "0 days closed"
    listed = {each["name"]: each for each in json.loads(service.cli("tasks", "list", "--json"))}
    assert set(listed) >= {"close-hours", "close-days", "pack", "index", "verify"}
    for name in ("close-hours", "pack", "index", "verify"):
        assert listed[name]["last"]["right"], listed[name]
    assert listed["verify"]["last"]["said"] == "all numbers agree"
    assert "close-hours" in service.cli("tasks", "list")
    assert service.cli("stats", "t1") == before
