"""kill -9 of an import, of the undo of one, and of the import of a whole site, at any of the calls that make their
journal durable: it is there as a whole or not at all, and the same command again counts it once.

FAULTS_SEED and FAULTS_KILLS choose where else the long form kills, and how often.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import Connection, Hit, crowd
from tests.driver import EACH_ITS_OWN, PROGRAM, Service, alive_pids, noon_zone
from tests.faults.external import ExternalStore
from tests.faults.sabotage import Sabotage
from tests.waiting import wait_until
from visitstats.store import keys
from visitstats.store.import_records import decode_imported

SEED = int(os.environ.get("FAULTS_SEED", "20361124"))
KILLS = int(os.environ.get("FAULTS_KILLS", "6"))
SITE = "t1"
WRITE, SYNC = "write .log in OpenJournal.append", "fdatasync .log in OpenJournal.append"
ARTICLES = 450
"""A little more than one part of an import has."""
VIEWS = sum(n % 7 + 1 for n in range(ARTICLES)) * 2
NOT_COUNTS = ("touched", "corrected")


class Stand:
    """A service on a store that can be killed, and commands beside it that kill themselves."""

    def __init__(self, folder: Path) -> None:
        self.store = ExternalStore(folder / "store")
        self.store.start()
        self.service = Service(folder / "data", workers=1, redis_url=self.store.url)
        self.sabotage = Sabotage(folder / "sabotage")
        self.file = folder / "old.csv"
        lines = [f"{day}/02/2021;/a{n};{n % 7 + 1}\n" for day in (1, 2) for n in range(ARTICLES)]
        self.file.write_text("Ngày;Đường dẫn;Lượt xem\n" + "".join(lines), "utf-8")

    def killed(self, at: tuple[str, str, int], *arguments: str) -> None:
        """Run a command that is killed at a call of its own."""
        [number] = self.sabotage.kill(at)
        (rest := self.file.with_name("tmp")).mkdir(exist_ok=True)
        more = {"TMPDIR": str(rest), "SABOTAGE_COMMANDS": "1"}
        done = self.run(*arguments, **self.sabotage.environ(self.service), **more)
        assert done.returncode == -signal.SIGKILL, f"it was not killed at {at}: {done.stderr}"
        assert any(each["id"] == number for each in self.sabotage.done())
        assert not [path for path in rest.rglob("*") if path.is_file() and path.stat().st_size], "it leaves no draft"

    def undo_again(self, change: str) -> None:
        """Undo an import, or go on with that; the service may just have finished it."""
        done = self.run("undo", SITE, change)
        assert done.returncode == 0 or "is undone already" in done.stderr, done.stderr

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAM), *arguments], env=self.service.environ | environ, cwd=self.service.data_dir,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def kill_all(self) -> None:
        """kill -9 of the service and of its store, and another start."""
        children = [self.service.pid, *self.service.children()]
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.service.wait()
        wait_until(lambda: not alive_pids(children), "they are gone")
        self.store.kill()
        self.store.start()
        with self.store.client() as client:
            client.delete(keys.lease("imports"))  # as after a minute: whoever was killed had it for so long
        self.service.start()

    def numbers(self, site: str = SITE) -> dict[str, int]:
        """All counts of a site and of its articles that are not 0."""
        found: dict[str, int] = {}
        with self.store.client() as client:
            for key in client.scan_iter(f"vs:{{{site}}}:*"):
                name: str = key.decode().split(":", 2)[2]
                if name.partition(":")[0] in ("counts", "days", "articles", "amounts", "layer"):
                    page: dict[bytes, bytes] = client.hgetall(key)
                    found |= {f"{name} {field.hex()}": int(n) for field, n in page.items()
                              if int(n) and not field.decode("latin-1").startswith(NOT_COUNTS)}  # fmt: skip
        return found

    def settles(self, whole: dict[str, int], site: str = SITE) -> None:
        """Wait until the service has gone on with what was cut off."""
        try:
            wait_until(lambda: self.numbers(site) == whole, "the next start has finished it", 20)
        except AssertionError as error:
            wrong = dict(sorted({*self.numbers(site).items()} ^ {*whole.items()})[:10])
            raise AssertionError(f"{error}: {wrong}\n{self.service.log[-3000:]}") from None

    def parts(self, site: str = SITE) -> int:
        """How many parts the imports of a site have."""
        with self.store.client() as client:
            records: Any = client.hvals(keys.imports(site))
        return max(len(decode_imported(record).places) for record in records)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    try:
        made.service.add_site(SITE, "--timezone", noon_zone(), *EACH_ITS_OWN)
        made.service.start()
        yield made
    finally:
        made.service.stop()
        made.store.kill()


async def read_one(stand: Stand) -> None:
    """Somebody reads an article that the file has, and one that it has not."""
    connection = await Connection.open(stand.service.port)
    for reader, page in zip(crowd(2, "killed"), ("/a0", "/other"), strict=True):
        assert (await connection.hit(SITE, Hit(reader, page))).status == 200
    connection.close()


def change_of(said: str) -> str:
    found = re.search(r"change ([0-9a-f]{8})", said)
    assert found is not None, said
    return found[1]


async def killed_at(stand: Stand, moments: list[tuple[str, str, int, bool]]) -> None:
    """Kill an import at each moment: call, before or after it, of the how-manieth record, and whether the service and
    the store are killed, too. A moment below zero is one of the undo."""
    await read_one(stand)
    before = stand.numbers()
    change = change_of(stand.service.cli("import", SITE, str(stand.file)))
    there, parts = stand.numbers(), stand.parts()
    assert sum(n for name, n in there.items() if name == f"counts {b'views:all'.hex()}") == VIEWS + 2
    for site, when, nth, with_all in moments:
        # The record that begins an import comes behind those of its parts, that of an undo before them: from there on
        # it is bound to be made.
        begin = 1 if nth < 0 else parts + 1
        record = min(abs(nth), begin + parts)
        is_begun = record > begin or (record == begin and (site == SYNC or when == "after"))
        if nth < 0:
            stand.killed((site, when, record), "undo", SITE, change)
        else:
            stand.service.cli("undo", SITE, change)
            assert stand.numbers() == before, "the undo is exact"
            stand.killed((site, when, record), "import", SITE, str(stand.file))
        whole = there if is_begun == (nth > 0) else before
        if with_all:
            stand.kill_all()
            stand.settles(whole)
        elif not is_begun:
            assert stand.numbers() == whole, "nothing has changed"
        if nth < 0:
            if not (with_all and is_begun):
                stand.undo_again(change)
            assert stand.numbers() == before, (site, when, nth)
        said = stand.service.cli("import", SITE, str(stand.file))
        assert ("changes nothing" in said) == (is_begun and nth > 0)
        assert stand.numbers() == there, (site, when, nth)
        change = change_of(said)
    stand.service.cli("undo", SITE, change)
    assert stand.numbers() == before
    stand.service.cli("verify")


async def test_an_import_is_killed_before_and_after_it_is_begun(stand: Stand) -> None:
    """Then nothing has changed; or the next start of the service finishes it. Imported again, it is counted once."""
    await killed_at(stand, [(SYNC, "after", 2, False), (SYNC, "after", 9, True)])


@pytest.mark.long
@pytest.mark.timeout(60 + 25 * KILLS)
async def test_an_import_is_killed_anywhere(stand: Stand) -> None:
    """At the first record, at each side of the one that begins it, at the last, and at chance; and so is an undo."""
    chance = random.Random(SEED)
    moments = [
        (WRITE, "half", 1, False), (WRITE, "before", 7, True), (WRITE, "half", 7, False), (SYNC, "before", 7, True),
        (SYNC, "after", 99, False), (WRITE, "half", -1, True), (SYNC, "before", -1, True), (SYNC, "after", -3, False),
    ]  # fmt: skip
    calls = [(WRITE, "before"), (WRITE, "half"), (WRITE, "after"), (SYNC, "before"), (SYNC, "after")]
    for _ in range(KILLS):
        site, when = chance.choice(calls)
        moments.append((site, when, chance.choice((1, 1, -1)) * chance.randint(1, 13), chance.random() < 0.4))
    await killed_at(stand, moments)


@pytest.mark.parametrize(
    ("record", "with_all"),
    [
        (1, False),
        pytest.param(5, True, marks=pytest.mark.long),
        pytest.param(7, False, marks=pytest.mark.long),
        (9, True),
    ],
)
async def test_a_whole_site_is_imported_again_when_that_was_killed(stand: Stand, record: int, with_all: bool) -> None:
    """Before its numbers are on their way an empty site is left, which the same command takes up; then it goes on with
    them, or the service does. Nothing is counted twice."""
    stand.service.cli("import", SITE, str(stand.file))
    stand.service.cli("site", "export", SITE, "--out", "old.jsonl")
    there = stand.numbers()
    moved = ("site", "import", "old.jsonl", "--as", "t2", "--host", "t2.example.vn")
    stand.killed((SYNC, "after", record), *moved)
    if with_all:
        stand.kill_all()
    if with_all and record > 7:
        stand.settles(there, "t2")
    for _ in range(2):
        stand.service.cli(*moved)
        assert stand.numbers("t2") == there
    stand.service.cli("verify")
