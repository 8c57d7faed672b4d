"""Open the files of an import, packed or not. A file that has no numbers is refused with one clear line.

A source is read several times, and never as a whole: gzip and zip are unpacked while they are read.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

from visitstats.imports.places import ImportRefused, Place

MAX_BYTES = 2 * 1024**3
"""The most bytes of all files together when they are unpacked."""
MAX_RATIO, SURELY_NO_BOMB = 200, 64 * 1024**2
"""A file is refused that unpacks to more than SURELY_NO_BOMB bytes and to more than MAX_RATIO times its size. Dumps of
tables unpack to 5 to 30 times their size."""
MAX_BOOK_BYTES = 512 * 1024**2
"""The most bytes of a workbook's largest sheet, unpacked: half a million rows have 150 MB."""
MOST_MEMBERS = 1000
PIECE = 1 << 20

_REFUSED = (
    (b"%PDF", "a PDF, which holds no table: export the numbers as .xlsx or .csv"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"\x89PNG", "a picture, not a table"),
    (b"\xff\xd8\xff", "a picture, not a table"),
    (b"GIF8", "a picture, not a table"),
    (b"\x7fELF", "a program, not a table"),
    (b"MZ", "a program, not a table"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first"),
    (b"REDIS0", "a Redis snapshot: export its keys with redis-cli"),
    (b"PGDMP", "a PostgreSQL archive: write it as text with pg_restore -f dump.sql"),
)
_WEB_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body", b"<!--", b"<table", b"<script", b"<meta")
_DAMAGES = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error)
"""The errors of reading an archive that is damaged, or packed by a method that the library does not support."""
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SQLITE = b"SQLite format 3\x00"


class Item(NamedTuple):
    """A file, or a file that is packed in an archive."""

    name: str
    """The name to show to people, without the folder."""
    form: str
    """text, book or database."""
    open: Callable[[], BinaryIO]
    path: Path | None
    """The path of the file when it is not packed."""

    @property
    def place(self) -> Place:
        """The whole file."""
        return Place(self.name)


class Budget:
    """The number of bytes that may still be unpacked."""

    def __init__(self, most: int = MAX_BYTES) -> None:
        self.most = most
        self._left = most

    def take(self, n: int, place: Place) -> None:
        """Subtract `n` bytes. Raises ImportRefused when the budget is exceeded."""
        self._left -= n
        if self._left < 0:
            raise ImportRefused(place, f"more than {self.most // 1024**2} MB when it is unpacked")


def items(paths: list[Path], most: int = MAX_BYTES) -> list[Item]:
    """Return the items in these files. Raises ImportRefused."""
    found: list[Item] = []
    for path in paths:
        place = Place(path.name)
        try:
            size = path.stat().st_size
            if not path.is_file():
                raise ImportRefused(place, "a folder, not a file" if path.is_dir() else "not a file")
            with path.open("rb") as file:
                head = file.read(4096)
        except OSError as error:
            raise ImportRefused(place, f"it cannot be read: {error.strerror or error}") from error
        if size > most:
            raise ImportRefused(place, f"more than {most // 1024**2} MB")
        found += _items_in(path.name, head, lambda path=path: path.open("rb"), path, size)  # type: ignore[misc]
    return found


def _items_in(
    name: str, head: bytes, opener: Callable[[], BinaryIO], path: Path | None, size: int, depth: int = 0
) -> list[Item]:
    place = Place(name)
    if not head:
        raise ImportRefused(place, "an empty file")
    if head.startswith(b"\x1f\x8b"):
        if depth:
            raise ImportRefused(place, "packed twice: unpack it first")
        inner = name.removesuffix(".gz")

        def unpacked() -> BinaryIO:
            packed = opener()
            return cast(BinaryIO, _Checked(gzip.GzipFile(fileobj=packed), place, size, packed))

        with unpacked() as file:
            return _items_in(inner, file.read(4096), unpacked, None, size, 1)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zipped(name, opener, path, depth)
    if head.startswith(_OLE):
        return [Item(name, "book", opener, path)]
    if head.startswith(_SQLITE):
        return [Item(name, "database", opener, path)]
    for mark, why in _REFUSED:
        if head.startswith(mark):
            raise ImportRefused(place, why)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_WEB_PAGES) or b"<!doctype html" in start[:200]:
        raise ImportRefused(
            place.at(1), "a web page, not a table", hint="perhaps the session had ended: sign in and export it again"
        )
    return [Item(name, "text", opener, path)]


def _zipped(name: str, opener: Callable[[], BinaryIO], path: Path | None, depth: int) -> list[Item]:
    place = Place(name)
    try:
        with opener() as file, zipfile.ZipFile(_seekable(file)) as archive:
            members = archive.infolist()
            names = {member.filename for member in members}
            mimetype = archive.read("mimetype")[:80] if "mimetype" in names else b""
    except _DAMAGES as error:
        raise ImportRefused(place, f"a damaged archive or workbook ({error})") from error
    if "[Content_Types].xml" in names or mimetype.startswith(b"application/vnd.oasis"):
        if any(_is_bomb(member) or member.file_size > MAX_BOOK_BYTES for member in members):
            raise ImportRefused(place, f"a workbook that unpacks to more than {MAX_BOOK_BYTES // 1024**2} MB")
        if not any(part in names for part in ("xl/workbook.xml", "xl/workbook.bin", "content.xml")):
            raise ImportRefused(place, "a document, not a workbook")
        return [Item(name, "book", opener, path)]
    if depth:
        raise ImportRefused(place, "packed twice: unpack it first")
    if len(members) > MOST_MEMBERS:
        raise ImportRefused(place, f"an archive of more than {MOST_MEMBERS} files")
    found: list[Item] = []
    for member in members:
        base = member.filename.rsplit("/", 1)[-1]
        # Archives also contain folders, empty files, and hidden files such as those of macOS.
        if member.is_dir() or not member.file_size or base.startswith(".") or "__MACOSX" in member.filename:
            continue
        inner = Place(f"{name}/{member.filename}")
        if member.flag_bits & 1:
            raise ImportRefused(inner, "it has a password: save it without one")
        if _is_bomb(member):
            raise ImportRefused(inner, f"it unpacks to {MAX_RATIO} times its size and more")

        def unpacked(member: zipfile.ZipInfo = member, inner: Place = inner) -> BinaryIO:
            packed = opener()
            try:
                archive = zipfile.ZipFile(_seekable(packed))
                found = archive.open(member)
            except (*_DAMAGES, ValueError) as error:
                packed.close()
                raise ImportRefused(inner, f"a damaged archive ({error})") from error
            return cast(BinaryIO, _Checked(found, inner, member.compress_size, archive, packed))

        with unpacked() as file:
            head = file.read(4096)
        found += _items_in(inner.file, head, unpacked, None, member.compress_size, 1)
    if not found:
        raise ImportRefused(place, "an archive without files")
    return found


def _is_bomb(member: zipfile.ZipInfo) -> bool:
    return member.file_size > SURELY_NO_BOMB and member.file_size > MAX_RATIO * max(member.compress_size, 1)


def _seekable(file: BinaryIO) -> BinaryIO:
    return file if file.seekable() else io.BytesIO(file.read(MAX_BOOK_BYTES))


class _Checked(io.RawIOBase):
    """An unpacked stream. It turns errors of the archive into ImportRefused, and detects a zip bomb while unpacking."""

    def __init__(
        self, file: IO[bytes] | gzip.GzipFile, place: Place, packed: int, *below: zipfile.ZipFile | BinaryIO
    ) -> None:
        """`packed` is the size in the archive; the objects in `below` are closed with this stream."""
        super().__init__()
        self._below = below
        self._file = file
        self._place = place
        self._packed = packed
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(PIECE), b""))
        try:
            data = self._file.read(size)
        except _DAMAGES as error:
            raise ImportRefused(self._place, f"a damaged or cut archive ({error})") from error
        self._count += len(data)
        if self._count > MAX_BYTES or self._count > max(SURELY_NO_BOMB, MAX_RATIO * self._packed):
            raise ImportRefused(self._place, f"it unpacks to {self._count // 1024**2} MB and more")
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        for each in self._below:
            each.close()
        super().close()


def pieces(item: Item) -> Iterator[bytes]:
    """Yield the content of a file in pieces. Raises ImportRefused."""
    with item.open() as file:
        while data := file.read(PIECE):
            yield data


def digest(item: Item, budget: Budget) -> bytes:
    """Return the SHA-256 of the unpacked content of a file. Raises ImportRefused."""
    found = sha256()
    for data in pieces(item):
        budget.take(len(data), item.place)
        found.update(data)
    return found.digest()


@contextmanager
def seekable(item: Item) -> Iterator[BinaryIO]:
    """Open a file for random access; a packed workbook is held in memory."""
    with item.open() as file:
        if file.seekable():
            yield file
        else:
            yield io.BytesIO(file.read(MAX_BOOK_BYTES))
