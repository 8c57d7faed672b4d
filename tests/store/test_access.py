"""Who may read what: bearer tokens, shown once."""

from __future__ import annotations

import asyncio
import json
from array import array
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from redis.asyncio import Redis

from visitstats.access import MOST_SITES, PREFIX, SCOPES, Access, InvalidToken, Refusals, Scope
from visitstats.core.errors import Denied, NotFound, StoreUnavailable
from visitstats.core.limits import PLACES, TRIES_A_MINUTE, TokenTries
from visitstats.store import keys
from visitstats.store.records import AccessToken, Records, Tokens
from visitstats.store.refusals import MOST_ROWS, OTHERS, Refusal, RefusalRows, Refused

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


class Clock:
    """Tells the moment (ms) that the test wants it to be."""

    def __init__(self) -> None:
        self.ms = int(NOW.timestamp() * 1000) + 123

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(raw: Redis, clock: Clock) -> Access:
    return Access(Records(raw), clock, pause=0.01)


async def refused(access: Access, header: str, scope: Scope = "viewer", site: str = "a") -> tuple[int, str]:
    """Status and reason with which a header is refused."""
    with pytest.raises(Denied) as denied:
        await access.bearer(header, scope, site)
    return denied.value.status, denied.value.reason


async def test_a_tokens_text_is_not_kept_anywhere(access: Access, raw: Redis) -> None:
    text = (await access.add("Phòng tin", "viewer")).text
    assert text.startswith(PREFIX)
    assert len(text) > 40
    kept = b"".join(part for pair in (await raw.hgetall(keys.TOKENS)).items() for part in pair)  # type: ignore[misc]
    assert text.encode() not in kept
    assert text[len(PREFIX) :].encode() not in kept
    [listed] = (await access.all()).tokens
    assert listed.token == AccessToken(name="Phòng tin", scope="viewer", created="2026-11-24T10:00:00+00:00")
    assert listed.id in kept.decode()


async def test_no_two_tokens_have_one_text(access: Access) -> None:
    assert len({(await access.add(f"n{n}", "viewer")).text for n in range(10)}) == 10


@pytest.mark.parametrize("scope", ["admin", "editor", "viewer"])
async def test_a_token_opens_what_it_was_made_for(access: Access, scope: str) -> None:
    everywhere = (await access.add("everywhere", scope)).text
    one = (await access.add("one", scope, ["a"])).text
    assert (await access.bearer(f"Bearer {everywhere}", "viewer", "a")).name == "everywhere"
    assert (await access.bearer(f"bearer  {one} ", "viewer", "a")).name == "one"
    with pytest.raises(Denied) as denied:
        await access.bearer(f"Bearer {one}", "viewer", "b")
    assert denied.value.status == 403


async def test_a_token_for_metrics_reads_no_articles(access: Access) -> None:
    text = (await access.add("scraper", "metrics")).text
    with pytest.raises(Denied) as denied:
        await access.bearer(f"Bearer {text}", "viewer", "a")
    assert denied.value.status == 403


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic eDp5", "vs_x", "Bearer vs_x", "Bearer " + "x" * 5000, "Bearer đ", "Bearer \udcff"],
)
async def test_whatever_else_is_sent_is_answered_401(access: Access, header: str) -> None:
    await access.add("there is one", "viewer")
    with pytest.raises(Denied) as denied:
        await access.bearer(header, "viewer", "a")
    assert denied.value.status == 401


async def test_a_digest_that_leaked_is_no_token(access: Access, raw: Redis) -> None:
    await access.add("n", "viewer")
    [digest] = await raw.hkeys(keys.TOKENS)
    with pytest.raises(Denied):
        await access.bearer(f"Bearer {digest.decode()}", "viewer", "a")  # type: ignore[union-attr]


async def test_a_revoked_token_is_useless_at_once(access: Access) -> None:
    text = (await access.add("n", "viewer")).text
    other = (await access.add("other", "viewer")).text
    await access.revoke(await access.id_of("n"))
    with pytest.raises(Denied):
        await access.bearer(f"Bearer {text}", "viewer", "a")
    assert (await access.bearer(f"Bearer {other}", "viewer", "a")).name == "other"
    with pytest.raises(NotFound, match="'n'"):
        await access.id_of("n")
    with pytest.raises(NotFound, match="'n'"):
        await access.revoke("n")


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "two\nlines", "tab\t", "\u202egnitseretni"])
async def test_a_name_that_could_mislead_is_refused(access: Access, raw: Redis, name: str) -> None:
    with pytest.raises(InvalidToken, match="1 to 80 printable"):
        await access.add(name, "viewer")
    assert await raw.keys() == []


async def test_a_scope_that_does_not_exist_is_refused_with_those_that_do(access: Access) -> None:
    with pytest.raises(InvalidToken, match=", ".join(SCOPES)):
        await access.add("n", "owner")


async def test_names_are_unique_so_that_the_right_one_is_revoked(access: Access) -> None:
    await access.add("n", "viewer")
    with pytest.raises(InvalidToken, match="already"):
        await access.add("n", "admin")


async def test_tokens_are_listed_by_name(access: Access) -> None:
    for name in ("c", "a", "b"):
        await access.add(name, "viewer")
    assert [each.token.name for each in (await access.all()).tokens] == ["a", "b", "c"]


async def test_a_token_may_be_made_elsewhere_and_be_added_at_every_start(access: Access) -> None:
    """As a secret that is mounted; the same text for something else is another token."""
    text = "0123456789abcdef0123456789abcdef"
    for _ in range(2):
        assert (await access.add("prometheus", "metrics", text=text)).text == text
    assert len((await access.all()).tokens) == 1
    assert (await access.bearer(f"Bearer {text}", "metrics")).name == "prometheus"
    for name, scope in (("prometheus", "admin"), ("other", "metrics")):
        with pytest.raises(InvalidToken, match="already"):
            await access.add(name, scope, text=text)
    with pytest.raises(InvalidToken, match="already"):
        await access.add("prometheus", "metrics", text="another-0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize("text", ["short", "x" * 101, "with a space in it, and more than that", "đ" * 40, "a\n" * 20])
async def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(access: Access, text: str) -> None:
    with pytest.raises(InvalidToken, match="32 to 100"):
        await access.add("made elsewhere", "metrics", text=text)
    assert (await access.all()).tokens == []


# Sites and ends -------------------------------------------------------------------------------------------------------


async def test_a_token_may_be_good_for_several_sites_and_for_no_other(access: Access) -> None:
    text = (await access.add("huyện", "editor", ["a", "b", "a"])).text
    for site in ("a", "b"):
        assert (await access.bearer(f"Bearer {text}", "editor", site)).sites == ("a", "b")
    for other in ("c", ""):
        assert await refused(access, f"Bearer {text}", "editor", other) == (403, "site")
    with pytest.raises(InvalidToken, match="at most"):
        await access.add("too many", "editor", [f"s{n}" for n in range(MOST_SITES + 1)])


async def test_a_record_of_an_older_version_is_good_for_its_site(access: Access, raw: Redis) -> None:
    """It has one `site`, and no end; what this version writes lets an older one read too little, never too much."""
    text = "0123456789abcdef0123456789abcdef"
    await raw.hset(keys.TOKENS, _sha(text), '{"name":"old","scope":"viewer","site":"a","created":"2026-01-01"}')
    assert (await access.bearer(f"Bearer {text}", "viewer", "a")).sites == ("a",)
    assert await refused(access, f"Bearer {text}", "viewer", "b") == (403, "site")
    several = (await access.add("several", "viewer", ["a", "b"])).text
    record = await raw.hget(keys.TOKENS, _sha(several))
    assert json.loads(record or b"")["site"] == "a"


async def test_a_token_ends_at_its_moment_and_its_holder_is_told(access: Access, clock: Clock) -> None:
    made = await access.add("short", "metrics", days=2)
    assert made.token.expires == "2026-11-26T10:00:00+00:00"
    await access.remember()
    clock.ms = int(NOW.timestamp() * 1000) + 2 * DAY_MS - 1
    for scope in ("metrics", None):
        assert (await access.bearer(f"Bearer {made.text}", scope)).name == "short"
    clock.ms += 1
    assert await refused(access, f"Bearer {made.text}", "metrics", "") == (401, "expired")
    with pytest.raises(InvalidToken, match="days"):
        await access.add("never", "viewer", days=-1)


async def test_a_damaged_token_is_skipped_and_reported_and_can_be_revoked(
    access: Access, raw: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut off, of another form, or with an end that is no moment: it lets nobody in, and spoils no other."""
    good = (await access.add("good", "viewer")).text
    records = ("{", '{"scope":"viewer"}', '{"name":"n","scope":"admin","expires":"soon"}', "\xff", "")
    texts = [f"{n}-damaged-0123456789abcdef0123456789" for n in range(len(records))]
    for text, record in zip(texts, records, strict=True):
        await raw.hset(keys.TOKENS, _sha(text), record)
    for text in texts:
        assert await refused(access, f"Bearer {text}") == (401, "unknown-token")
    assert "is damaged and skipped" in caplog.text
    await access.remember()
    assert (await access.bearer(f"Bearer {good}", "viewer", "a")).name == "good"
    listing = await access.all()
    assert [each.token.name for each in listing.tokens] == ["good"]
    assert listing.damaged == sorted(_sha(text)[:16] for text in texts)
    for damaged in listing.damaged:
        await access.revoke(await access.id_of(damaged))
    assert (await access.all()).damaged == []


# Last use -------------------------------------------------------------------------------------------------------------


async def test_the_last_use_is_kept_once_an_hour(access: Access, raw: Redis, clock: Clock) -> None:
    made = await access.add("n", "viewer")
    unused = await access.add("unused", "viewer")

    async def used() -> dict[str, str]:
        await access.remember()
        return {each.token.name: each.used for each in (await access.all()).tokens}

    for _ in range(3):
        await access.bearer(f"Bearer {made.text}", "viewer", "a")
    assert await used() == {"n": "2026-11-24T10:00:00+00:00", "unused": ""}
    await raw.delete(keys.TOKENS_USED)  # what is written again shows
    clock.ms += HOUR_MS - 1000
    await access.bearer(f"Bearer {made.text}", "viewer", "a")
    assert (await used())["n"] == ""
    clock.ms += 1000
    await access.bearer(f"Bearer {made.text}", "viewer", "a")
    assert (await used())["n"] == "2026-11-24T11:00:00+00:00"
    for each in (made, unused):
        await access.revoke(each.id)
    assert await raw.exists(keys.TOKENS_USED) == 0


# Guessing -------------------------------------------------------------------------------------------------------------


def test_a_network_is_braked_for_the_rest_of_a_minute_in_a_table_of_fixed_size() -> None:
    """All processes write and read one table; a full one forgets nobody."""
    table = array("q", [0]) * PLACES
    mine, theirs = TokenTries(table), TokenTries(table)
    minute = 1_795_500_000_000 // 60_000 * 60_000
    for n in range(TRIES_A_MINUTE):
        assert not theirs.spent(7, minute)
        (mine, theirs)[n % 2].note(7, minute + n)
    for _ in range(1000):
        mine.note(7, minute)
    assert theirs.spent(7, minute + 59_999)
    assert not theirs.spent(8, minute)
    assert not theirs.spent(7, minute + 60_000)
    for network in range(0, 1 << 40, 1 << 24 | 11):
        mine.note(network, minute)
    assert len(table) == PLACES
    assert theirs.spent(7, minute)


async def test_a_right_token_from_a_braked_network_is_let_in_however_new_it_is(access: Access) -> None:
    """Unknown ones wait and are looked up together: a flood of guesses costs the store one command in a pause."""
    await access.remember()
    new = (await access.add("new", "viewer")).text
    counted = Counting(access)
    guesses = [access.bearer(f"Bearer guess-{n}", "viewer", "a", braked=True) for n in range(200)]
    right = access.bearer(f"Bearer {new}", "viewer", "a", braked=True)
    *wrong, found = await asyncio.gather(*guesses, right, return_exceptions=True)
    assert isinstance(found, AccessToken)
    assert found.name == "new"
    assert all(isinstance(each, Denied) and each.status == 401 for each in wrong)
    assert counted.asked == 1
    await access.remember()
    await access.bearer(f"Bearer {new}", "viewer", "a", braked=True)
    await access.revoke(await access.id_of("new"))
    with pytest.raises(Denied):  # it is remembered, and asked for all the same
        await access.bearer(f"Bearer {new}", "viewer", "a", braked=True)


class Counting:
    """Counts how often all tokens are read."""

    def __init__(self, access: Access) -> None:
        self.asked = 0
        self._tokens = access._records.tokens
        access._records.tokens = self  # type: ignore[method-assign]

    async def __call__(self) -> Tokens:
        self.asked += 1
        return await self._tokens()


# What was refused -----------------------------------------------------------------------------------------------------

ANN = Refusal(403, "site", "ann", "203.0.113.0/24", "GET /v1/admin/sites/{site}/articles", "b")


async def test_refusals_are_counted_by_day_and_by_all_processes(raw: Redis, clock: Clock) -> None:
    one, two = (Refusals(RefusalRows(raw), clock) for _ in range(2))
    for each in (one, one, two):
        each.note(ANN)
    await one.keep()
    await two.keep()
    await two.keep()
    clock.ms += DAY_MS
    one.note(ANN)
    other = ANN._replace(status=401, reason="expired")
    one.note(other)
    assert await one.last(1) == [Refused(other, 1, clock.ms), Refused(ANN, 1, clock.ms)]
    assert await two.last(2) == [Refused(other, 1, clock.ms), Refused(ANN, 4, clock.ms)]
    for day in ("2026-11-24", "2026-11-25"):
        midnight = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() + 86_400
        assert await raw.expiretime(keys.refusals(day)) == midnight + 30 * 86_400


async def test_refusals_take_a_bounded_room_and_none_is_lost(raw: Redis, clock: Clock) -> None:
    """In the process while the store is away, and in the store: the sum stays right."""
    refusals = Refusals(RefusalRows(raw), clock)
    for n in range(3 * MOST_ROWS):
        refusals.note(ANN._replace(who="", network=f"{n}"))
    assert len(refusals._found) <= MOST_ROWS + 1
    found = await refusals.last(1)
    assert sum(row.times for row in found) == 3 * MOST_ROWS
    for n in range(MOST_ROWS):
        refusals.note(ANN._replace(who="", network=f"again {n}"))
    found = await refusals.last(1)
    assert len(found) <= MOST_ROWS + 1
    assert {row.refusal: row.times for row in found}[OTHERS] == 4 * MOST_ROWS - (len(found) - 1)


async def test_refusals_wait_for_a_store_that_is_away(raw: Redis, clock: Clock) -> None:
    rows = RefusalRows(raw)
    refusals = Refusals(rows, clock)
    away, rows.add = rows.add, _away  # type: ignore[method-assign]
    refusals.note(ANN)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await refusals.keep()
    rows.add = away  # type: ignore[method-assign]
    refusals.note(ANN)
    assert await refusals.last(1) == [Refused(ANN, 2, clock.ms)]


async def _away(day: str, found: object) -> None:
    raise StoreUnavailable("away")


def _sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()
