"""Old numbers from the pages: a file is sent, looked at, and then imported, each while the page asks how far it is."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import FileResponse

from visitstats.imports.jobs import Job, Jobs
from visitstats.web.table import Asked, Route

JobId = Annotated[str, Meta(description="what the upload answered")]


class UploadQuery(msgspec.Struct):
    """What the file is called."""

    name: Annotated[str, Meta(description="the file's name", max_length=200)] = "file"


class JobQuery(msgspec.Struct):
    """Which import."""

    job: JobId


class LookOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a look: how the file is to be read, as `visitstats import` takes it."""

    job: JobId
    strategy: Literal["replace", "add", "keep-larger"] = "replace"
    kind: str = ""
    sheet: str = ""
    table: str = ""
    url: str = ""
    date_order: Literal["", "dmy", "mdy", "ymd"] = ""


class MakeOrder(LookOrder, forbid_unknown_fields=True):
    """The body of an import: what was looked at, and why."""

    why: Annotated[str, Meta(max_length=500)] = ""


class ImportJob(msgspec.Struct):
    """How far an import is, and what it came to."""

    site: str
    job: str
    file: str
    state: Literal["sent", "reading", "looked", "writing", "made", "refused"]
    n: int
    """Rows that were read, or records that were written, so far."""
    outcome: dict[str, Any]
    """What it came to (docs/old-numbers.md); `refused` says where and why."""


class ImportRoutes:
    """The handlers."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def upload(self, asked: Asked[UploadQuery, None]) -> ImportJob:
        """Take a file."""
        job = await self._jobs.receive(asked.live.site.id, asked.query.name, asked.request.stream())
        return self._shown(job)

    async def look(self, asked: Asked[None, LookOrder]) -> ImportJob:
        """Begin to read a file; nothing is changed."""
        job = self._jobs.find(asked.live.site.id, asked.body.job)
        self._jobs.start(job, "look", [*_options(asked.body), "--dry-run"])
        return self._shown(job)

    async def state(self, asked: Asked[JobQuery, None]) -> ImportJob:
        """Answer how far it is."""
        return self._shown(self._jobs.find(asked.live.site.id, asked.query.job))

    async def make(self, asked: Asked[None, MakeOrder]) -> ImportJob:
        """Begin to import what was looked at."""
        job = self._jobs.find(asked.live.site.id, asked.body.job)
        who = [f"--who={asked.token.name}", *([f"--why={asked.body.why}"] if asked.body.why else [])]
        self._jobs.start(job, "made", [*_options(asked.body), *who])
        return self._shown(job)

    async def csv(self, asked: Asked[JobQuery, None]) -> FileResponse:
        """Send every article, and every row that is left out."""
        path = self._jobs.csv(self._jobs.find(asked.live.site.id, asked.query.job))
        return FileResponse(path, media_type="text/csv", filename=f"{asked.live.site.id}_nhap.csv")

    def _shown(self, job: Job) -> ImportJob:
        state, n, outcome = self._jobs.state(job)
        return ImportJob(job.site, job.id, job.file, state, n, outcome)  # type: ignore[arg-type]

    ROUTES = (
        Route("POST", "/v1/admin/sites/{site}/imports/upload", upload, "Sends a file with old numbers",
              ImportJob, scope="editor", query=UploadQuery),
        Route("POST", "/v1/admin/sites/{site}/imports/look", look, "Begins to look at it; nothing is changed",
              ImportJob, scope="editor", body=LookOrder),
        Route("POST", "/v1/admin/sites/{site}/imports/make", make, "Begins to import it",
              ImportJob, scope="editor", body=MakeOrder),
        Route("GET", "/v1/admin/sites/{site}/imports/job", state, "How far an import is, and what it came to",
              ImportJob, scope="editor", query=JobQuery),
        Route("GET", "/v1/admin/sites/{site}/imports/csv", csv, "Every article, and every row that is left out",
              "text/csv", scope="editor", query=JobQuery, head=False),
    )  # fmt: skip


def _options(order: LookOrder) -> list[str]:
    found = ["--strategy", order.strategy]
    for name in ("kind", "sheet", "table", "url", "date_order"):
        if value := getattr(order, name):
            found.append(f"--{name.replace('_', '-')}={value}")
    return found
