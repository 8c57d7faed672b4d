"""The pages for editors and administrators at /admin/: files of the package, as they are.

They answer only under host names that are no portal's (`admin_hosts`): a page of the same origin, and so every hole of
a portal's own program, could read the token of whoever has signed in. Without the setting that is this machine itself,
asked without a proxy in between.
"""

import gzip
import ipaddress
import re
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request

from visitstats import __version__
from visitstats.core.errors import HitRejected, NotFound
from visitstats.core.hosts import Hosts, fold_host
from visitstats.sites.directory import SiteDirectory
from visitstats.web.beacons import answers
from visitstats.web.routes.public import YEAR_SECONDS
from visitstats.web.table import Asked, Reply, Route, kept

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
SAFE: tuple[answers.Header, ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
"""Headers that proxies add. A proxy that does not pass on the requested host may stand before a portal."""
SHELL = "index.html"
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::([0-9]{1,5}))?", re.ASCII)


class Pages:
    """The handlers. `hosts` are the names at which they answer, empty for this machine alone, and `port` is the one on
    which the service listens."""

    def __init__(self, sites: SiteDirectory, hosts: tuple[str, ...], port: int) -> None:
        self._sites = sites
        self._hosts = frozenset(hosts)
        self._port = port
        found = dict(_files(files("visitstats.web") / "admin", ""))
        digest = sha256(b"".join(name.encode() + b"\0" + body for name, body in sorted(found.items()))).hexdigest()
        self.version = f"{__version__}-{digest[:12]}"
        """The version of the files, which differs whenever a file does: under it, caches keep them for ever."""
        shell = found.pop(SHELL).replace(b"VERSION", self.version.encode())
        self._shells = {keep: _reply(SHELL, shell.replace(b"KEEP", keep.encode())) for keep in ("session", "memory")}
        self._files = {name: _reply(name, body) for name, body in found.items()}

    async def entrance(self, asked: Asked[None, None]) -> Reply:
        """Lead to the pages."""
        self._named(asked.request)
        # Relative, and not built from Host: it works under any prefix and leads nowhere else.
        return Reply(status=307, kind="text/plain", headers=((b"location", b"admin/"),))

    async def shell(self, asked: Asked[None, None]) -> Reply:
        """Answer the page in which all others are shown."""
        name, port = self._named(asked.request)
        return self._shells["memory" if self._is_shared(name, port) else "session"]

    async def file(self, asked: Asked[None, None]) -> Reply:
        """Answer a file of exactly this version."""
        self._named(asked.request)
        named = asked.request.path_params
        found = self._files.get(named["path"])
        if found is None or named["version"] != self.version:
            raise NotFound("there is nothing here")
        return found

    def _named(self, request: Request) -> tuple[str, str]:
        """Return the host name and the port under which a request came. Raises NotFound for any that is not allowed."""
        match = _HOST.fullmatch(request.headers.get("host", "").lower())
        if match is None:
            raise NotFound("there is nothing here")
        name, port = (match[1] or match[2]).removesuffix("."), match[3] or ""
        if self._hosts:
            allowed = name in self._hosts
        else:
            allowed = _is_loopback(name) and not any(header in request.headers for header in FORWARDED)
        if not allowed:
            raise NotFound("there is nothing here")
        return name, port

    def _is_shared(self, name: str, port: str) -> bool:
        """Whether a portal may have pages of the same origin. On this machine, asked at our own port, there are only
        ours."""
        if _is_loopback(name) and port == str(self._port):
            return False
        try:
            folded = fold_host(name)
        except HitRejected:
            return False
        return any(folded in Hosts(live.site.hosts) for live in self._sites.all())

    ROUTES = (
        Route("GET", "/admin", entrance, "The way to the pages for editors and administrators"),
        Route("GET", "/admin/", shell, "The pages for editors and administrators",
              headers=(*SAFE, (b"cache-control", b"no-cache"))),
        Route("GET", "/admin/{version}/{path:path}", file, "A file of these pages",
              headers=(*SAFE, kept(YEAR_SECONDS, "immutable"))),
    )  # fmt: skip


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each, f"{prefix}{each.name}/")
        elif "." + each.name.rpartition(".")[2] in TYPES:
            yield prefix + each.name, each.read_bytes()


def _reply(name: str, body: bytes) -> Reply:
    kind = TYPES["." + name.rpartition(".")[2]]
    return Reply(
        body, kind=kind, etag=b'"%s"' % sha256(body).hexdigest()[:16].encode(), packed=gzip.compress(body, mtime=0)
    )


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
