"""The numbers of a site as they change: server-sent events (`GET …/live`), many thousand in a worker.

For each site with listeners, one task checks every two seconds whether the numbers have changed, and writes the same
bytes to all of its streams; a stream has no task, queue or buffer of its own. A stream that is not read gets nothing
more until it is, and is closed after a minute. Nothing is counted.
"""

import asyncio
import random
from typing import Any

from visitstats.core.numbers import UNKNOWN
from visitstats.metrics import Metrics
from visitstats.reading.snapshots import Snapshot, Stats
from visitstats.sites.directory import LiveSite, SiteDirectory
from visitstats.system.ending import end
from visitstats.web.beacons import answers
from visitstats.web.beacons.address import ClientAddress, headers_of
from visitstats.web.beacons.connections import group_of
from visitstats.web.beacons.protocol import STREAM, Stream
from visitstats.web.beacons.safety import SAFE

LOOK_SECONDS = 2.0
"""How often the numbers are checked, and so the shortest interval between events."""
QUIET_LOOKS = 5
"""After this many checks without an event a comment is sent, because proxies close silent connections."""
DEAF_LOOKS = 30
"""A stream that takes nothing at this many checks is closed."""
LIFE_SECONDS = 300
"""How long a stream lasts; the browser then opens another. A proxy may hide that the reader is gone."""
SHARE = 20
"""One address (IPv6: a /64) may have a twentieth of the streams, so that nobody takes them all."""
COMMENT = b":\n\n"
HEAD: list[answers.Header] = [
    (b"content-type", b"text/event-stream"),
    answers.NEVER_STORED,
    (b"x-accel-buffering", b"no"),
    *SAFE,
    *answers.ANYBODY,
]
AGAIN: answers.Header = (b"retry-after", b"60")


class LiveStreams:
    """The streams of one worker: at most `most`."""

    def __init__(
        self, sites: SiteDirectory, stats: Stats, addresses: ClientAddress, metrics: Metrics, most: int
    ) -> None:
        self._sites = sites
        self._stats = stats
        self._addresses = addresses
        self._metrics = metrics
        self._most = most
        self._channels: dict[str, _Channel] = {}
        self._by_group: dict[str | bytes, int] = {}
        self._open = 0

    async def serve(self, scope: Any, receive: Any, send: Any, live: LiveSite) -> None:
        """Send the numbers of a site until the reader is gone."""
        client = scope.get("client")
        address, _ = self._addresses.of(client[0] if client else "", headers_of(scope["headers"]))
        make = (scope.get("extensions") or {}).get(STREAM)
        near = self._addresses.near(address)
        group = group_of(address)
        here = self._by_group.get(group, 0)
        if make is None or self._open >= self._most or (not near and here >= max(self._most // SHARE, 1)):
            self._metrics.live_refused.inc()
            detail = "there are too many streams; ask for the numbers once a minute instead"
            await answers.send_error(send, 503, "too-many-streams", detail, [AGAIN])
            return
        self._count(group, 1)
        try:
            snapshot = await self._stats.current(live)
            await send({"type": "http.response.start", "status": 200, "headers": HEAD})
            # Spread the reconnections after a restart.
            first = b"retry: %d\n\n" % random.randint(3_000, 15_000)  # noqa: S311 - no secret
            await send({"type": "http.response.body", "body": first + _event(snapshot), "more_body": True})
            channel = self._channels.get(live.site.id)
            if channel is None:
                channel = self._channels[live.site.id] = _Channel(self, live.site.id, snapshot.etag)
            stream = make()
            channel.streams[stream] = 0
            try:
                async with asyncio.timeout(LIFE_SECONDS):
                    while (await receive())["type"] != "http.disconnect":
                        pass
            except TimeoutError:
                stream.end()
                await send({"type": "http.response.body", "body": b""})
            finally:
                channel.streams.pop(stream, None)
        finally:
            self._count(group, -1)

    def _count(self, group: str | bytes, change: int) -> None:
        self._open += change
        self._metrics.live_streams = self._open
        left = self._by_group.get(group, 0) + change
        if left:
            self._by_group[group] = left
        else:
            self._by_group.pop(group, None)

    async def stop(self) -> None:
        """Write no more."""
        channels, self._channels = self._channels, {}
        await end(*(channel.task for channel in channels.values()))

    async def current(self, site_id: str) -> Snapshot | None:
        """Return the numbers of a site now; None when the site is gone."""
        live = self._sites.get(site_id)
        return await self._stats.current(live) if live is not None else None

    def forget(self, site_id: str) -> None:
        """Drop a site that nobody listens to any more."""
        self._channels.pop(site_id, None)


class _Channel:
    """The streams of one site, and the task that writes to them."""

    def __init__(self, streams: LiveStreams, site_id: str, etag: bytes) -> None:
        self.streams: dict[Stream, int] = {}
        """Stream → the number of checks at which it took nothing."""
        self._all = streams
        self._site_id = site_id
        self._etag = etag
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        quiet = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self.streams:
                self._all.forget(self._site_id)
                return
            snapshot = await self._all.current(self._site_id)
            if snapshot is None:
                for stream in list(self.streams):
                    stream.close()
                continue
            quiet += 1
            if snapshot.etag != self._etag:
                self._etag, quiet = snapshot.etag, 0
                self._write(_event(snapshot))
            elif quiet >= QUIET_LOOKS:
                quiet = 0
                self._write(COMMENT)

    def _write(self, event: bytes) -> None:
        framed = b"%x\r\n%b\r\n" % (len(event), event)
        for stream, deaf in self.streams.items():
            if stream.write(event, framed):
                self.streams[stream] = 0
            elif deaf < DEAF_LOOKS:
                self.streams[stream] = deaf + 1
            else:
                stream.close()


def _event(snapshot: Snapshot) -> bytes:
    if snapshot.numbers == UNKNOWN:
        return COMMENT
    return b"data: " + answers.numbers_body(snapshot) + b"\n\n"
