"""The least rights that a store's user needs: the table, the ACL file, and what the code really asks for."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import visitstats
from tests.store.test_keys import busy
from tests.store.writing import NOON, SITE, Writer
from tests.waiting import wait_until
from visitstats.backup.checking import check_backup
from visitstats.backup.manifest import open_backup
from visitstats.backup.restoring import plan_restore, restore
from visitstats.backup.taking import make_backup
from visitstats.journal.log import Limits
from visitstats.store import keys
from visitstats.store.fitness import opened
from visitstats.store.rights import RIGHTS, SNAPSHOT, ask_rights
from visitstats.trust.store_checks import check_rights
from visitstats.trust.verify.verifier import Verifier

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "redis" / "visitstats.acl"
SOURCE = Path(visitstats.__file__).parent
CLIENTS = frozenset({"client", "_client", "pipe"})
NOT_COMMANDS = frozenset({"append", "command", "keys", "monitor", "save", "sort", "role", "move", "object", "readonly"})
"""Words of Python, or of messages, that are also names of commands."""


def clock() -> int:
    return NOON


class Guarded:
    """A server whose only other user is the one of the ACL file."""

    def __init__(self, folder: Path, program: Path) -> None:
        self._socket = folder / "s"
        acl = folder / "users.acl"
        acl.write_text(FILE.read_text().replace("SHA256-OF-THE-PASSWORD", hashlib.sha256(b"s3cret").hexdigest()))
        command = [str(program), "--port", "0", "--unixsocket", str(self._socket), "--dir", str(folder), "--save", "",
                   "--aclfile", str(acl), "--logfile", str(folder / "log")]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.url = f"unix://visitstats:s3cret@{self._socket}"

    def admin(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self._socket))

    def ready(self) -> bool:
        try:
            with self.admin() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory, every_server: Path) -> Iterator[Guarded]:
    found = Guarded(tmp_path_factory.mktemp("acl"), every_server)
    try:
        wait_until(found.ready, "the server answers")
        yield found
    finally:
        found.stop()


def test_the_acl_file_is_the_table() -> None:
    text = FILE.read_text("ascii")
    assert sorted(re.findall(r"\+(\S+)", text)) == sorted(RIGHTS)
    assert not SNAPSHOT.keys() & RIGHTS.keys()


def used(commands: set[str]) -> set[str]:
    """Every command that the code may send: methods of clients, words in scripts, and words that are packed by hand."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.lua"):
        text = "\n".join(line.partition("--")[0] for line in path.read_text("utf-8").splitlines())
        found |= {word.lower() for word in re.findall(r"['\"]([A-Z]+)['\"]", text)}
    for path in (SOURCE / "store").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = (
                    owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
                )
                if name in CLIENTS:
                    found.add(node.attr.rstrip("_").replace("_", "|"))
                    found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isupper():
                found.add(node.value.lower())
    return {word for word in found if word in commands}


def test_every_command_that_the_code_sends_is_in_the_table(redis_url: str) -> None:
    """Whoever adds one adds its right: else it fails only where a user has the least of them."""
    with redis.Redis.from_url(redis_url) as client:
        names: Any = client.command_list()
        known = {name.decode() for name in names}
        known |= {"acl|dryrun", "acl|whoami", "client|id", "config|get", "script|load"}
    containers = {"acl", "client", "config", "script"}
    sent = used(known) - NOT_COMMANDS - containers
    assert sorted(sent - RIGHTS.keys() - SNAPSHOT.keys()) == []


def test_with_these_rights_everything_works(guarded: Guarded, tmp_path: Path) -> None:
    """Hits, changes, sites, tokens, every look of verify and doctor, a backup, and its restore."""

    async def use() -> None:
        writer = Writer(guarded.url)
        try:
            await busy(guarded.url, writer)
        finally:
            await writer.close()
        async with opened(guarded.url, clock) as parts:
            await parts.fitness.condition()
            await parts.fitness.check_start()
            verifier = Verifier(parts.inspector, parts.records, parts.reads, tmp_path / "journal", clock)
            await verifier.run(again_seconds=0)
            rights = await parts.fitness.rights()
        assert rights is not None
        assert (rights.user, rights.missing, rights.snapshot) == ("visitstats", [], False)
        assert check_rights(rights).status == "ok"

    async def put_back(folder: Path) -> None:
        async with opened(guarded.url, clock) as parts:
            plan = await plan_restore(open_backup(folder, NOON), tmp_path / "data", parts)
            await restore(plan, tmp_path / "data", parts, Limits(1 << 30, 3600), clock)

    asyncio.run(use())
    with guarded.admin() as client:
        # What the test's own clients send.
        refused = {entry["object"] for entry in client.acl_log()} - {"client|setinfo"}
        assert refused <= SNAPSHOT.keys(), refused
        client.acl_log_reset()
    found = make_backup(guarded.url, tmp_path / "data", tmp_path / "backups", 1, clock).backup
    assert found.manifest.method == "read"
    check_backup(found.folder, clock)
    with guarded.admin() as client:
        client.flushall()
        asyncio.run(put_back(found.folder))
        assert client.hlen(keys.marks(SITE.id))
        refused = {entry["object"] for entry in client.acl_log()}
        assert refused == SNAPSHOT.keys()
        change(client, *(f"+{name}" for name in SNAPSHOT))
    found = make_backup(guarded.url, tmp_path / "data", tmp_path / "backups", 1, clock).backup
    assert found.manifest.method == "snapshot", found.manifest.notes


def change(client: redis.Redis, *words: str) -> None:
    client.execute_command("ACL", "SETUSER", "visitstats", *words)  # type: ignore[no-untyped-call]


def test_each_right_that_is_missing_is_named(guarded: Guarded) -> None:
    """And nothing is done to find out."""

    async def missing() -> tuple[list[str], bool] | None:
        async with opened(guarded.url, clock) as parts:
            rights = await ask_rights(parts.client)
        return None if rights is None else (rights.missing, check_rights(rights).status == "fail")

    with guarded.admin() as client:
        for name in RIGHTS:
            change(client, f"-{name}")
            if name in ("acl|dryrun", "acl|whoami"):
                assert asyncio.run(missing()) is None
            elif name != "select":  # the connection itself needs it
                assert asyncio.run(missing()) == ([name], True), name
            change(client, f"+{name}")
        change(client, "resetkeys", "~other:*")
        assert client.dbsize() == 0
        found = asyncio.run(missing())
        assert found is not None
        assert "hset" in found[0]
