"""What administrators are told of the installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client import Hit, crowd
from tests.conftest import StartStore
from tests.web.inprocess import Running, running
from visitstats.backup.state import State, note_state
from visitstats.store.runs import Run, Runs
from visitstats.web.routes.health import TROUBLES

HEALTH = "/v1/admin/health"


async def test_an_installation_that_is_well_has_no_trouble(app: Running, tmp_path: Path) -> None:
    """And each that it may have is said by a word of the table; the store of the tests keeps nothing on a disk."""
    headers = {"authorization": await app.token("admin")}
    now = app.clock.ms
    note_state(tmp_path / "data", State(path="b", made_ms=now - 1000, bytes=7))
    found = (await app.connection.request("GET", HEALTH, headers=headers)).json
    assert set(found["troubles"]) <= {"not-persistent", "disk"}
    assert (found["store"]["answers"], found["journal"]["takes_hits"]) == (True, True)
    assert (found["workers_ready"], found["workers_wanted"]) == (1, 1)
    assert (found["backup"]["made"], found["backup"]["bytes"]) == ("2040-05-16T04:59:59+00:00", 7)
    worker = app.app.worker
    assert worker is not None
    await Runs(worker.records._client).note("verify", Run(now, 1.0, False, "3 numbers do not agree", "h", problems=3))
    app.clock.advance(3 * 86_400)
    found = (await app.connection.request("GET", HEALTH, headers=headers)).json
    assert {"task-failed", "contradictions", "backup-old"} <= set(found["troubles"]) <= set(TROUBLES)
    assert found["troubles"] == sorted(found["troubles"], key=TROUBLES.index)
    assert [(task["name"], task["right"]) for task in found["tasks"] if task["name"] == "verify"] == [("verify", False)]


async def test_a_store_that_is_away_is_said_by_a_token_that_cannot_be_looked_up(
    tmp_path: Path, start_store: StartStore
) -> None:
    """The page shows the words for it: a token cannot be told from a wrong one then, and nobody is let in by guess."""
    store = start_store()
    async with running(tmp_path / "data", store.url) as app:
        headers = {"authorization": await app.token("admin")}
        assert (await app.connection.hit("t1", Hit(crowd(1, "health")[0], "/a"))).status == 200
        store.stop()
        answer = await app.connection.request("GET", HEALTH, headers=headers)
        assert (answer.status, answer.json["error"]) == (503, "store-away")


@pytest.mark.parametrize("scope", ["viewer", "editor"])
async def test_health_is_for_administrators_alone(app: Running, scope: str) -> None:
    headers = {"authorization": await app.token(scope)}
    assert (await app.connection.request("GET", HEALTH, headers=headers)).status == 403
