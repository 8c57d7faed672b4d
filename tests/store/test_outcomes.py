"""A store that comes back older is healed to the very same numbers: what was decided once is not decided again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.journals import opened
from tests.store.rollbacks import KEEP, Hit, Writer, copy_of, files, numbers_of, put_back
from tests.store.writing import DAY, MINUTE, NOON, SITE, numbering, token
from visitstats import journal as journals
from visitstats import outcomes
from visitstats.core import counting
from visitstats.core.batch import COUNTED, STARTED, Decision, decided, encode_decision
from visitstats.core.keys import article_id
from visitstats.core.sites import Site
from visitstats.replay import Adoption, Backlog, Limits
from visitstats.store.commit import KEPT_DECISIONS, Committed, Committer, Work
from visitstats.store.reads import Reads


@pytest_asyncio.fixture
async def writer(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Writer]:
    """With a segment for each record."""
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    with opened(tmp_path, keep_seconds=KEEP, fsync=False) as journal:
        committer = Committer(redis_url, journal.writer)
        yield Writer(journal, committer, Backlog(journal))
        await committer.close()


# One after the other --------------------------------------------------------------------------------------------------


async def two_hours(writer: Writer) -> None:
    """A visitor reads two articles at noon, one of them twice, one beacon is delivered twice; another one follows."""
    await writer.hit(NOON, Hit("An", "/a", "one"), Hit("An", "/a", "two"))
    await writer.hit(NOON + MINUTE, Hit("An", "/b"), Hit("An", "/a", "one"), Hit("Bình", "/a"))
    await writer.hit(NOON + 2 * MINUTE, Hit("An", "/a"), Hit("Bình", "/b"))


async def test_a_copy_whose_visitors_are_forgotten_is_healed_to_the_same_numbers(
    writer: Writer, raw: Redis, tmp_path: Path
) -> None:
    """Without the outcomes the same replay counts An's visit, and the beacon that came twice, once more."""
    await writer.hit(NOON - MINUTE, Hit("An", "/a", "one"))
    copy = await copy_of(raw)
    await two_hours(writer)
    before = await numbers_of(raw)
    await put_back(raw, copy)
    await writer.heal(Reads(raw))
    assert await numbers_of(raw) == before
    for path in files(tmp_path, ".out"):
        path.unlink()
    await put_back(raw, copy)
    await writer.heal(Reads(raw))
    assert await numbers_of(raw) != before


async def test_a_reduced_journal_heals_to_the_same_numbers(writer: Writer, raw: Redis, tmp_path: Path) -> None:
    """And nothing in it says any more who read what, or which beacons there were."""
    await two_hours(writer)
    await writer.hit(NOON + 3 * MINUTE, Hit("An", "/c"))
    before = await numbers_of(raw)
    secret = set(writer.secret) - {counting.reading(token(SITE, DAY.date, "An"), article_id("/c"))}
    data = b"".join(path.read_bytes() for path in files(tmp_path))
    assert all(each in data for each in secret)
    writer.reduce(tmp_path)
    data = b"".join(path.read_bytes() for path in files(tmp_path))
    assert not any(each in data for each in secret)
    for _ in range(2):
        await raw.flushall()
        answers = await writer.heal(Reads(raw))
        assert await numbers_of(raw) == before
        assert [result.outcome for result in answers] == [b""] * 4  # repeated, not decided
        writer.reduce(tmp_path)


async def test_a_reduced_batch_does_not_take_an_outcome_that_was_noted_later(
    writer: Writer, raw: Redis, tmp_path: Path
) -> None:
    """Its slots are of another length: used, they would give visitors each other's visits."""
    await two_hours(writer)
    before = await numbers_of(raw)
    known = [outcomes.load(path, writer.journal.writer) for path in files(tmp_path, ".log")]
    writer.reduce(tmp_path)
    for found in known:
        writer.journal.note_outcomes(list(found.items()))
    await raw.flushall()
    await writer.heal(Reads(raw))
    assert await numbers_of(raw) == before


@pytest.mark.parametrize(
    "outcome",
    [
        b"\xc1",
        encode_decision(Decision(b"\x18", 1, (1, 1))),
        encode_decision(Decision(b"\x18" * 3, 1, (1, 1))),
        encode_decision(Decision(b"\x18" * 2, 1, (1,))),
        encode_decision(Decision(b"\x18" * 2, 1, (1, 1, 1))),
        encode_decision(Decision(b"", 1, ())),
    ],
)
async def test_an_outcome_that_does_not_fit_its_batch_is_decided_again(
    writer: Writer, raw: Redis, tmp_path: Path, outcome: bytes
) -> None:
    await writer.hit(NOON, Hit("An", "/a"), Hit("Bình", "/b"))
    before = await numbers_of(raw)
    writer.journal.note_outcomes([(1, outcome)])
    await raw.flushall()
    [answer] = await writer.heal(Reads(raw))
    assert await numbers_of(raw) == before
    assert answer.outcome
    await writer.hit(NOON, Hit("An", "/a"))
    before = await numbers_of(raw)
    [(_, record), *_] = writer.journal.read(0)
    writer.reduce(tmp_path)
    assert next(writer.journal.read(0))[1] == record  # nothing of it is thrown away
    await raw.flushall()
    await writer.heal(Reads(raw))
    assert await numbers_of(raw) == before


async def test_an_outcome_whose_answer_was_lost_is_known_all_the_same(writer: Writer, raw: Redis) -> None:
    """The connection broke between the ledgers, or after both: they repeat what they decided of the last batches."""
    batch = writer.write(SITE, NOON, [Hit("An", "/a", "one"), Hit("An", "/a", "one"), Hit("An", "/a"), Hit("An", "/b")])
    work = Work(1, 0, batch, numbering())
    await writer.committer._run([writer.committer._audience(work)])
    expected = Decision(bytes([24, counting.DUPLICATE, 24, 24]), 1, (1, 1), bytes([STARTED | COUNTED, 0, 0, COUNTED]))
    for fresh in (True, False, False):
        [result] = await writer.committer.commit([work])
        assert isinstance(result, Committed)
        assert (result.fresh, result.whole, result.outcome) == (fresh, True, encode_decision(expected))
    for _ in range(KEPT_DECISIONS):
        await writer.hit(NOON, Hit("An", "/a"))
    [result] = await writer.committer.commit([work])
    assert isinstance(result, Committed)
    assert (result.fresh, result.whole, result.outcome) == (False, False, b"")


async def test_a_worker_that_was_killed_before_it_kept_its_outcomes_asks_for_them(writer: Writer, raw: Redis) -> None:
    """As soon as its journal is opened again, so that they are there when the store comes back older one day."""
    copy = await copy_of(raw)
    await writer.hit(NOON, Hit("An", "/a"))
    for minute in (1, 2):
        batch = writer.write(SITE, NOON + minute * MINUTE, [Hit("An", "/a"), Hit("Bình", "/b")])
        await writer.committer.commit([Work(1 + minute, batch.previous, batch, numbering())])
    before = await numbers_of(raw)
    writer.backlog = Backlog(writer.journal)
    found = await writer.heal(Reads(raw))
    assert [result.fresh for result in found] == [False, False]
    writer.journal.note_outcomes([(2 + n, result.outcome) for n, result in enumerate(found)])
    assert all(outcome for *_, outcome in writer.journal.read_decided(0))
    assert await numbers_of(raw) == before
    assert await writer.heal(Reads(raw)) == []
    assert Backlog(writer.journal)._unknown == {}
    await put_back(raw, copy)
    assert [result.outcome for result in await writer.heal(Reads(raw))] == [b""] * 3  # repeated, not decided
    assert await numbers_of(raw) == before


async def test_outcomes_of_the_first_version_are_repeated_as_well(writer: Writer, raw: Redis) -> None:
    """They do not say which hits started a visit or counted as views."""
    copy = await copy_of(raw)
    await two_hours(writer)
    before = await numbers_of(raw)
    for sequence, payload, outcome in list(writer.journal.read_decided(0)):
        decision = decided(payload, outcome)
        assert decision is not None
        old = (decision.slots, decision.started, decision.added)
        writer.journal.note_outcomes([(sequence, msgspec.msgpack.encode(old))])
    for _ in range(2):
        await put_back(raw, copy)
        await writer.heal(Reads(raw))
        assert await numbers_of(raw) == before


async def test_the_last_two_decisions_are_kept_word_for_word(writer: Writer, raw: Redis) -> None:
    """A replay sends the articles of a batch together with the audience of the next: when the first fail, a beacon that
    was delivered twice is still known as such."""
    await writer.hit(NOON, Hit("An", "/a", "one"))
    batches = [writer.write(SITE, NOON, [Hit("An", "/a", "one"), Hit("An", "/b")]) for _ in range(2)]
    first, second = (Work(2 + n, batch.previous, batch, numbering()) for n, batch in enumerate(batches))
    replies = await writer.committer._run([writer.committer._audience(item) for item in (first, second)])
    again = await writer.committer._run([writer.committer._audience(item) for item in (first, second)])
    assert [reply[:4] for reply in again] == [[b"kept", *reply[1:4]] for reply in replies]
    assert replies[0][1][0] == counting.DUPLICATE


async def test_batches_in_order_are_committed_like_one_after_the_other(writer: Writer, raw: Redis) -> None:
    """Decided before or not, of one site or of several, again or for the first time."""
    sites = [SITE, Site(id="other", hosts=("other.vn",))]
    work = []
    for n in range(40):
        site = sites[n % 3 == 0]
        batch = writer.write(site, NOON + n * 1000, [Hit(f"{n % 5}", f"/{n % 7}", f"{n % 9}")])
        work.append(Work(writer.journal.last_sequence, batch.previous, batch, numbering()))
    expected = [(await writer.committer.commit([item]))[0] for item in work]
    before = await numbers_of(raw)
    await raw.flushall()
    known = []
    for n, item in enumerate(work):
        one = expected[n]
        assert isinstance(one, Committed)
        decision = Decision(one.slots, one.started, one.added, one.marks)
        known.append(item._replace(decision=decision) if n % 4 < 2 else item)
    found = [pair async for pair in writer.committer.commit_in_order(known)]
    assert [item for item, _ in found] == known
    for (item, result), one in zip(found, expected, strict=True):
        assert isinstance(result, Committed)
        assert isinstance(one, Committed)
        assert (result.slots, result.started, result.added) == (one.slots, one.started, one.added)
        assert (result.fresh, bool(result.outcome)) == (True, item.decision is None)
    assert await numbers_of(raw) == before
    assert not any(
        result.fresh for _, result in [pair async for pair in writer.committer.commit_in_order(work)]
        if isinstance(result, Committed)
    )  # fmt: skip
    assert await numbers_of(raw) == before


async def test_one_ledger_alone_may_be_older(writer: Writer, raw: Redis) -> None:
    await writer.hit(NOON - MINUTE, Hit("An", "/a", "one"))
    copy = await copy_of(raw)
    await two_hours(writer)
    now, before = await copy_of(raw), await numbers_of(raw)
    for ledger in (b":who}", b":what}"):
        older = {name: data for name, data in copy.items() if ledger in name}
        newer = {name: data for name, data in now.items() if ledger not in name}
        await put_back(raw, older | newer)
        await writer.heal(Reads(raw))
        assert await numbers_of(raw) == before


async def test_what_was_decided_for_a_dead_worker_is_kept_as_well(redis_url: str, raw: Redis, tmp_path: Path) -> None:
    """Who applies the slot of another notes the outcomes beside it: the next older copy is healed to the same."""
    with opened(tmp_path, keep_seconds=KEEP) as journal:
        writer = Writer(journal, Committer(redis_url, journal.writer), Backlog(journal))
        writer.write(SITE, NOON, [Hit("An", "/a", "one"), Hit("An", "/a")])
        writer.write(SITE, NOON + MINUTE, [Hit("An", "/a", "one"), Hit("An", "/b")])
    now = int(files(tmp_path, ".log")[0].stat().st_mtime * 1000)
    adoption = Adoption(tmp_path, redis_url, Reads(raw), lambda _: numbering(), Limits(1 << 20, KEEP))
    applied: list[int] = []
    assert await adoption.run(lambda sequence, *_: applied.append(sequence), now) == [0]
    assert applied == [1, 2]
    before = await numbers_of(raw)
    [path] = files(tmp_path, ".log")
    assert list(outcomes.load(path, writer.journal.writer)) == [1, 2]
    await raw.flushall()
    assert await adoption.run(lambda *_: None, now) == [0]
    assert await numbers_of(raw) == before
