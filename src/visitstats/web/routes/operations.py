"""The routes for operators and their programs: metrics, health, readiness."""

import gzip

import msgspec
from starlette.requests import Request

from visitstats.settings import Settings
from visitstats.web.table import Asked, Reply, Route
from visitstats.worker import Worker


class Health(msgspec.Struct):
    """The process runs."""

    status: str = "ok"


class Readiness(msgspec.Struct):
    """Whether hits are taken, and what is wrong."""

    ready: bool
    journal: str
    store: str
    lagging_sites: int
    sites_with_losses: int
    store_lacks_hits: int


def is_private(settings: Settings, server: tuple[str, int | None] | None) -> bool:
    """Whether a connection was made to the listener for operators, by our end of it: address and port, or the path of a
    unix socket and None."""
    if server is None:
        return False
    if server[1] is None:
        return settings.metrics_socket is not None and server[0] == str(settings.metrics_socket)
    return server[1] == settings.metrics_port != 0


class Operations:
    """The handlers."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def metrics(self, asked: Asked[None, None]) -> Reply:
        """Answer the metrics of all workers."""
        text = await self._worker.scrape()
        # Packed only for clients that take it, and at a low level: 300 KB take 4 ms at this level, 20 ms at the best.
        takes = "gzip" in asked.request.headers.get("accept-encoding", "")
        return Reply(text, packed=gzip.compress(text, compresslevel=1, mtime=0) if takes else b"")

    def near(self, request: Request) -> bool:
        """Whether a request comes by the listener for operators."""
        return is_private(self._worker.settings, request.scope.get("server"))

    async def health(self, asked: Asked[None, None]) -> Health:
        """Say that the process runs."""
        return Health()

    async def ready(self, asked: Asked[None, None]) -> Reply:
        """Say whether hits are taken. They are while the store is away, because the journal has them; they are not
        while the journal cannot be opened or written."""
        worker = self._worker
        takes_hits = not worker.ingest.trouble
        found = Readiness(
            ready=worker.ready and takes_hits,
            journal="ok" if takes_hits else "refuses",
            store=worker.applier.link.word,
            lagging_sites=worker.applier.lagging,
            sites_with_losses=worker.losses.sites,
            store_lacks_hits=sum(worker.hosts.lacks.values()),
        )
        return Reply(found, 200 if found.ready else 503)

    ROUTES = (
        Route("GET", "/metrics", metrics, "The metrics of all workers", "text/plain; version=0.0.4; charset=utf-8",
              scope="metrics", unless=near),
        Route("GET", "/healthz", health, "Whether the process runs", Health),
        Route("GET", "/readyz", ready, "Whether hits are taken", Readiness, statuses=(200, 503)),
    )  # fmt: skip
