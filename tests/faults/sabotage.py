"""Tells the saboteur (`saboteur/sitecustomize.py`) in a service's workers what to do, and reads what it did."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.driver import Service

SABOTEUR = Path(__file__).with_name("saboteur")
ALL_CALLS = ("open", "mkdir", "write", "fsync", "fdatasync", "replace", "unlink")
SYNCS = ("fsync", "fdatasync")


class Sabotage:
    """One plan at a time, for all workers of the services that it is put into."""

    def __init__(self, folder: Path, *, clock: bool = False) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._plans = 0
        if clock:
            self.shift_clock(0)

    def into(self, service: Service) -> None:
        """Have it in every process that the service starts from now on."""
        service.environ |= self.environ(service)

    def environ(self, service: Service) -> dict[str, str]:
        """The variables that have it in a process; in a command only with SABOTAGE_COMMANDS."""
        paths = filter(None, (str(SABOTEUR), service.environ.get("PYTHONPATH", "")))
        return {
            "PYTHONPATH": os.pathsep.join(paths),
            "SABOTAGE": str(self._folder),
            "SABOTAGE_OF": str(service.data_dir.resolve() / "journal"),
        }

    def kill(self, *deaths: tuple[str, str, int]) -> list[int]:
        """At each of (site, when, n) one worker kills itself, in this order: at its n-th call of that kind (of any, for
        no site) since the death before, or since its start; `before` the call, `after` it, or in a write when `half` of
        it is done. Returns the numbers of the deaths."""
        plan: dict[str, object] = {}
        first = self._plans + 1
        self._plans += len(deaths)
        for n, (site, when, nth) in reversed([*enumerate(deaths)]):
            act = {"id": first + n, "act": "kill", "calls": ALL_CALLS, "site": site, "nth": nth, "when": when}
            plan = act | ({"next": plan} if plan else {})
        self._put("plan", json.dumps(plan))
        return [*range(first, self._plans + 1)]

    def fail(self, calls: tuple[str, ...], errno: int, site: str = "") -> None:
        """These calls fail in every worker, until `relent`."""
        self._plan("fail", calls, site, errno=errno)

    def fill(self, errno: int, nth: int) -> None:
        """Writes take a half of what they are given, and each n-th fails, until `relent`."""
        self._plan("short", ("write",), "", errno=errno, nth=nth)

    def relent(self) -> None:
        """Do nothing any more."""
        (self._folder / "plan").unlink()

    def shift_clock(self, seconds: int) -> None:
        """Put the clock of all processes ahead of the real one, at once. Only if it was so (by 0) at their start."""
        self._put("clock", str(seconds))

    def done(self) -> list[dict[str, Any]]:
        """What was done to the workers so far."""
        return self._lines("done")

    def sites(self) -> set[str]:
        """The kinds of calls that were seen so far."""
        return {line["site"] for line in self._lines("sites")}

    def _plan(self, act: str, calls: tuple[str, ...], site: str, **more: object) -> int:
        self._plans += 1
        self._put("plan", json.dumps({"id": self._plans, "act": act, "calls": calls, "site": site} | more))
        return self._plans

    def _put(self, name: str, text: str) -> None:
        fresh = self._folder / f"{name}.new"
        fresh.write_text(text)
        os.replace(fresh, self._folder / name)

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self._folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
