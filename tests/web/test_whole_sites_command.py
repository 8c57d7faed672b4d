"""Whole sites at the command line: taken along, merged, renamed, removed, brought back."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from tests.driver import PROGRAM
from tests.shell import Shell
from visitstats.core.errors import StoreUnavailable
from visitstats.store import keys
from visitstats.store.records import AccessToken, Records
from visitstats.store.removals import KEPT_MS, MARKS_MS

ARTICLES = "url;title;views\n/a;Bài A;500\n/b;Bài B;40\n"
DAYS = "Ngày;Lượt truy cập\n01/02/2021;5\n03/02/2021;6\n"
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def shell(tmp_path: Path, redis_url: str) -> Shell:
    found = Shell(tmp_path, redis_url, tmp_path / "data")
    (tmp_path / "articles.csv").write_text(ARTICLES, "utf-8")
    (tmp_path / "days.csv").write_text(DAYS, "utf-8")
    found("site", "add", "old", "--host", "old.vn", "--own-hosts", "--ignore-case")
    found("import", "old", "articles.csv")
    found("import", "old", "days.csv")
    return found


def counts(redis_url: str, site: str) -> tuple[int, int, dict[str, int]]:
    """Visits and views of all time, and what each article has."""
    with Redis.from_url(redis_url) as raw:
        visits, views = (int(raw.hget(keys.counts(site), f"{kind}:all") or 0) for kind in ("visits", "views"))
        articles = {id_.hex(): int(n) for id_, n in raw.hgetall(keys.articles(site)).items()}
    return visits, views, articles


def test_a_site_is_exported_and_made_anew(shell: Shell, redis_url: str, tmp_path: Path) -> None:
    """With its settings, under another id and other hosts if that is wanted; an id that is in use is refused."""
    shell("site", "export", "old", "--out", "old.jsonl")
    lines = (tmp_path / "old.jsonl").read_text("utf-8").splitlines()
    assert shell("site", "export", "old", "--out", "-").splitlines()[1:-1] == lines[1:-1]
    assert "there is a site 'old' already" in shell("site", "import", "old.jsonl", fails=True)
    assert "old.vn is a host of site old already" in shell("site", "import", "old.jsonl", "--as", "new", fails=True)
    shell("site", "import", "old.jsonl", "--as", "new", "--host", "new.vn")
    assert counts(redis_url, "new") == counts(redis_url, "old") == (11, 540, counts(redis_url, "old")[2])
    assert json.loads(lines[0])["settings"] == {"hosts": ["old.vn"], "ignore_case": True, "shared_hosts": False}
    assert "Importing it again changes nothing" in shell("import", "new", "old.jsonl")
    assert "no export of a site" in shell("site", "import", "days.csv", "--as", "x", fails=True)


def test_a_site_is_merged_into_another_once(shell: Shell, redis_url: str) -> None:
    """Looked at first, confirmed, made as one change; done again it changes nothing; the undo is exact."""
    shell("site", "add", "main", "--host", "main.vn")
    shell("import", "main", "articles.csv")
    before = counts(redis_url, "main")
    assert "Nothing was changed" in shell("site", "merge", "old", "main", "--dry-run")
    assert "say --yes" in shell("site", "merge", "old", "main", fails=True)
    assert counts(redis_url, "main") == before
    said = shell("site", "merge", "old", "main", "--move-hosts", "--yes")
    change = said.split("change ")[1][:8]
    merged = counts(redis_url, "main")
    assert merged[:2] == (11, 1080)
    assert sorted(merged[2].values()) == [80, 1000]
    assert "main.vn old.vn" in shell("site", "show", "main")
    assert "archived" in shell("site", "show", "old")
    assert change in shell("site", "merge", "old", "main", "--yes")
    assert counts(redis_url, "main") == merged
    shell("undo", "main", change)
    assert counts(redis_url, "main") == before
    assert "old.vn is a host of site" in shell("site", "set", "old", "--no-archive", fails=True)
    shell("site", "set", "main", "--remove-host", "old.vn")
    shell("site", "set", "old", "--no-archive")
    shell("import", "old", "articles.csv", "--strategy", "add", "--date-order", "dmy")
    shell("site", "merge", "old", "main", "--yes")
    shell("site", "set", "old", "--no-archive")
    shell("import", "old", "articles.csv", "--strategy", "add", "--date-order", "ymd")
    assert "was merged before" in shell("site", "merge", "old", "main", "--yes", fails=True)


def test_a_site_gets_another_id(shell: Shell, redis_url: str) -> None:
    """With its settings, hosts and numbers; what must be done on its pages is said."""
    before = counts(redis_url, "old")
    said = shell("site", "rename", "old", "new")
    assert "paste the snippet anew" in said
    assert counts(redis_url, "new") == before
    shown = shell("site", "show", "new")
    assert "old.vn" in shown
    assert shell("site", "rename", "old", "new") == said
    assert counts(redis_url, "new") == before, "done twice it is done once"
    shell("site", "add", "other", "--host", "other.vn")
    assert "there is a site 'new' already" in shell("site", "rename", "other", "new", fails=True)


def test_a_site_is_removed_when_its_id_was_typed(shell: Shell, redis_url: str, tmp_path: Path) -> None:
    """On a terminal; without one only by --yes. For 30 days it can be brought back, as it was."""
    before = counts(redis_url, "old")
    assert "there is no terminal" in shell("site", "remove", "old", fails=True)
    assert "there is no site 'nobody'" in shell("site", "remove", "nobody", "--yes", fails=True)
    assert typed("no", redis_url, tmp_path) == 1
    assert "old.vn" in shell("site", "show", "old")
    assert typed("old", redis_url, tmp_path) == 0
    assert "old" in shell("site", "list")
    assert "there is no site 'old'" in shell("site", "show", "old", fails=True)
    shell("site", "add", "b", "--host", "b.vn")
    assert "counts of a site 'old' that was removed" in shell("site", "rename", "b", "old", fails=True)
    shell("site", "restore", "old")
    assert "old.vn" in shell("site", "show", "old")
    assert counts(redis_url, "old") == before
    shell("site", "remove", "old", "--yes")
    shell("site", "add", "old", "--host", "again.vn")
    assert counts(redis_url, "old") == before
    assert "no removed site" in shell("site", "restore", "old", fails=True)


def typed(text: str, redis_url: str, tmp_path: Path) -> int:
    """Remove the site on a terminal on which this is typed; returns how the command ends."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, text.encode() + b"\n")
        environ = {"VISITSTATS_REDIS_URL": redis_url, "VISITSTATS_DATA_DIR": str(tmp_path / "data"), "PATH": ""}
        command = [str(PROGRAM), "site", "remove", "old"]
        done = subprocess.run(command, cwd=tmp_path, env=environ, stdin=theirs, capture_output=True, timeout=30)
        return done.returncode
    finally:
        os.close(ours)
        os.close(theirs)


async def test_after_thirty_days_its_keys_are_deleted(shell: Shell, redis_url: str) -> None:
    """Not a day before, not those of others; its watermarks stay for another thirty, so that no replay brings it back.
    Access tokens are good for it no more."""
    shell("site", "add", "other", "--host", "other.vn")
    shell("import", "other", "days.csv")
    others = counts(redis_url, "other")
    async with AsyncRedis.from_url(redis_url) as raw:
        records = Records(raw)
        await records.put_token("0" * 64, AccessToken(name="a", scope="viewer", site="old"))
        await records.put_token("1" * 64, AccessToken(name="b", scope="viewer", site="old", more=("other",)))
        await records.remove_site("old", DAY_MS)
        due = DAY_MS + KEPT_MS
        assert await records.forget_removed(due - 1) == []
        assert counts(redis_url, "old")[1] == 540
        assert await records.forget_removed(due) == ["old"]

        async def left() -> set[str]:
            found: Any = await raw.keys(keys.of_site("old"))
            return {name.decode() for name in found}

        assert await left() == {keys.marks("old")}
        shell("verify")
        assert counts(redis_url, "other") == others
        assert {name: token.sites for name, token in (await records.tokens()).good.items()} == {"1" * 64: ("other",)}
        assert "no removed site" in shell("site", "restore", "old", fails=True)
        assert await records.forget_removed(due + MARKS_MS - 1) == []
        assert await left() == {keys.marks("old")}
        assert await records.forget_removed(due + MARKS_MS) == []
        assert await left() == set()
        assert await records.removals.all() == {}


async def test_a_site_whose_keys_are_being_deleted_cannot_be_added(
    shell: Shell, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of its counts would be worse than none. A deletion that was cut off is finished by the next run."""
    async with AsyncRedis.from_url(redis_url) as raw:
        records = Records(raw)
        await records.remove_site("old", 0)

        async def cut_off(*names: bytes) -> None:
            raise ConnectionError("cut off")

        monkeypatch.setattr(records.removals._client, "unlink", cut_off)
        with pytest.raises(StoreUnavailable, match="cut off"):
            await records.removals.delete_due(KEPT_MS)
        monkeypatch.undo()
        assert "being deleted" in shell("site", "add", "old", "--host", "old.vn", fails=True)
        assert await records.forget_removed(KEPT_MS) == ["old"]
    shell("site", "add", "old", "--host", "old.vn")
    assert counts(redis_url, "old") == (0, 0, {})


def test_the_task_deletes_and_says_so(shell: Shell) -> None:
    assert "nothing is due" in shell("tasks", "run", "removed-sites")
