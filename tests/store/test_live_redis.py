"""busuanzi and Vercount are read from their own Redis, which is not written to, and asked nothing that holds it up."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.importing import outcome_of
from tests.shell import Shell
from visitstats.embedded.process import EmbeddedStore
from visitstats.imports.options import Options
from visitstats.imports.places import ImportRefused
from visitstats.imports.redislive import fetch

HOST = "bacha.example.vn"
ONLY = ("scan", "type", "getrange", "zscan", "client", "hello", "select", "ping")
"""What is asked; `client` names the connection."""

StartStore = Callable[..., EmbeddedStore]


def digest(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def contents(client: Redis) -> dict[bytes, bytes | None]:
    return {name: client.dump(name) for name in client.scan_iter()}


@pytest.fixture
def old(start_store: StartStore) -> Redis:
    store = start_store()
    client = Redis.from_url(store.url)
    # Whoever reads may do nothing but read.
    may = [f"+{each}" for each in ONLY]
    client.acl_setuser("reader", True, False, ["+p@ss"], keys=["*"], categories=["-@all"], commands=may)
    return client


def address(client: Redis, user: str = "reader:p%40ss") -> str:
    path = client.connection_pool.connection_kwargs["path"]
    return f"unix://{user}@{path}"


def brought(client: Redis, folder: Path, **options: Any) -> dict[str, Any]:
    path = fetch(address(client), folder, Options(**{name: options[name] for name in options if name != "pages"}))
    return outcome_of([path], folder, **options)


def test_busuanzi_from_its_redis(old: Redis, tmp_path: Path) -> None:
    """Every page among thousands, beside keys of others; hashes are matched with a list of addresses."""
    site = digest(HOST)
    old.set(f"bsz:site_pv:{site}", 90_000)
    old.zadd(f"bsz:page_pv:{site}", {digest(f"/tin/{n}.html"): n + 1 for n in range(3000)})
    old.pfadd(f"bsz:site_uv:{site}", "a", "b")
    old.mset({f"session:{n}": "x" * 100 for n in range(2500)})
    old.zadd("queue", {"bsz:site_pv:x": 5})
    before = contents(old)
    found = brought(old, tmp_path, pages=tuple(f"/tin/{n}.html" for n in range(2990)))
    assert found["reader"] == "busuanzi"
    assert found["site"]["views_total"] == 90_000
    assert {key: each["views"] for key, each in found["articles"].items()} == {
        f"/tin/{n}.html": n + 1 for n in range(2990)
    }
    assert found["rows"]["unmatched"] == 10
    assert contents(old) == before


def test_vercount_and_busuanzi_in_plain_text(old: Redis, tmp_path: Path) -> None:
    """Where both are there, it has to be said which is meant; a beginning of one's own, too."""
    old.mset({f"pv:site:{HOST}": 90, f"pv:page:{HOST}:/a": 40, "pv:site:other.vn": 7, f"uv:site:{HOST}": 5})
    found = brought(old, tmp_path)
    assert found["reader"] == "vercount"
    assert (found["site"]["views_total"], found["articles"]["/a"]["views"]) == (90, 40)
    old.mset({f"my*:site_pv:{HOST}": 50, f"my*:page_pv:{HOST}:/a": 20, f"myx:site_pv:{HOST}": 1})
    found = brought(old, tmp_path, kind="busuanzi", prefix="my*")
    assert (found["site"]["views_total"], found["articles"]["/a"]["views"]) == (50, 20)
    with pytest.raises(ImportRefused, match="say --kind"):
        brought(old, tmp_path, prefix="my*")


def test_the_command_reads_it_anew_each_time(old: Redis, tmp_path: Path, redis_url: str) -> None:
    """The same counters again change nothing; those that have grown take the place of the earlier ones."""
    shell = Shell(tmp_path, redis_url, tmp_path / "data")
    shell("site", "add", "s", "--host", HOST)
    old.mset({f"pv:site:{HOST}": 90, f"pv:page:{HOST}:/a": 40})
    assert "0 → 90" in shell("import", "s", address(old))
    assert "changes nothing" in shell("import", "s", address(old))
    old.incr(f"pv:site:{HOST}")
    said = shell("import", "s", address(old))
    assert "90 → 91" in said


def test_a_redis_that_cannot_be_read_is_one_clear_line(old: Redis, tmp_path: Path) -> None:
    """No password is shown, whatever is wrong."""
    nowhere = f"unix://reader:s3cret@{tmp_path}/nowhere.sock"
    for url, why in (
        (address(old, "reader:s3cret"), "lets nobody in"),
        (nowhere, "cannot be reached"),
        ("redis://reader:s3cret@127.0.0.1:1/0", "cannot be reached"),
        ("redis://reader:s3cret@[::1/0", "no address of a Redis"),
        (address(old), "no key begins with bsz:site_pv:"),
    ):
        with pytest.raises(ImportRefused, match=why) as refused:
            fetch(url, tmp_path, Options())
        assert "s3cret" not in str(refused.value)
        assert "\n" not in str(refused.value)
    old.set(f"pv:site:{HOST}", "x" * 10_000_000)
    assert "whole number" in brought(old, tmp_path)["refused"]["why"]
    old.acl_setuser("reader", True, False, commands=["-scan"])
    with pytest.raises(ImportRefused, match="refuses to be read"):
        fetch(address(old), tmp_path, Options())
