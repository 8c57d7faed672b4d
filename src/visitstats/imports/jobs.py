"""Imports from the pages. Each import is a folder in the data folder, with the uploaded file, the progress of reading
it, the plan, and the result.

Any worker can therefore answer for an import. A separate process reads the file, so that half a million rows do not
delay hits.
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
"""The largest file that may be uploaded; a larger one is imported with the command."""
MOST_JOBS = 20
"""The most imports that are kept at once."""
PROGRAM = "import os; os.nice(10); from visitstats.cli import main; main()"
_ID = re.compile(r"[0-9a-f]{16}")
_UNSAFE = re.compile(r"[^\w.()-]+")


class UploadRefused(VisitstatsError):
    """The uploaded file is not accepted."""


class Job(msgspec.Struct):
    """An uploaded file to be imported into a site."""

    id: str
    site: str
    file: str
    begun_ms: int


class Jobs:
    """The imports that were uploaded recently. `clock` returns the time in milliseconds."""

    def __init__(self, settings: Settings, url: str, clock: Callable[[], int]) -> None:
        self._root = settings.data_dir / "imports"
        self._environment = {**os.environ, **settings.to_environ(), f"{PREFIX}REDIS_URL": url}
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def receive(self, site: str, name: str, pieces: AsyncIterator[bytes]) -> Job:
        """Store an uploaded file. Raises UploadRefused."""
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
        """Start the command that plans the import (`word` is "look") or makes it ("made")."""
        folder = self._root / job.id
        for name in (f"{word}.json", "progress.json"):
            (folder / name).unlink(missing_ok=True)
        (folder / f"{word}.begun").touch()
        task = asyncio.create_task(self._run(folder, word, ["import", job.site, str(folder / job.file), *arguments]))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def state(self, job: Job) -> tuple[str, int, dict[str, Any]]:
        """Return the state (sent, reading, looked, writing, made or refused), the number of rows read or records
        written, and the result."""
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
        """Return the path of the file with every article and every row that is left out. Raises NotFound."""
        path = self._root / job.id / "plan.csv"
        if not path.exists():
            raise NotFound("nothing was looked at yet")
        return path

    async def close(self) -> None:
        """Stop the running commands. The next start of the service finishes an import that is being written."""
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
    """Write JSON atomically."""
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(value))
    new.replace(path)


def got(path: Path) -> dict[str, Any] | None:
    """Read JSON; None when the file does not exist."""
    try:
        found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found
