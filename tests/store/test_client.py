"""The connections of the store: what is lost is said in our words, and found again."""

from __future__ import annotations

import pytest

from visitstats.core.errors import StoreUnavailable
from visitstats.store.client import translated
from visitstats.store.line import ScriptLine


@pytest.mark.parametrize(
    "broken", [RuntimeError("unable to perform operation; the handler is closed"), OSError("gone")]
)
def test_a_connection_that_was_lost_is_a_store_that_is_away(broken: Exception) -> None:
    """In the words of whichever event loop: a worker that starts just then must not end for it."""
    with pytest.raises(StoreUnavailable), translated():
        raise broken
    with pytest.raises(RuntimeError, match="a bug"), translated():
        raise RuntimeError("a bug")


async def test_scripts_that_could_not_be_loaded_are_loaded_the_next_time(redis_url: str) -> None:
    """A failure between two of them must not leave a connection that knows only the first."""
    line = ScriptLine(redis_url, {"good": b"#!lua\nreturn 1", "bad": b"#!lua\nthis is no Lua"})
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await line.run([("bad", [], [])])
        line._scripts["bad"] = b"#!lua\nreturn 2"
        assert await line.run([("bad", [], []), ("good", [], [])]) == [2, 1]
    finally:
        await line.close()
