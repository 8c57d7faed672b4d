"""The desk: a process beside a worker that does the heavy work of lists, so that no hit waits for it.

It reads requests on its standard input and answers on its standard output, in frames: four bytes of length, then
msgpack. Each request may have WINDOW parts on the way; the next part is made when one of them was taken. So a slow
reader of a large file costs neither side memory, and delays no other request. The desk ends when its input ends, so
it always ends with its worker.
"""

import asyncio
import logging
import os
import secrets
import signal
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from visitstats.core.closing import ClosingDamaged
from visitstats.core.errors import InvalidQuery, NoSuchArticle, StoreUnavailable, VisitstatsError
from visitstats.core.query import Query
from visitstats.core.sites import Site
from visitstats.reading.article_history import ArticleHistory
from visitstats.reading.closings import ClosedMonths
from visitstats.reading.exports import CsvText, Kind, Language, Workbook, columns, delimiter
from visitstats.reading.file_progress import Told, place_of
from visitstats.reading.index import Index, IndexBuilding, IndexUnavailable, open_index
from visitstats.reading.index_build import Updater
from visitstats.reading.query import Articles
from visitstats.reading.report_files import ReportFiles
from visitstats.reading.reports import Kind as ReportKind
from visitstats.reading.reports import Reports
from visitstats.settings import Settings
from visitstats.store.changes import Changes
from visitstats.store.client import open_client
from visitstats.store.closings import Closings
from visitstats.store.history import SiteHistory
from visitstats.store.packing import Packer
from visitstats.store.reads import Reads
from visitstats.store.register import Register
from visitstats.store.tiles import Tiles
from visitstats.system.ending import end

log = logging.getLogger(__name__)

WINDOW = 4
"""How many parts of an answer may be sent and not taken yet."""
MOST_FRAME = 64 * 1024 * 1024
MOST_REQUESTS = 64
"""How many requests may run at once; further ones are refused."""
FILE_PIECE = 64 * 1024
NICE = 5
"""The niceness of the process: hits have priority."""
LENGTH = struct.Struct(">I")


class Ask(msgspec.Struct, tag=True, frozen=True):
    """Begin a request: a page of a list, the most read articles, a report, a file; or only bring the index up to
    date."""

    id: int
    site: Site
    what: str
    seconds: float
    """How long the whole answer may take; 0 means as long as the reader keeps reading."""
    now_ms: int = 0
    """The time by the worker's clock."""
    query: Query = Query()
    history: tuple[str, str, str, str] = ("", "day", "", "")
    """An article's key; day, month or year; the first and the last day, or empty texts."""
    labels: tuple[str, str, int] = ("author", "", 0)
    """Author, category or type; a text that the names contain; how many names at most."""
    kind: Kind = "csv"
    language: Language = "vi"
    delimiter: str = ";"
    report: ReportKind | None = None
    """What a report, or the file of one, is about; a file without it is a list."""
    told: str = ""
    """The name under which the progress of a file is written down; empty for no progress."""


class Taken(msgspec.Struct, tag=True, frozen=True):
    """A part of an answer was taken."""

    id: int


class Stop(msgspec.Struct, tag=True, frozen=True):
    """The rest of an answer is no longer wanted."""

    id: int


class Part(msgspec.Struct, tag=True, frozen=True):
    """A part of an answer."""

    id: int
    data: bytes


class End(msgspec.Struct, tag=True, frozen=True):
    """An answer is complete, or was refused with one of ERRORS."""

    id: int
    error: str = ""
    text: str = ""
    numbers: tuple[int, int] = (0, 0)
    """The progress of an index that is being made: articles done, and articles in all."""


Request = Ask | Taken | Stop
Answer = Part | End
ERRORS: dict[str, type[VisitstatsError]] = {
    error.__name__: error
    for error in (
        InvalidQuery,
        NoSuchArticle,
        StoreUnavailable,
        IndexUnavailable,
        IndexBuilding,
        ClosingDamaged,
    )
}
"""The errors that a request may end with. Any other error is a bug of this program, and is reported as one."""

encode = msgspec.msgpack.Encoder().encode
decode_request: Callable[[bytes], Request] = msgspec.msgpack.Decoder(Request).decode
decode_answer: Callable[[bytes], Answer] = msgspec.msgpack.Decoder(Answer).decode


def frame(message: Request | Answer) -> bytes:
    """Write a message."""
    data = encode(message)
    return LENGTH.pack(len(data)) + data


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield messages until the other side closes the pipe."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            [length] = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            if length > MOST_FRAME:
                return
            yield await reader.readexactly(length)


Send = Callable[[bytes], Awaitable[None]]


class Clerk:
    """Answers requests. `send` puts a part of an answer on its way, and waits while too many are."""

    def __init__(
        self, articles: Articles, reports: Reports, folder: Path, pack: Callable[[Site], Awaitable[list[str]]]
    ) -> None:
        self._articles = articles
        self._reports = reports
        self._folder = folder
        self._pack = pack

    async def answer(self, ask: Ask, send: Send) -> None:
        """Answer a request in parts. Raises the errors of `Articles`."""
        if ask.what == "page":
            await send(encode(await self._articles.page(ask.site, ask.query)))
        elif ask.what == "top":
            await send(encode(await self._articles.top(ask.site, ask.query.period, ask.query.limit)))
        elif ask.what == "history":
            await send(encode(await self._articles.history(ask.site, *ask.history)))
        elif ask.what == "labels":
            await send(encode(await self._articles.labels(ask.site, *ask.labels)))
        elif ask.what == "refresh":
            await self._articles.refresh(ask.site)
            await send(b"")
        elif ask.what == "pack":
            await send("\n".join(await self._pack(ask.site)).encode())
        elif ask.what == "report" and ask.report:
            await send(encode(await self._reports.preview(ask.site, ask.report, ask.query)))
        elif ask.report and ask.kind == "csv":
            async for text in self._files(ask).csv(ask.report, ask.query, delimiter(ask.delimiter)):
                await send(text.encode())
        elif ask.kind == "csv":
            await self._csv(ask, send)
        else:
            await self._workbook(ask, send)

    async def _csv(self, ask: Ask, send: Send) -> None:
        writer: CsvText | None = None
        async for page in self._articles.pieces(ask.site, ask.query):
            text = ""
            if writer is None:
                shown = columns(page.range, within=ask.query.within, compare=ask.query.compare)
                writer = CsvText(ask.site, shown, ask.language, delimiter(ask.delimiter))
                text = writer.head()
            await send((text + writer.rows(page.rows)).encode())

    async def _workbook(self, ask: Ask, send: Send) -> None:
        # A workbook is an archive, which can be read only once it is complete.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{secrets.token_hex(8)}.xlsx"
        told = Told(place_of(self._folder, ask.site.id, ask.told)) if ask.told else None
        try:
            await (self._report(ask, path, told) if ask.report else self._list(ask, path, told))
            with path.open("rb") as file:
                path.unlink()
                while data := file.read(FILE_PIECE):
                    await send(data)
        except OSError as error:
            raise IndexUnavailable(f"the file cannot be written: {error}") from error
        finally:
            if told is not None:
                told.end()
            with suppress(OSError):
                path.unlink()

    async def _report(self, ask: Ask, path: Path, told: Told | None) -> None:
        if ask.report:
            await self._files(ask).workbook(path, ask.report, ask.query, told)

    async def _list(self, ask: Ask, path: Path, told: Told | None) -> None:
        book: Workbook | None = None
        done = 0
        try:
            async for page in self._articles.pieces(ask.site, ask.query):
                if book is None:
                    shown = columns(page.range, within=ask.query.within, compare=ask.query.compare)
                    book = Workbook(path, ask.site, shown, ask.language)
                await asyncio.to_thread(book.rows, page.rows)
                done += len(page.rows)
                if told is not None:
                    told(done, min(page.selection.articles, ask.query.limit))
            if book is not None:
                closing, book = book, None
                await asyncio.to_thread(closing.close)
        finally:
            if book is not None:
                book.discard()

    def _files(self, ask: Ask) -> ReportFiles:
        return ReportFiles(self._reports, ask.site, ask.language, ask.now_ms)


class Clock:
    """The worker's clock, as far as this process knows it."""

    def __init__(self) -> None:
        self._ahead = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead

    def follow(self, now_ms: int) -> None:
        """Set the clock to the time that a request names; the way from the worker takes hardly any time."""
        self._ahead += now_ms - self()


class Server:
    """Takes requests from one pipe and answers into another."""

    def __init__(
        self, clerk: Clerk, clock: "Clock", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._clerk = clerk
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._windows: dict[int, asyncio.Semaphore] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ending: list[asyncio.Task[None]] = []

    async def serve(self) -> None:
        """Answer requests until the worker closes the pipe."""
        async for data in frames(self._reader):
            message = decode_request(data)
            if isinstance(message, Ask):
                self._clock.follow(message.now_ms)
                self._windows[message.id] = asyncio.Semaphore(WINDOW)
                task = self._tasks[message.id] = asyncio.create_task(self._answer(message))
                task.add_done_callback(lambda _, id=message.id: self._forget(id))  # type: ignore[misc]
            elif isinstance(message, Taken):
                if window := self._windows.get(message.id):
                    window.release()
            elif message.id in self._tasks:
                self._ending.append(asyncio.create_task(end(self._tasks[message.id])))
                self._ending = [task for task in self._ending if not task.done()]
        await end(*self._tasks.values())

    def _forget(self, id: int) -> None:
        del self._windows[id], self._tasks[id]

    async def _answer(self, ask: Ask) -> None:
        window = self._windows[ask.id]

        async def send(data: bytes) -> None:
            await window.acquire()
            self._writer.write(frame(Part(ask.id, data)))
            await self._writer.drain()

        last = End(ask.id)
        try:
            if len(self._tasks) > MOST_REQUESTS:
                raise IndexUnavailable("too many lists are asked for at once; ask again in a few seconds")
            async with asyncio.timeout(ask.seconds or None):
                await self._clerk.answer(ask, send)
        except TimeoutError:
            last = End(ask.id, "StoreUnavailable", f"the list took longer than {ask.seconds:.0f} seconds")
        except IndexBuilding as error:
            last = End(ask.id, "IndexBuilding", str(error), (error.done, error.whole))
        except VisitstatsError as error:
            name = type(error).__name__
            last = End(ask.id, name if name in ERRORS else "StoreUnavailable", str(error))
        except Exception:
            log.exception("a list could not be made")
            last = End(ask.id, "fault", "a list could not be made; the log says why")
        with suppress(ConnectionError):
            self._writer.write(frame(last))
            await self._writer.drain()


async def _main(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2 * MOST_FRAME)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", 0))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(os.dup(1), "wb", 0))
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    # Output that is printed by mistake must not be read as a frame.
    os.dup2(2, 1)
    client = open_client(settings.redis_url)
    clock = Clock()
    try:
        with open_index(settings.data_dir) as index:
            packer = Packer(settings.redis_url, client, clock)
            articles = made_of(client, index, clock)
            clerk = Clerk(articles, reports_of(client, articles, clock), index.orders, packer.packed_of)
            await Server(clerk, clock, reader, writer).serve()
    finally:
        with suppress(VisitstatsError, OSError):
            await client.aclose()


def made_of(client: Any, index: Index, clock: Callable[[], int]) -> Articles:
    """Build the object that answers queries from a store (its client) and an index."""
    return Articles(
        index,
        updater_of(client, index, clock),
        Register(client),
        Reads(client),
        ArticleHistory(Tiles(client)),
        clock,
    )


def reports_of(client: Any, articles: Articles, clock: Callable[[], int]) -> Reports:
    """Build the object that makes reports from a store (its client) and lists."""
    closed = ClosedMonths(Closings(client), Changes(client), Tiles(client))
    return Reports(articles, SiteHistory(client), Reads(client), closed, clock)


def updater_of(client: Any, index: Index, clock: Callable[[], int]) -> Updater:
    """Build the object that brings an index up to date from a store (its client)."""
    return Updater(index, Register(client), Changes(client), clock)


def main() -> None:
    """Run a desk for the worker that has started it, with the settings of its environment."""
    # Ctrl-C in a terminal reaches the whole process group. The workers stop on it, and each worker stops its own desk.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    asyncio.run(_main(Settings.load(environ=os.environ)))


if __name__ == "__main__":
    main()
