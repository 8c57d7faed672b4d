"""Changes outlive what hits outlive: they are in the journal before anybody is told, and are made once, in their order,
also when the store is away, or has lost them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.client import Connection, Hit, crowd, until
from tests.conftest import StartStore
from tests.faults.copies import copy_of, put_back
from tests.store.changing import change_desk
from tests.store.merging import Writer, ledger
from tests.web.inprocess import Running, running
from tests.web.orders import Desk, read
from visitstats.changes.baselines import Baselines
from visitstats.changes.desk import ChangeDesk
from visitstats.changes.merges import Merges
from visitstats.changes.recording import Order, Pending
from visitstats.changes.scribe import Scribe
from visitstats.core.entries import Entry
from visitstats.core.keys import article_id
from visitstats.ingest.turn import Turn, is_replayed
from visitstats.store import keys
from visitstats.store.changes import Changes

READERS = crowd(8, "changes")
SECONDS = 20.0


@contextlib.asynccontextmanager
async def held(url: str) -> AsyncIterator[None]:
    """The store answers questions and takes no writes, for as long as the block takes."""
    async with Redis.from_url(url) as client:
        await client.client_pause(600_000, all=False)
        try:
            yield
        finally:
            await client.client_unpause()


class Commands:
    """What the commands do beside a running service: changes by a writer of their own."""

    def __init__(self, client: Redis, scribe: Scribe, app: Running) -> None:
        self._client, self.scribe, self._app = client, scribe, app

    @property
    def merges(self) -> Merges:
        return self.desk.merges

    @property
    def desk(self) -> ChangeDesk:
        worker = self._app.app.worker
        assert worker is not None
        live = worker.sites.get("t1")
        assert live is not None
        return change_desk(self._client, self.scribe, live.site, self._app.clock, live.key_rules)

    async def set(self, total: int | None, **baselines: int) -> None:
        articles = {Entry(f"/{name}", name): n for name, n in baselines.items()}
        await Baselines(Changes(self._client), self.scribe, "t1").set(total, articles)


@contextlib.asynccontextmanager
async def commands(app: Running, data_dir: Path, url: str) -> AsyncIterator[Commands]:
    root = data_dir / "journal"
    async with Redis.from_url(url) as client:
        scribe = Scribe.open(root, url, Changes(client), app.clock, lambda: is_replayed(root))
        try:
            yield Commands(client, scribe, app)
        finally:
            await scribe.close()


async def ended(app: Running, desk: Desk, changes: list[str], **aliases: str) -> None:
    """Wait until these changes are made, and the worker knows these aliases (and no others)."""
    worker = app.app.worker
    assert worker is not None

    async def there() -> bool:
        live = worker.sites.get("t1")
        assert live is not None
        known = dict(live.aliases)
        return await desk.made() == changes and known == {
            article_id(f"/{alias}"): f"/{key}" for alias, key in aliases.items()
        }

    await until(there, f"{changes} are made", SECONDS)


# The store is away ---------------------------------------------------------------------------------------------------


async def test_a_change_that_the_store_does_not_take_is_made_when_it_does(app: Running, redis_url: str) -> None:
    """The answer says so, with the change's id; nothing has to be ordered again."""
    desk = Desk(app)
    await read(app, "/old", "/old", "/new")
    await desk.bearer("editor")
    async with held(redis_url):
        answer = await desk("merge", {"from": "/old", "into": "/new", "why": "CMS"})
        assert answer.status == 202, answer
        change = answer.json["change"]
        assert answer.json == {
            "site": "t1", "pending": True, "change": change,
            "detail": f"change {change['id']} is written down, and is made when the store takes it; "
            "look at visitstats audit then",
        }  # fmt: skip
        assert (change["from"], change["into"], change["who"], change["views"]) == ("/old", "/new", "editor", None)
        assert "access-control-allow-origin" not in answer.headers
        assert await desk.made() == []
        await read(app, "/old", "/third", status=202)
    await ended(app, desk, [change["id"]], old="new")
    [logged] = (await desk.audit()).json["changes"]
    assert (logged["views"], logged["why"], logged["at"]) == (2, "CMS", change["at"])
    assert await app.connection.views("t1", ["/old", "/new", "/third"]) == {"/old": 3, "/new": 3, "/third": 1}
    answer = await desk("undo", {"change": change["id"]})
    assert answer.status == 200
    assert await app.connection.views("t1", ["/old", "/new"]) == {"/old": 2, "/new": 1}


async def test_two_orders_that_wait_and_exclude_each_other(
    app: Running, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first is made. The log says that the other one is not, and whose it was: nobody waits for an answer then."""
    desk = Desk(app)
    await read(app, "/old", "/new", "/third")
    for scope in ("editor", "admin"):
        await desk.bearer(scope)
    async with held(redis_url):
        first = await desk("merge", {"from": "/old", "into": "/new"})
        second = await desk("merge", {"from": "/old", "into": "/third"}, "admin")
        assert (first.status, second.status) == (202, 202)
    await ended(app, desk, [first.json["change"]["id"]], old="new")
    wanted = f"not made (alias): merge /old into /third by admin (change {second.json['change']['id']})"
    await until(lambda: _is(wanted in caplog.text), "the log says it", 5)


async def _is(value: object) -> bool:
    return bool(value)


async def test_a_store_that_cannot_be_asked_takes_no_orders(tmp_path: Path, start_store: StartStore) -> None:
    """Whether a merge can be made is not known then: 503, and nothing is written down."""
    store = start_store(tmp_path / "store")
    async with running(tmp_path / "data", store.url) as app:
        desk = Desk(app)
        await read(app, "/old", "/new")
        await desk.bearer("editor")
        store.stop()
        answer = await desk("merge", {"from": "/old", "into": "/new"})
        assert (answer.status, answer.json["error"]) == (503, "store-away")
        assert "retry-after" in answer.headers
        again = start_store(tmp_path / "store")
        assert again.url == store.url
        await until(lambda: _ok(app), "hits are counted again", SECONDS)
        assert await desk.made() == []
        assert await app.connection.views("t1", ["/old"]) == {"/old": 1}


async def _ok(app: Running) -> bool:
    return (await app.connection.hit("t1", Hit(READERS[0], "/again"))).status == 200


async def test_a_service_that_ends_before_the_store_takes_a_change(tmp_path: Path, redis_url: str) -> None:
    """The next start makes it, before the hits that came behind it."""
    async with running(tmp_path / "data", redis_url, shutdown_seconds=1) as app:
        desk = Desk(app)
        await read(app, "/old", "/old", "/new")
        await desk.bearer("editor")
        async with held(redis_url):
            answer = await desk("merge", {"from": "/old", "into": "/new"})
            assert answer.status == 202
            await read(app, "/old", status=202)
            app.connection.close()
            worker = app.app.worker
            assert worker is not None
            await worker.ingest.stop()
            async with Redis.from_url(redis_url) as client:
                assert not await client.exists(keys.changes("t1"))
            worker.ingest.stop = _nothing  # type: ignore[method-assign]
    async with running(tmp_path / "data", redis_url, site=False) as app:
        desk.move_to(app)
        await ended(app, desk, [answer.json["change"]["id"]], old="new")
        assert await app.connection.views("t1", ["/old", "/new"]) == {"/old": 3, "/new": 3}


async def _nothing() -> None:
    pass


# Commands beside a running service -----------------------------------------------------------------------------------


async def test_a_change_by_a_command_is_known_to_the_workers(app: Running, tmp_path: Path, redis_url: str) -> None:
    desk = Desk(app)
    await read(app, "/old", "/old", "/new")
    async with commands(app, tmp_path / "data", redis_url) as beside:
        made = await beside.merges.merge("/old", "/new", Order("an"))
        await ended(app, desk, [made.id], old="new")
        hit = await app.connection.hit("t1", Hit(READERS[0], "/old"))
        assert (hit.json["key"], hit.json["views"]) == ("/new", 4)
        undone = await beside.desk.undo(made.id, Order("an"))
        await ended(app, desk, [undone.id, made.id])
        await beside.set(1000, old=40)
    assert await app.connection.views("t1", ["/old", "/new"]) == {"/old": 42, "/new": 2}
    assert (await app.numbers())["total"] == 1004


async def test_a_command_that_ends_before_the_store_takes_its_change(
    app: Running, tmp_path: Path, redis_url: str
) -> None:
    """It says that it is written down; a worker makes it, and all workers know."""
    desk = Desk(app)
    await read(app, "/old", "/new")
    async with held(redis_url), commands(app, tmp_path / "data", redis_url) as beside:
        with pytest.raises(Pending, match="is written down, and is made when the store takes it") as pending:
            await beside.merges.merge("/old", "/new", Order("an"))
    silent, app.connection = app.connection, await Connection.open(app.ports[0])
    await ended(app, desk, [pending.value.logged.id], old="new")
    app.connection.close()
    app.connection = silent


async def test_a_command_that_is_killed_before_it_tells_the_workers(
    app: Running, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its change is in the store; the worker that looks after its slot tells them."""
    desk = Desk(app)
    await read(app, "/old", "/new")

    class Killed(BaseException):
        pass

    async def tell(changes: Changes, site: str) -> None:
        raise Killed

    async with commands(app, tmp_path / "data", redis_url) as beside:
        merges = beside.merges
        with monkeypatch.context() as patch:
            patch.setattr(Changes, "tell", tell)
            with pytest.raises(Killed):
                await merges.merge("/old", "/new", Order("an"))
    await ended(app, desk, await desk.made(), old="new")


async def test_a_command_waits_for_a_replay(app: Running, tmp_path: Path, redis_url: str) -> None:
    """What is older comes first: while the journals are replayed, a change is written down only."""
    desk = Desk(app)
    await read(app, "/old", "/new")
    turn = Turn(tmp_path / "data" / "journal")
    assert await until(lambda: _is(turn.take()), "no worker has the turn", 5)
    turn.step()
    try:
        async with commands(app, tmp_path / "data", redis_url) as beside:
            with pytest.raises(Pending) as pending:
                await beside.merges.merge("/old", "/new", Order("an"))
        assert await desk.made() == []
    finally:
        turn.give_up()
        turn.close()
    await ended(app, desk, [pending.value.logged.id], old="new")


async def test_a_command_in_the_slot_of_a_dead_worker(tmp_path: Path, redis_url: str) -> None:
    """That worker's hits are not in the store yet; the change stands behind them, and is made behind them."""
    async with running(tmp_path / "data", redis_url, shutdown_seconds=1) as app:
        await read(app, "/old", "/new")
        async with held(redis_url):
            await read(app, "/third", "/old", status=202)
            worker = app.app.worker
            assert worker is not None
            await worker.ingest.stop()
            worker.ingest.stop = _nothing  # type: ignore[method-assign]
        async with commands(app, tmp_path / "data", redis_url) as beside:
            with pytest.raises(Pending) as pending:
                await beside.merges.merge("/old", "/new", Order("an"))
    async with running(tmp_path / "data", redis_url, site=False) as app:
        desk = Desk(app)
        await ended(app, desk, [pending.value.logged.id], old="new")
        [logged] = (await desk.audit()).json["changes"]
        assert logged["views"] == 2, "its hits were there before"
        assert await app.connection.views("t1", ["/old"]) == {"/old": 3}


# The store has lost something ----------------------------------------------------------------------------------------


async def contents(client: Any, without: tuple[str, ...]) -> dict[str, Any]:
    """Everything that is known of the site, but when it is forgotten, and what scheduled tasks make of it: estimates
    that a sketch remembers, peaks and estimates of hours."""
    found = await ledger(client, "t1")
    kept = {name: content for name, (content, _) in found.items() if name.split(":")[2] not in without}
    for name, content in kept.items():
        if ":unique:" in name:
            kept[name] = content[:8] + content[16:]
        elif ":hours:" in name:
            kept[name] = {field: n for field, n in content.items() if not field.startswith((b"peak:", b"uniques:"))}
    return kept


@pytest.mark.parametrize("lost", ["an hour", "everything"])
@pytest.mark.parametrize("views", ["per-visit", "every-load"])
async def test_changes_and_hits_that_the_store_has_lost_come_back(
    tmp_path: Path, redis_url: str, lost: str, views: str
) -> None:
    """Merges, undos, aliases, baselines and hits of a worker and of commands, in their order: everything is as it was,
    to the last count, with who did what. And it goes on from there."""
    async with (
        running(tmp_path / "data", redis_url, answer_timeout_ms=5000) as app,  # a busy machine is not the matter here
        Redis.from_url(redis_url) as client,
        commands(app, tmp_path / "data", redis_url) as beside,
    ):
        desk = Desk(app)
        await app.put_site(views=views)
        copies = [await copy_of(client)]

        async def order(action: str, body: Any, status: int = 200) -> str:
            app.clock.advance(7)
            answer = await desk(action, body)
            assert answer.status == status, answer
            return str(answer.json["change"]["id"]) if status == 200 else ""

        async def some_hits(*pages: str) -> None:
            for n, page in enumerate(pages):
                app.clock.advance(13)
                assert (await app.connection.hit("t1", Hit(READERS[n % 5], page))).status == 200

        await some_hits("/a", "/b", "/c", "/d", "/a", "/b", "/old")
        await beside.set(5000, a=100, c=7)
        first = await order("merge", {"from": "/a", "into": "/b"})
        await some_hits("/a", "/c", "/b")
        app.clock.advance(3600)
        copies.append(await copy_of(client))
        await some_hits("/a", "/b", "/new", "/old")
        await order("undo", {"change": first})
        await some_hits("/a", "/b", "/d")
        second = (await beside.merges.merge("/c", "/d", Order("lan", "CMS"))).id
        await order("merge", {"from": "/d", "into": "/c"}, 409)
        await order("merge", {"from": "/cu", "into": "/new", "alias": True})
        await some_hits("/c", "/cu", "/d", "/cu")
        app.clock.advance(13)
        await beside.set(6000, c=9, d=1, old=20)
        await order("merge", {"from": "/d", "into": "/new"})
        await some_hits("/c", "/d", "/new", "/a")
        app.clock.advance(13)
        third = (await beside.merges.merge("/old", "/a", Order("lan"))).id
        await some_hits("/old", "/a")
        app.clock.advance(13)
        await beside.desk.undo(third, Order("lan", "Nhầm"))
        await some_hits("/old", "/a", "/c")

        audited, numbers = (await desk.audit()).json, await app.numbers()
        assert len(audited["changes"]) == 7
        # Who is online, and what a scheduled job finds, is of the moment.
        without = ("online", "peaks", "lease") + (("salt",) if lost == "everything" else ())
        before = await contents(client, without)
        if lost == "an hour":
            await put_back(client, copies[1], app.clock.ms)
        else:
            # But for the access tokens, by which this test asks.
            await client.delete(*await client.keys("vs:{t1}:*"))
            await client.delete(keys.SITES_ALIASES, keys.SITES_VERSION)
        assert await contents(client, without) != before

        async def there() -> bool:
            return await contents(client, without) == before

        with contextlib.suppress(AssertionError):
            await until(there, "it is as it was", SECONDS)
        assert await contents(client, without) == before
        assert (await desk.audit()).json == audited
        assert await app.numbers() == numbers
        aliases = {"c": "new", "cu": "new", "d": "new"}
        await ended(app, desk, [each["id"] for each in audited["changes"]], **aliases)
        shown = await app.connection.views("t1", ["/c", "/new", "/d", "/cu"])
        assert len(set(shown.values())) == 1
        fourth = next(each["id"] for each in audited["changes"] if each["from"] == "/d")
        await order("undo", {"change": fourth})
        await order("undo", {"change": second})
        assert (await app.connection.views("t1", ["/c"]))["/c"] > 0


async def test_an_alias_that_is_older_than_the_journal_is_put_back_without_its_record(
    app: Running, redis_url: str
) -> None:
    """The store has lost everything: what is journalled comes back with its record, the rest as the workers know it."""
    desk = Desk(app)
    await read(app, "/old", "/new", "/third")
    worker = app.app.worker
    assert worker is not None
    async with Redis.from_url(redis_url) as client:
        long_ago = Writer(redis_url)
        live = worker.sites.get("t1")
        assert live is not None
        desk_of = change_desk(client, long_ago, live.site, app.clock, live.key_rules)
        await desk_of.merges.merge("/old", "/new", Order("an"))
        await Changes(client).tell("t1")
        await worker.sites.refresh()
        made = (await desk("merge", {"from": "/third", "into": "/new"})).json["change"]["id"]
        await client.flushall()
        # The journal is replayed before the next look at the sites: the word of its changes must not hide the loss.
        assert (await app.connection.hit("t1", Hit(READERS[0], "/third"))).status in (200, 202)
        changes = Changes(client)

        async def back() -> bool:
            aliases = await changes.aliases("t1")
            return aliases == {article_id("/old"): "/new", article_id("/third"): "/new"}

        await until(back, "the aliases are back", SECONDS)
        assert [each.id for each in await changes.all("t1")] == [made]
        assert await client.hget(keys.changes("t1"), article_id("/old").hex() + ":kept") == b"1"
        assert not await client.hexists(keys.changes("t1"), article_id("/third").hex() + ":kept")

        async def known() -> bool:
            await worker.sites.refresh()
            found = worker.sites.get("t1")
            return found is not None and len(found.aliases) == 2

        await until(known, "the worker goes on with both", 5)
        await long_ago.close()


async def test_a_change_of_a_site_that_was_removed_is_kept_with_its_counts(app: Running, redis_url: str) -> None:
    """It is journalled, and its site is taken off the list before the store takes it: it is made all the same, and is
    there when the site is added again. An archived site can be put in order, too."""
    desk = Desk(app)
    await read(app, "/old", "/new")
    await app.put_site(archived=True)
    assert (await desk("merge", {"from": "/new", "into": "/old"})).status == 200
    [merged] = await desk.made()
    worker = app.app.worker
    assert worker is not None
    async with held(redis_url):
        answer = await desk("undo", {"change": merged})
        assert answer.status == 202
    async with Redis.from_url(redis_url) as client:
        await worker.records.remove_site("t1", 0)
        await worker.sites.refresh()
        assert (await desk("merge", {"from": "/old", "into": "/new"})).status == 404
        changes = Changes(client)

        async def there() -> bool:
            return [each.id for each in await changes.all("t1")] == [answer.json["change"]["id"], merged]

        await until(there, "the undo is made", SECONDS)
    await app.put_site()
    await ended(app, desk, [answer.json["change"]["id"], merged])
    assert await app.connection.views("t1", ["/old", "/new"]) == {"/old": 1, "/new": 1}
