"""What operators and their programs ask: metrics, health, readiness."""

import gzip

import msgspec
from starlette.requests import Request

from visitstats.web.beacons.address import ClientAddress
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


class Operations:
    """The handlers."""

    def __init__(self, worker: Worker, addresses: ClientAddress) -> None:
        self._worker = worker
        self._addresses = addresses

    async def metrics(self, asked: Asked[None, None]) -> Reply:
        """Answer the metrics of all workers."""
        text = await self._worker.scrape()
        # Packed only for those who take it, and not at the best level: 300 KB take 4 ms in this way, 20 ms in that.
        takes = "gzip" in asked.request.headers.get("accept-encoding", "")
        return Reply(text, packed=gzip.compress(text, compresslevel=1, mtime=0) if takes else b"")

    def near(self, request: Request) -> bool:
        """Whether a request comes from this machine itself, or by the metrics port."""
        port = self._worker.settings.metrics_port
        arrived = request.scope.get("server") or ("", 0)
        peer = request.client.host if request.client else ""
        forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
        return (self._addresses.here(peer) and not forwarded) or bool(port and arrived[1] == port)

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
