"""Orders of editors: changes as they are given over HTTP, and the readers whose numbers they change."""

from __future__ import annotations

from typing import Any

from tests.client import Answer, Hit, crowd
from tests.web.inprocess import Running

ADMIN = "/v1/admin/sites/t1"


class Desk:
    """Where orders are given, each by somebody with a token of some scope who is called like it."""

    def __init__(self, app: Running) -> None:
        self._app = app
        self._tokens: dict[str, str] = {}

    def move_to(self, app: Running) -> None:
        """Go on at the same service after its next start."""
        self._app = app

    async def bearer(self, scope: str) -> dict[str, str]:
        if scope not in self._tokens:
            self._tokens[scope] = await self._app.token(scope, "t1", scope)
        return {"authorization": self._tokens[scope]}

    async def __call__(self, action: str, body: Any = None, scope: str = "editor", **headers: str) -> Answer:
        named = await self.bearer(scope) | headers
        return await self._app.connection.request("POST", f"{ADMIN}/{action}", body, named)

    async def audit(self, query: str = "", scope: str = "editor") -> Answer:
        return await self._app.connection.request("GET", f"{ADMIN}/audit{query}", headers=await self.bearer(scope))

    async def made(self) -> list[str]:
        """The ids of the site's changes, the newest first."""
        return [each["id"] for each in (await self.audit()).json["changes"]]


async def read(app: Running, *pages: str, status: int = 200) -> None:
    """One reader for each of these pages."""
    for n, page in enumerate(pages):
        answer = await app.connection.hit("t1", Hit(crowd(50, "readers")[n], page))
        assert answer.status == status, answer
