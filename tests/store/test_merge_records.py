"""A change is one record of the journal: it is applied once, in its order, and decided once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store.merging import DAY, SITE, Merging, ledger, some_reading
from visitstats.changes import merges
from visitstats.changes.recording import ChangeRefused, Order
from visitstats.store import change_records, commit, keys
from visitstats.store.commit import Changed


async def test_a_change_that_is_committed_again_changes_nothing(merging: Merging) -> None:
    """Whoever has read it in a journal may send it, as often as he likes."""
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    await merging.undo(merged)
    await merging.merge("/third", "/new")
    before = await ledger(merging.raw)
    for sequence in range(1, len(merging.records) + 1):
        result = await merging.send(sequence)
        assert not getattr(result, "fresh", True)
    assert await ledger(merging.raw) == before


async def test_a_change_waits_for_the_record_before_it(merging: Merging) -> None:
    """Of the same writer: nothing is written, and the answer says where to go on."""
    await some_reading(merging)
    merging.write(merging.gathered(DAY, "/old"))
    change = change_records.Change("merge", merging.now, "an", "", "/old", "/new", "")
    sequence = merging.write(change_records.merging(SITE.id, "00000001", change))
    before = await ledger(merging.raw)
    assert await merging.send(sequence) == commit.Gap(sequence - 2)
    assert await ledger(merging.raw) == before


async def test_a_refused_change_is_a_record_that_was_taken_and_changed_nothing(merging: Merging) -> None:
    """The records behind it must not wait for it."""
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    before = await merging.everything()
    change = change_records.Change("merge", merging.now, "an", "", "/old", "/third", "")
    sequence = merging.write(change_records.merging(SITE.id, "00000001", change))
    assert await merging.send(sequence) == Changed("refused", "alias")
    assert await merging.send(sequence) == Changed("")
    assert await merging.everything() == before
    assert [each.id for each in await merging.audit()] == [merged]
    assert (await merging.read("/new")).articles == (507,)


@pytest.mark.parametrize(
    ("theirs", "all_time"),
    [
        (("/old", "/third"), {"/new": 3, "/third": 511}),
        (("/new", "/third"), {"/old": 503, "/third": 11}),
        (("/new", "/old"), {"/old": 506, "/third": 8}),
    ],
    ids=["the same article", "the one that it is merged into", "the other way round"],
)
async def test_of_two_merges_at_once_one_is_made(
    merging: Merging, redis_url: str, theirs: tuple[str, str], all_time: dict[str, int]
) -> None:
    """Both previews said that it can be done: one merge is made, the other one is refused."""
    await some_reading(merging)
    other = Merging(redis_url, merging.raw)
    other.name = "f" * 32
    mine = merging.merges
    sides = mine.sides

    async def and_then_the_other(source: str, target: str) -> merges.Sides:
        found = await sides(source, target)
        await other.merge(*theirs)
        return found

    mine.sides = and_then_the_other  # type: ignore[method-assign]
    with pytest.raises(ChangeRefused, match="somebody else has just merged /old or /new"):
        await mine.merge("/old", "/new", Order("an"))
    assert (await merging.lists())["all"] == all_time
    assert [each.change.target for each in await merging.audit()] == [theirs[1]]
    await other.close()


async def test_two_who_undo_at_once(merging: Merging, redis_url: str) -> None:
    """What was moved is given back once."""
    await some_reading(merging)
    before = await merging.everything()
    merged = await merging.merge("/old", "/new")
    other = Merging(redis_url, merging.raw)
    other.name = "f" * 32
    mine, path = merging.changes, merging.changes.path

    async def and_then_the_other(site: str, key: str) -> list[str]:
        found = await path(site, key)
        mine.path = path  # type: ignore[method-assign]
        await other.undo(merged)
        return found

    mine.path = and_then_the_other  # type: ignore[method-assign]
    with pytest.raises(ChangeRefused, match="is undone already"):
        await merging.undo(merged)
    assert await merging.everything() == before
    await other.close()


@pytest.mark.parametrize("server_takes_two_steps", [True, False])
async def test_hits_and_changes_are_the_same_in_one_step_and_in_two(
    merging: Merging, server_takes_two_steps: bool
) -> None:
    """Redis 7.0 to 8.2 put each record down before it is executed; nothing of that is left."""
    await merging.committer.ready()
    merging.committer._line.two_steps = server_takes_two_steps
    await some_reading(merging)
    merged = await merging.merge("/old", "/new")
    with pytest.raises(ChangeRefused):
        await merging.merge("/new", "/old")
    change = change_records.Change("merge", merging.now, "an", "", "/old", "/third", "")
    assert (await merging.change(change_records.merging(SITE.id, "00000001", change))).reason == "alias"
    await merging.read("/old", "/third")
    await merging.undo(merged)
    assert (await merging.lists())["all"] == {"/old": 503, "/new": 4, "/third": 9}
    assert not await merging.raw.exists(keys.redo(SITE.id))
    marks: Any = await merging.raw.hgetall(keys.marks(SITE.id))
    assert marks == {merging.name.encode(): b"%d:9" % len(merging.records)}
