"""Imports from the pages: each is a folder in the data folder, with the file that was sent, how far its reading is,
what it came to, and what was made of it.

So any worker can answer for it, and the reading is a process of its own: half a million rows disturb no hit.
"""

import asyncio
import os
import re
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from visitstats.core.errors import NotFound, VisitstatsError
from visitstats.settings import PREFIX, Settings

KEPT_MS = 24 * 3600 * 1000
MOST_BYTES = 512 * 1024 * 1024
"""Of a file that is sent; a larger one is imported by the command."""
MOST_JOBS = 20
"""Kept at once."""
PROGRAM = "import os; os.nice(10); from visitstats.cli import main; main()"
_ID = re.compile(r"[0-9a-f]{16}")
_UNSAFE = re.compile(r"[^\w.()-]+")


class UploadRefused(VisitstatsError):
    """A file that is not taken."""


class Job(msgspec.Struct):
    """How far an import is."""

    id: str
    site: str
    file: str
    begun_ms: int


class Jobs:
    """The imports that somebody looks at just now. `clock` gives the moment in milliseconds."""

    def __init__(self, settings: Settings, url: str, clock: Callable[[], int]) -> None:
        self._root = settings.data_dir / "imports"
        self._environment = {**os.environ, **settings.to_environ(), f"{PREFIX}REDIS_URL": url}
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def receive(self, site: str, name: str, pieces: AsyncIterator[bytes]) -> Job:
        """Keep a file that is sent. Raises UploadRefused."""
        await asyncio.to_thread(self._forget)
        job = Job(
            secrets.token_hex(8), site, _UNSAFE.sub("_", Path(name).name).lstrip(".-")[-100:] or "file", self._clock()
        )
        folder = self._root / job.id
        await asyncio.to_thread(folder.mkdir, 0o700, True)
        size = 0
        try:
            with (folder / job.file).open("wb") as file:
                async for piece in pieces:
                    size += len(piece)
                    if size > MOST_BYTES:
                        raise UploadRefused(f"a file of more than {MOST_BYTES // 1024**2} MB: use visitstats import")
                    await asyncio.to_thread(file.write, piece)
            if not size:
                raise UploadRefused("an empty file")
            put(folder / "job.json", job)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, True)
            raise
        return job

    def find(self, site: str, job_id: str) -> Job:
        """Return an import of a site. Raises NotFound."""
        if _ID.fullmatch(job_id):
            found = got(self._root / job_id / "job.json")
            if found and found.get("site") == site:
                return msgspec.convert(found, Job)
        raise NotFound("there is no such import any more; choose the file again")

    def start(self, job: Job, word: str, arguments: list[str]) -> None:
        """Have the command look at the file (`word` look) or import it (made)."""
        folder = self._root / job.id
        for name in (f"{word}.json", "progress.json"):
            (folder / name).unlink(missing_ok=True)
        (folder / f"{word}.begun").touch()
        task = asyncio.create_task(self._run(folder, word, ["import", job.site, str(folder / job.file), *arguments]))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def state(self, job: Job) -> tuple[str, int, dict[str, Any]]:
        """Return reading, looked, writing, made or refused; how many rows or records were read or written; what it came
        to."""
        folder = self._root / job.id
        if made := got(folder / "made.json"):
            return "refused" if "refused" in made else "made", 0, made
        progress = (got(folder / "progress.json") or {}).get("n", 0)
        if (folder / "made.begun").exists():
            return "writing", progress, {}
        if looked := got(folder / "look.json"):
            return "refused" if "refused" in looked else "looked", 0, looked
        return ("reading" if (folder / "look.begun").exists() else "sent"), progress, {}

    def csv(self, job: Job) -> Path:
        """Return the file with every article and every row that is left out. Raises NotFound."""
        path = self._root / job.id / "plan.csv"
        if not path.exists():
            raise NotFound("nothing was looked at yet")
        return path

    async def close(self) -> None:
        """End what runs. An import that is being written is finished by the next start."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, folder: Path, word: str, arguments: list[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *arguments, "--report", str(folder), env=self._environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, err = await process.communicate()
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if not (folder / f"{word}.json").exists():
            said = err.decode("utf-8", "replace").strip().splitlines() or ["it has ended without an answer"]
            put(folder / f"{word}.json", {"refused": {"why": said[-1].removeprefix("visitstats: ")[:500]}})

    def _forget(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        jobs = sorted(
            ((got(folder / "job.json") or {}).get("begun_ms", 0), folder)
            for folder in self._root.iterdir()
            if folder.is_dir()
        )
        for number, (begun, folder) in enumerate(jobs):
            if begun < self._clock() - KEPT_MS or number < len(jobs) - MOST_JOBS:
                shutil.rmtree(folder, ignore_errors=True)


def put(path: Path, value: Any) -> None:
    """Write JSON, as a whole or not at all."""
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(value))
    new.replace(path)


def got(path: Path) -> dict[str, Any] | None:
    """Read JSON; None when it is not there."""
    try:
        found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found
