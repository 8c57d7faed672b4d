"""A temporary store for the length of a block: it loads a snapshot, or a backup that is tried."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from visitstats.embedded.process import EmbeddedStore

TEMPORARY = ".visitstats-tmp-"
"""How the names of temporary folders begin: those that a killed process left are removed by the next backup."""


@contextmanager
def throwaway_store(folder: Path, snapshot: Path | None = None) -> Iterator[str]:
    """Start a store in a folder, empty or with what a snapshot (RDB) holds, and yield its address. Call it from the
    main thread. Raises NoServerFound, and StoreNotStarted when the server cannot read the snapshot."""
    if snapshot is not None:
        # A server with an append-only file takes its base from there, and looks at no other snapshot.
        place = folder / "valkey" / "appendonlydir"
        place.mkdir(mode=0o700, parents=True)
        snapshot.rename(place / "appendonly.aof.1.base.rdb")
        (place / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n", "ascii")
    with EmbeddedStore.start(folder) as store:
        yield store.url


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """A private folder that is gone after the block."""
    with TemporaryDirectory(prefix=TEMPORARY, dir=within) as name:
        yield Path(name)
