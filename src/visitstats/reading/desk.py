"""A worker's side of its desk (`reading/desk_process.py`): starts the process when it is first needed, asks it, and
starts it again when it has died.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import msgspec

from visitstats.core.query import Query, Row
from visitstats.core.sites import Site
from visitstats.reading.desk_process import (
    ERRORS,
    MOST_FRAME,
    Answer,
    Ask,
    End,
    Request,
    Stop,
    Taken,
    decode_answer,
    frame,
    frames,
)
from visitstats.reading.exports import Kind, Language
from visitstats.reading.file_progress import Progress, place_of, read_progress
from visitstats.reading.index import Index, IndexBuilding, IndexUnavailable
from visitstats.reading.query import History, Page
from visitstats.reading.reports import Kind as ReportKind
from visitstats.reading.reports import Report
from visitstats.settings import PREFIX, Settings
from visitstats.system.ending import end

log = logging.getLogger(__name__)

ANSWER_SECONDS = 15.0
"""How long a page may take. If a large index is not ready by then, the answer says how far it is."""
IDLE_SECONDS = 600.0
"""A desk without requests for this long is ended, because it takes some 40 MB."""
STOP_SECONDS = 5.0

_decode_page = msgspec.msgpack.Decoder(Page).decode
_decode_history = msgspec.msgpack.Decoder(History).decode
_decode_report = msgspec.msgpack.Decoder(Report).decode
_decode_labels = msgspec.msgpack.Decoder(list[str]).decode
_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


class Died(Exception):
    """The process has ended in the middle of an answer."""


class Desk:
    """Sends requests to a desk. The desk reads the store at `url`; `clock` gives the time in milliseconds. Methods
    raise InvalidQuery, StoreUnavailable, IndexUnavailable and IndexBuilding."""

    def __init__(self, settings: Settings, url: str, clock: Callable[[], int]) -> None:
        self._environment = {**os.environ, **settings.to_environ(), f"{PREFIX}REDIS_URL": url}
        self._clock = clock
        self._orders = Index(settings.data_dir).orders
        self._process: _Process | None = None
        self._starting = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._resting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, if the process runs."""
        return self._process.pid if self._process is not None and not self._process.has_died else None

    async def page(self, site: Site, query: Query) -> Page:
        """Return a part of a list."""
        return _decode_page(await self._ask(Ask(0, site, "page", ANSWER_SECONDS, self._clock(), query)))

    async def top(self, site: Site, period: str, limit: int) -> list[Row]:
        """Return the most read articles of a period."""
        query = Query(period=period, limit=limit)
        return _decode_rows(await self._ask(Ask(0, site, "top", ANSWER_SECONDS, self._clock(), query)))

    async def history(self, site: Site, key: str, by: str, first: str, last: str) -> History:
        """Return the views of an article over time (`Articles.history`). Also raises NoSuchArticle."""
        ask = Ask(0, site, "history", ANSWER_SECONDS, self._clock(), history=(key, by, first, last))
        return _decode_history(await self._ask(ask))

    async def report(self, site: Site, kind: ReportKind, query: Query) -> Report:
        """Return a report with at most `query.limit` articles and groups."""
        return _decode_report(
            await self._ask(Ask(0, site, "report", ANSWER_SECONDS, self._clock(), query, report=kind))
        )

    async def labels(self, site: Site, kind: str, text: str, limit: int) -> list[str]:
        """Return the names of authors, categories or types (`Articles.labels`)."""
        ask = Ask(0, site, "labels", ANSWER_SECONDS, self._clock(), labels=(kind, text, limit))
        return _decode_labels(await self._ask(ask))

    async def refresh(self, site: Site) -> None:
        """Bring the index of a site up to date."""
        await self._ask(Ask(0, site, "refresh", 0, self._clock()))

    async def pack(self, site: Site) -> list[str]:
        """Pack the months of a site that are due (`store.packing`); return a line for each that was tried."""
        return (await self._ask(Ask(0, site, "pack", 0, self._clock()))).decode().splitlines()

    async def file(
        self,
        site: Site,
        query: Query,
        kind: Kind,
        language: Language = "vi",
        delimiter: str = ";",
        report: ReportKind | None = None,
        told: str = "",
    ) -> AsyncIterator[bytes]:
        """Yield a list or a report as a file, in pieces, as fast as the caller takes them. Meanwhile `progress` gives
        the progress of a workbook under the name `told`."""
        ask = Ask(
            0, site, "file", 0, self._clock(), query, kind=kind, language=language, delimiter=delimiter, report=report,
            told=told,
        )  # fmt: skip
        process = await self._running()
        try:
            async for data in process.parts(ask):
                yield data
        except Died as error:
            raise IndexUnavailable("the file could not be completed; ask again") from error

    def progress(self, site: Site, told: str) -> Progress | None:
        """Return the progress of a file that this or another worker of the machine makes; None when it is not
        known."""
        return read_progress(place_of(self._orders, site.id, told))

    async def close(self) -> None:
        """End the process."""
        if self._timer is not None:
            self._timer.cancel()
        process, self._process = self._process, None
        if process is not None:
            await process.close()
        if self._resting is not None:
            await self._resting

    async def _ask(self, ask: Ask) -> bytes:
        for _ in range(2):
            process = await self._running()
            with suppress(Died):
                return b"".join([data async for data in process.parts(ask)])
        raise IndexUnavailable("the list could not be made: what makes it has ended twice; the log says why")

    async def _running(self) -> "_Process":
        async with self._starting:
            if self._process is None or self._process.has_died:
                if self._process is not None:
                    log.warning("the process that makes lists has ended, and is started again")
                    await self._process.close()
                try:
                    self._process = await _Process.start(self._environment)
                except OSError as error:
                    raise IndexUnavailable(f"lists cannot be made: {error}") from error
            self._wait()
            return self._process

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._rest)

    def _rest(self) -> None:
        if self._process is not None and self._process.is_idle:
            process, self._process = self._process, None
            self._resting = asyncio.create_task(process.close())
        else:
            self._wait()


class _Process:
    """One process. It has died when its output has ended."""

    def __init__(
        self, process: asyncio.subprocess.Process, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        self._process = process
        self._writer = writer
        self._reader = reader
        self._waiting: dict[int, asyncio.Queue[Answer | None]] = {}
        self._last = 0
        self.has_died = False
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, environment: dict[str, str]) -> "_Process":
        """Start one. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "visitstats.reading.desk_process",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=environment, limit=2 * MOST_FRAME,
        )  # fmt: skip
        if process.stdin is None or process.stdout is None:
            raise OSError("a process was started without its pipes")
        return cls(process, process.stdin, process.stdout)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._waiting

    async def parts(self, ask: Ask) -> AsyncIterator[bytes]:
        """Send a request and yield the parts of its answer. Raises Died, and the error that the answer ends with."""
        self._last += 1
        ask = msgspec.structs.replace(ask, id=self._last)
        # The desk sends at most WINDOW parts before one is taken, so the queue stays short.
        queue: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._waiting[ask.id] = queue
        done = False
        try:
            await self._send(ask)
            while True:
                answer = await queue.get()
                if answer is None:
                    raise Died
                if isinstance(answer, End):
                    done = True
                    _check(answer)
                    return
                await self._send(Taken(ask.id))
                yield answer.data
        finally:
            del self._waiting[ask.id]
            if not done and not self.has_died:
                with suppress(Died):
                    await self._send(Stop(ask.id))

    async def close(self) -> None:
        """End it: by the end of its input, or else by force."""
        self._writer.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await end(self._listening)

    async def _send(self, message: Request) -> None:
        if self.has_died:
            raise Died
        try:
            self._writer.write(frame(message))
            await self._writer.drain()
        except (ConnectionError, RuntimeError) as error:
            raise Died from error

    async def _listen(self) -> None:
        try:
            async for data in frames(self._reader):
                answer = decode_answer(data)
                if queue := self._waiting.get(answer.id):
                    queue.put_nowait(answer)
        finally:
            self.has_died = True
            for queue in self._waiting.values():
                queue.put_nowait(None)


def _check(answer: End) -> None:
    if answer.error == IndexBuilding.__name__:
        raise IndexBuilding(*answer.numbers)
    if answer.error:
        raise ERRORS.get(answer.error, IndexUnavailable)(answer.text)
