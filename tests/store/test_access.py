"""Who may read what: bearer tokens, shown once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from visitstats.access import PREFIX, SCOPES, Access, InvalidToken
from visitstats.core.errors import Denied, NotFound
from visitstats.store import keys
from visitstats.store.records import AccessToken, Records

NOW = datetime(2026, 11, 24, 10, 0, 0, 123, tzinfo=UTC)


@pytest.fixture
def access(raw: Redis) -> Access:
    return Access(Records(raw))


async def test_a_tokens_text_is_not_kept_anywhere(access: Access, raw: Redis) -> None:
    text = await access.add("Phòng tin", "viewer", "", NOW)
    assert text.startswith(PREFIX)
    assert len(text) > 40
    kept = b"".join(part for pair in (await raw.hgetall(keys.TOKENS)).items() for part in pair)  # type: ignore[misc]
    assert text.encode() not in kept
    assert text[len(PREFIX) :].encode() not in kept
    assert await access.all() == [AccessToken(name="Phòng tin", scope="viewer", created="2026-11-24T10:00:00+00:00")]


async def test_no_two_tokens_have_one_text(access: Access) -> None:
    assert len({await access.add(f"n{n}", "viewer", "", NOW) for n in range(10)}) == 10


@pytest.mark.parametrize("scope", ["admin", "editor", "viewer"])
async def test_a_token_opens_what_it_was_made_for(access: Access, scope: str) -> None:
    everywhere = await access.add("everywhere", scope, "", NOW)
    one = await access.add("one", scope, "a", NOW)
    assert (await access.bearer(f"Bearer {everywhere}", "viewer", "a")).name == "everywhere"
    assert (await access.bearer(f"bearer  {one} ", "viewer", "a")).name == "one"
    with pytest.raises(Denied) as denied:
        await access.bearer(f"Bearer {one}", "viewer", "b")
    assert denied.value.status == 403


async def test_a_token_for_metrics_reads_no_articles(access: Access) -> None:
    text = await access.add("scraper", "metrics", "", NOW)
    with pytest.raises(Denied) as denied:
        await access.bearer(f"Bearer {text}", "viewer", "a")
    assert denied.value.status == 403


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic eDp5", "vs_x", "Bearer vs_x", "Bearer " + "x" * 5000, "Bearer đ", "Bearer \udcff"],
)
async def test_whatever_else_is_sent_is_answered_401(access: Access, header: str) -> None:
    await access.add("there is one", "viewer", "", NOW)
    with pytest.raises(Denied) as denied:
        await access.bearer(header, "viewer", "a")
    assert denied.value.status == 401


async def test_a_digest_that_leaked_is_no_token(access: Access, raw: Redis) -> None:
    await access.add("n", "viewer", "", NOW)
    [digest] = await raw.hkeys(keys.TOKENS)
    with pytest.raises(Denied):
        await access.bearer(f"Bearer {digest.decode()}", "viewer", "a")  # type: ignore[union-attr]


async def test_a_revoked_token_is_useless_at_once(access: Access) -> None:
    text = await access.add("n", "viewer", "", NOW)
    other = await access.add("other", "viewer", "", NOW)
    await access.revoke("n")
    with pytest.raises(Denied):
        await access.bearer(f"Bearer {text}", "viewer", "a")
    assert (await access.bearer(f"Bearer {other}", "viewer", "a")).name == "other"
    with pytest.raises(NotFound, match="'n'"):
        await access.revoke("n")


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "two\nlines", "tab\t", "\u202egnitseretni"])
async def test_a_name_that_could_mislead_is_refused(access: Access, raw: Redis, name: str) -> None:
    with pytest.raises(InvalidToken, match="1 to 80 printable"):
        await access.add(name, "viewer", "", NOW)
    assert await raw.keys() == []


async def test_a_scope_that_does_not_exist_is_refused_with_those_that_do(access: Access) -> None:
    with pytest.raises(InvalidToken, match=", ".join(SCOPES)):
        await access.add("n", "owner", "", NOW)


async def test_names_are_unique_so_that_the_right_one_is_revoked(access: Access) -> None:
    await access.add("n", "viewer", "", NOW)
    with pytest.raises(InvalidToken, match="already"):
        await access.add("n", "admin", "", NOW)


async def test_tokens_are_listed_by_name(access: Access) -> None:
    for name in ("c", "a", "b"):
        await access.add(name, "viewer", "", NOW)
    assert [token.name for token in await access.all()] == ["a", "b", "c"]


async def test_a_token_may_be_made_elsewhere_and_be_added_at_every_start(access: Access) -> None:
    """As a secret that is mounted; the same text for something else is another token."""
    text = "0123456789abcdef0123456789abcdef"
    for _ in range(2):
        assert await access.add("prometheus", "metrics", "", NOW, text) == text
    assert len(await access.all()) == 1
    assert (await access.bearer(f"Bearer {text}", "metrics")).name == "prometheus"
    for name, scope in (("prometheus", "admin"), ("other", "metrics")):
        with pytest.raises(InvalidToken, match="already"):
            await access.add(name, scope, "", NOW, text)
    with pytest.raises(InvalidToken, match="already"):
        await access.add("prometheus", "metrics", "", NOW, "another-0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize("text", ["short", "x" * 101, "with a space in it, and more than that", "đ" * 40, "a\n" * 20])
async def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(access: Access, text: str) -> None:
    with pytest.raises(InvalidToken, match="32 to 100"):
        await access.add("made elsewhere", "metrics", "", NOW, text)
    assert await access.all() == []
