"""The demo's portal, in `visitstats demo` only: its pages and the gallery of boxes."""

from visitstats.core.errors import NotFound
from visitstats.demo.boxes import GALLERY, GALLERY_POLICY, gallery_pages
from visitstats.demo.pages import CONTENT_SECURITY_POLICY, demo_pages
from visitstats.web.table import Asked, Reply, Route

CACHING = ((b"cache-control", b"no-cache"),)


class Portal:
    """The handlers."""

    def __init__(self) -> None:
        self._pages = demo_pages() | gallery_pages()

    async def page(self, asked: Asked[None, None]) -> Reply:
        """Answer a page of the portal."""
        path = asked.request.path_params["path"]
        found = self._pages.get(path)
        if found is None:
            raise NotFound("there is nothing here")
        kind, body = found
        policy = GALLERY_POLICY if path == GALLERY else CONTENT_SECURITY_POLICY
        return Reply(body, kind=kind, headers=((b"content-security-policy", policy.encode()),))

    async def entrance(self, asked: Asked[None, None]) -> Reply:
        """Lead to the portal."""
        # Relative, and not built from Host: it works under any prefix and leads nowhere else.
        return Reply(status=307, kind="text/plain", headers=((b"location", b"demo/"),))

    ROUTES = (
        Route("GET", "/demo", entrance, "The way to the demo's portal"),
        Route("GET", "/demo/{path:path}", page, "The demo's portal", headers=CACHING),
        Route("GET", "/", entrance, "The way to the demo's portal"),
    )
