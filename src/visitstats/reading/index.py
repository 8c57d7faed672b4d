"""The index of articles: one SQLite file for each data folder. It is made from the store and needs no backup.

Lists are found, filtered and sorted here; the numbers that they show are read from the store (`reading/query.py`).

    site      how far the index has read a site (`store.register.State`), and whether it is complete
    article   each article's number, key, folded title, author, category, type, publication, views of all time
    place     id → number            word    the names of authors, categories and types
    alias     article → the article that it was merged into
    day       date → the views of each article, for the days that the store has beside its packed months
    quarter   the quarters up to whose end there are sums, and the version of the packed months in these sums
    sums      views of each article in all packed months up to the end of a quarter, by block (`closed.py`)

One process writes at a time (`Index.lock`); meanwhile the others read the previous content (WAL). A file that is
missing, damaged or of another form is made anew. Every call blocks for milliseconds, and may raise IndexUnavailable.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from visitstats.core.errors import VisitstatsError
from visitstats.store.register import State
from visitstats.system.files import CREATE

FORM = 1
"""The schema number. A file with another one is made anew."""
SITE_BITS = 32
CACHE_KIB = 32 * 1024
WAIT_SECONDS = 5.0

SHOWN, HIDDEN, MERGED = 0, 1, 2
"""The states of an article: in every list, only in lists that include hidden articles, in no list."""

_TABLES = """
CREATE TABLE site (sid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, ready INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0, whole INTEGER NOT NULL DEFAULT 0, passed_ms INTEGER NOT NULL DEFAULT 0,
    cost_ms INTEGER NOT NULL DEFAULT 0, version INTEGER NOT NULL DEFAULT 0, state BLOB, tail BLOB, months BLOB);
CREATE TABLE word (id INTEGER PRIMARY KEY, sid INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
    folded TEXT NOT NULL, UNIQUE (sid, kind, text));
CREATE TABLE article (at INTEGER PRIMARY KEY, sid INTEGER NOT NULL, state INTEGER NOT NULL, total INTEGER NOT NULL,
    author INTEGER, category INTEGER, type INTEGER, published INTEGER, title TEXT NOT NULL, key TEXT);
CREATE TABLE place (id INTEGER NOT NULL, sid INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (id, sid))
    WITHOUT ROWID;
CREATE TABLE alias (sid INTEGER NOT NULL, id INTEGER NOT NULL, target INTEGER NOT NULL, PRIMARY KEY (sid, id))
    WITHOUT ROWID;
CREATE TABLE quarter (sid INTEGER NOT NULL, name TEXT NOT NULL, made BLOB NOT NULL, PRIMARY KEY (sid, name))
    WITHOUT ROWID;
CREATE TABLE sums (sid INTEGER NOT NULL, quarter TEXT NOT NULL, block INTEGER NOT NULL, cells BLOB NOT NULL,
    PRIMARY KEY (sid, quarter, block)) WITHOUT ROWID;
CREATE TABLE day (sid INTEGER NOT NULL, date TEXT NOT NULL, views INTEGER NOT NULL, cells BLOB NOT NULL,
    PRIMARY KEY (sid, date)) WITHOUT ROWID;
"""
INDEXES = {
    "by_total": "article (sid, total) WHERE state = 0",
    "by_author": "article (author, total) WHERE state = 0 AND author IS NOT NULL",
    "by_category": "article (category, total) WHERE state = 0 AND category IS NOT NULL",
    "by_state": "article (sid, state) WHERE state <> 0",
    "by_publication": "article (sid, published) WHERE state = 0",
}


class IndexUnavailable(VisitstatsError):
    """The index cannot be written or read: the disk is full, or the folder belongs to another user."""


class IndexBuilding(VisitstatsError):
    """The index of a site is being made. `done` of `whole` articles are in it."""

    def __init__(self, done: int, whole: int) -> None:
        super().__init__(f"the list is being made: {done} of {whole} articles; ask again in a few seconds")
        self.done = done
        self.whole = whole


class Damaged(Exception):
    """The index file is damaged. It is made anew."""


class Known(msgspec.Struct, frozen=True):
    """How far the index has read a site."""

    sid: int
    ready: bool
    """Whether the index has all articles of the site."""
    done: int
    whole: int
    passed_ms: int
    """When it was last brought up to date."""
    cost_ms: int
    """How long the last update took."""
    version: int
    """A random number that changes with the site's rows. A result that was computed for one version is valid for it."""
    state: State
    tail: bytes
    """A digest of the last known ids. If the store's ids differ from it, the store is another one."""
    months: dict[str, dict[str, int]]
    """For each month, the views of all articles together by day, and the corrections, as last read
    (`Register.days`)."""


_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(State).decode
_decode_months = msgspec.msgpack.Decoder(dict[str, dict[str, int]]).decode


class Index:
    """The index file in a folder. Two threads must not use one object at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "index.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)

    @property
    def orders(self) -> Path:
        """The folder of kept orders (`reading/orders.py`)."""
        return self._folder / "index.orders"

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open the existing file, or a new one. Raises Damaged after a damaged file has been removed."""
        with self._told():
            yield self._open()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction: everything done inside is written, or nothing is. Call it only under `lock`."""
        with self._told():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Take the write lock; yield False when another process has it. Never waits."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._folder / "index.lock", os.O_RDWR | CREATE, 0o600)
        except OSError as error:
            raise IndexUnavailable(f"the index of articles cannot be written: {error}") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)

    def known(self, site: str) -> Known | None:
        """Return how far a site was read; None for a site that was never asked for."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT sid, ready, done, whole, passed_ms, cost_ms, version, state, tail, months FROM site"
                " WHERE name = ?", (site,),
            ).fetchone()  # fmt: skip
            if row is None:
                return None
            *numbers, state, tail, months = row
            sid, ready, done, whole, passed_ms, cost_ms, version = numbers
            try:
                return Known(
                    sid, bool(ready), done, whole, passed_ms, cost_ms, version,
                    _decode_state(state) if state else State(), tail or b"", _decode_months(months) if months else {},
                )  # fmt: skip
            except msgspec.MsgspecError as error:
                raise sqlite3.DatabaseError(f"malformed: {error}") from error

    def _open(self) -> sqlite3.Connection:
        try:
            found = os.stat(self._path)
            inode = (found.st_dev, found.st_ino)
        except OSError:
            inode = (0, 0)
        if self._connection is None or inode != self._inode or inode == (0, 0):
            self.close()
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        found = os.stat(self._path)
        self._inode = (found.st_dev, found.st_ino)
        try:
            os.chmod(self._path, 0o600)
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute("PRAGMA synchronous = NORMAL")
            if _form(connection) != FORM:
                self._create(connection)
            return connection
        except BaseException:
            connection.close()
            raise

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        form = _form(connection)
        if form == FORM:  # another process was faster
            connection.execute("ROLLBACK")
            return
        if form or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute("ROLLBACK")
            raise sqlite3.DatabaseError(f"its form is {form}")
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        for name, what in INDEXES.items():
            connection.execute(f"CREATE INDEX {name} ON {what}")
        connection.execute(f"PRAGMA user_version = {FORM}")
        connection.execute("COMMIT")

    def _remove(self) -> None:
        self.close()
        with suppress(OSError):
            found = os.stat(self._path)
            if (found.st_dev, found.st_ino) != self._inode:
                return  # another process was faster, and has made a new one
        for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
            with suppress(FileNotFoundError):
                os.unlink(self._folder / name)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Translate SQLite's errors into those of this module, and remove a damaged file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            self.close()
            if _is_damage(error):
                self._remove()
                raise Damaged(str(error)) from error
            raise IndexUnavailable(f"the index of articles cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            self._remove()
            raise Damaged(str(error)) from error
        except OSError as error:
            self.close()
            raise IndexUnavailable(f"the index of articles cannot be used: {error}") from error


@contextmanager
def open_index(folder: Path) -> Iterator[Index]:
    """Open the index of a data folder if this user owns the folder, otherwise a temporary index. A file that another
    user owns would lock the service out of its own index; a temporary index answers lists, too."""
    with TemporaryDirectory(prefix="visitstats-") as elsewhere:
        try:
            is_ours = folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK | os.X_OK)
        except OSError:
            is_ours = False
        index = Index(folder if is_ours else Path(elsewhere))
        try:
            yield index
        finally:
            index.close()


def _form(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _is_damage(error: sqlite3.OperationalError) -> bool:
    # SQLite says "no such table" for a file that lacks a table of its form, "disk I/O error" for a truncated file.
    return any(word in str(error) for word in ("no such", "has no column", "malformed", "disk I/O error"))


def start(connection: sqlite3.Connection, site: str, whole: int) -> int:
    """Start a site anew, without articles; return its number in the index."""
    row = connection.execute("SELECT sid FROM site WHERE name = ?", (site,)).fetchone()
    if row is not None:
        for table in ("article", "place", "word", "alias", "day", "quarter", "sums", "site"):
            connection.execute(f"DELETE FROM {table} WHERE sid = ?", row)  # noqa: S608
    connection.execute("INSERT INTO site (name, whole) VALUES (?, ?)", (site, whole))
    [sid] = connection.execute("SELECT sid FROM site WHERE name = ?", (site,)).fetchone()
    return int(sid)


def note(connection: sqlite3.Connection, known: Known) -> None:
    """Record how far a site was read."""
    connection.execute(
        "UPDATE site SET ready = ?, done = ?, whole = ?, passed_ms = ?, cost_ms = ?, version = ?, state = ?, tail = ?,"
        " months = ? WHERE sid = ?",
        (
            known.ready, known.done, known.whole, known.passed_ms, known.cost_ms, known.version,
            _encode(known.state), known.tail, _encode(known.months), known.sid,
        ),
    )  # fmt: skip
