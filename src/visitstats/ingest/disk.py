"""The thread in which the journal is written, so that no fsync holds the event loop up."""

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread


class Disk:
    """Runs one call after the other. An executor needs a dozen more objects and two more wake-ups for each, which is a
    tenth of the cost of a batch at a portal's rate."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], None]) -> None:
        """Run a function in the thread; raises what the function raises."""
        future = asyncio.get_running_loop().create_future()
        self._work.put((work, future))
        await future

    def close(self) -> None:
        """Wait until everything is done, and end. Blocks."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, future = item
            loop = future.get_loop()
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the caller of `run` gets it
                loop.call_soon_threadsafe(_fail, future, error)
            else:
                loop.call_soon_threadsafe(_finish, future)


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: "asyncio.Future[None]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
