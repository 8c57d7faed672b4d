"""A site with a million visitors of the day and a million articles, beside a small one in the same store:
`python -m benchmarks --only million`.

The site is filled the way a site is filled, with beacons. Three questions, each to both sites in turn: what does a hit
cost the store, what holds the store, and for how long? Then what it takes to read, to verify and to start.
"""

import argparse
import contextlib
import http.client
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from redis import Redis
from rich.console import Console

from benchmarks import contenders, judge, machine, pace
from benchmarks.beacons import Order, Plan, key_of
from benchmarks.contents import Contents, Family, contents, families, grown, rewrite, rewriting, used_bytes, weights
from benchmarks.probe import Hold, Probe
from visitstats.embedded.process import connect_running

SMALL, LARGE = "small", "large"
SMALL_SITE = (20_000, 2_000)
"""Visitors and articles of the small site."""
CONNECTIONS = 256
"""Of the floods: batches are as long as they get."""
FLOOD = 20_000
WARM = 2_000
RATE = 200.0
START_SECONDS = 900.0
IDLE_SECONDS = 65.0
"""Every task that runs once a minute has run then."""
REWRITE_SECONDS = 300.0

KINDS: tuple[Order, ...] = ("known", "new-visitors", "new-articles")
STEADY = f"known, {RATE:g}/s"


class Cost(msgspec.Struct, frozen=True):
    """What a hit costs on one site in one round."""

    site: str
    kind: str
    round: int
    app_ns: float
    store_ns: float
    p50_ms: float
    p99_ms: float


class Held(msgspec.Struct, frozen=True):
    """How long the store was held while something was done."""

    site: str
    what: str
    hold: Hold


class Asked(msgspec.Struct, frozen=True):
    """How long answers took, in milliseconds, and what they cost the store."""

    what: str
    taken: list[float]
    store_ms: float | None
    """Of the store's CPU time for each; None for what was done once, beside the probe's PINGs."""
    hold: Hold


class Found(msgspec.Struct):
    """Everything that was measured."""

    members: int
    fill_seconds: float = 0.0
    filled_bytes: int = 0
    """Growth of the store's memory while the large site was filled."""
    used_bytes: int = 0
    app_rss_mib: float = 0.0
    costs: list[Cost] = []
    holds: list[Held] = []
    asked: list[Asked] = []
    bytes_each: dict[str, float] = {}
    """The bytes of one more hit, by its kind."""
    families: list[Family] = []
    verify_seconds: float = 0.0
    start_seconds: float = 0.0
    ready_seconds: float = 0.0


def measure(
    console: Console, folder: Path, options: argparse.Namespace, *, service_core: int, load_core: int
) -> tuple[Found, list[str]]:
    """Fill, measure, verify, start again; what was measured, and what was wrong with the numbers."""
    place = folder / "million"
    place.mkdir()
    run = _Run(console, place, options, service_core, load_core)
    with run.service.serve() as running, run.store() as client:
        run.began(running, client)
        run.fill()
        run.costs()
        run.holds()
        run.reads()
        run.verify()
        run.judge()
    begin = time.monotonic()
    with run.service.serve(START_SECONDS) as running:
        run.found.start_seconds = time.monotonic() - begin
        while not _ready(running.port):
            time.sleep(0.05)
        run.found.ready_seconds = time.monotonic() - begin
        run.began(running, None)
        run.say(f"started in {run.found.start_seconds:.1f} s")
        run.judge("after a restart: ")
    return run.found, run.wrong


def _ready(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException), contenders.Client(port) as client:
        return client.get("/readyz")[0] == 200
    return False


class _Run:
    """One run: its service, what it has sent, and what was found."""

    def __init__(
        self, console: Console, folder: Path, options: argparse.Namespace, service_core: int, load_core: int
    ) -> None:
        self._console = console
        self._folder = folder
        self._options = options
        self._service_core = service_core
        self._load_core = load_core
        self._seed = 0
        self._size = {SMALL: SMALL_SITE, LARGE: (options.members, options.members)}
        self._ledgers = {site: judge.Ledger() for site in (SMALL, LARGE)}
        self.service = contenders.Visitstats(
            folder, service_core, (SMALL, LARGE), ("--max-articles", "10000000", "--new-articles", "1000000")
        )
        self.found = Found(options.members)
        self.wrong: list[str] = []

    @contextlib.contextmanager
    def store(self) -> Iterator[Redis]:
        url = connect_running(self.service.data)
        if url is None:
            raise contenders.CannotStart("the service's embedded store was not found")
        self._url = url
        with Redis.from_url(url) as client:
            yield client

    def began(self, running: contenders.Running, client: Redis | None) -> None:
        self._running = running
        if client is not None:
            self._client = client
            self._store_pid = int(client.info("server")["process_id"])
            self._socket = str(client.connection_pool.connection_kwargs["path"])

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False)

    # Load -------------------------------------------------------------------------------------------------------------

    def _plan(self, site: str, kind: Order, count: int) -> Plan:
        """Hits of one kind; new ones are numbered on."""
        self._seed += 1
        visitors, articles = self._size[site]
        plan = Plan(site, kind, (0, visitors), (0, articles), self._seed)
        if kind == "new-visitors":
            plan = msgspec.structs.replace(plan, visitors=(visitors, visitors + count))
        elif kind == "new-articles":
            plan = msgspec.structs.replace(plan, articles=(articles, articles + count))
        self._size[site] = max(visitors, plan.visitors[1]), max(articles, plan.articles[1])
        return plan

    def _load(
        self, plan: Plan, *, count: int = 0, rate: float = 0.0, warm: float = 0.0
    ) -> tuple[pace.Answers, machine.Used]:
        """Send hits; gives what became of them, and the CPU used meanwhile (`machine.used`)."""
        seen: list[machine.Cpu] = []

        def look() -> None:
            seen.append(machine.cpu(*self._running.roots))

        order = pace.Order(
            port=self._running.port, plan=plan, record=str(self._folder / "record"), rate=rate, count=count,
            seconds=self._options.seconds, warm=warm, connections=pace.CONNECTIONS if rate else CONNECTIONS,
        )  # fmt: skip
        answers, hits = pace.run(order, self._load_core, begin=look, end=look)
        refused = answers.refused + answers.warm_refused
        if refused:
            self.say(f"[bold red]{plan.site}, {plan.order}: {refused} hits not acknowledged[/] {answers.first_refused}")
        self._ledgers[plan.site].add(hits, refused)
        return answers, machine.used(*seen)

    def fill(self) -> None:
        """The small site, then the large one: each visitor and each article once."""
        visitors, articles = SMALL_SITE
        self._load(Plan(SMALL, "new-articles", (0, visitors), (0, articles), 0), count=articles)
        self._load(Plan(SMALL, "new-visitors", (0, visitors), (0, articles), 0), count=visitors)
        before = used_bytes(self._client)
        count = self.found.members
        answers, _ = self._load(Plan(LARGE, "new-both", (0, count), (0, count), 0), count=count)
        self._quiet()
        self.found.fill_seconds = answers.seconds
        self.found.filled_bytes = used_bytes(self._client) - before
        self.say(f"filled: {count:,} visitors and articles in {answers.seconds:.0f} s, {answers.pending} times 202")
        # A rewrite in the middle of a measurement would be measured; it has a line of its own.
        self._client.config_set("auto-aof-rewrite-percentage", 0)

    def _quiet(self) -> None:
        deadline = time.monotonic() + REWRITE_SECONDS
        while rewriting(self._client) and time.monotonic() < deadline:
            time.sleep(0.1)

    # The three questions ----------------------------------------------------------------------------------------------

    def costs(self) -> None:
        """CPU per hit of both sites in turn, service and store on one core."""
        for number in range(1, self._options.rounds + 1):
            for kind in KINDS:
                for site in (SMALL, LARGE):
                    count = FLOOD if kind == "known" else FLOOD // 4
                    plan = self._plan(site, kind, count + WARM)
                    self._add_cost(site, kind, number, *self._load(plan, count=count, warm=WARM))
            for site in (SMALL, LARGE):
                self._add_cost(site, STEADY, number, *self._load(self._plan(site, "known", 0), rate=RATE, warm=1.0))
            self.say(f"round {number}: costs measured")

    def _add_cost(self, site: str, kind: str, number: int, answers: pace.Answers, used: machine.Used) -> None:
        n = max(1, answers.acknowledged)
        self.found.costs.append(Cost(site, kind, number, used.app / n, used.store / n, answers.p50_ms, answers.p99_ms))

    def holds(self) -> None:
        """The longest holds under floods, with the store alone on its core; and what one more of each kind weighs."""
        looks: list[Contents] = []
        with self._alone(), self._probe() as probe:
            for number in range(self._options.rounds):
                for kind in KINDS:
                    for site in (SMALL, LARGE):
                        if number == 0 and site == LARGE:
                            looks.append(contents(self._client, LARGE))
                        probe.begin()
                        self._load(self._plan(site, kind, FLOOD), count=FLOOD)
                        self.found.holds.append(Held(site, kind, probe.end()))
                        if number == 0 and site == LARGE:
                            looks.append(contents(self._client, LARGE))
        last = contents(self._client, LARGE)
        weight = weights(self._client, list(last))
        for kind, before, after in zip(KINDS, looks[::2], looks[1::2], strict=True):
            self.found.bytes_each[kind] = grown(before, after, last, weight) / FLOOD
        self.found.families = families(last, weight)
        self.found.used_bytes = used_bytes(self._client)
        self.found.app_rss_mib = machine.process_tree(*self._running.roots).app_rss_mib
        self.say("holds and weights measured")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """The store has its core for itself (and the probe); the service moves to the generator's."""
        self._pin_service(self._load_core)
        try:
            yield
        finally:
            self._pin_service(self._service_core)

    def _pin_service(self, core: int) -> None:
        for pid, task in machine.cpu(*self._running.roots).app:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                assert pid
                os.sched_setaffinity(task, {core})

    def _probe(self) -> Probe:
        return Probe(self._client, self._socket, self._store_pid, self._service_core)

    # Reading ----------------------------------------------------------------------------------------------------------

    def reads(self) -> None:
        """What readers, editors and tasks ask of the large site: how long it takes, and what it holds the store for."""
        token = re.findall(r"vs_\S+", self.service.command("token", "add", "bench", "--scope", "admin"))[0]
        every = self.found.members // 500
        some = msgspec.json.encode({"keys": [key_of(n * every) for n in range(500)]})
        site, admin = f"/v1/sites/{LARGE}", f"/v1/admin/sites/{LARGE}"
        with self._alone(), self._probe() as probe, contenders.Client(self._running.port, token=token) as client:

            def ask(what: str, call: Callable[[], object], times: int = 5, pause: float = 0.0) -> None:
                self.found.asked.append(self._asked(what, call, times, pause, probe))

            def get(path: str) -> Callable[[], None]:
                return lambda: _expect(client.get(path))

            ask("numbers of the box (GET stats)", get(f"{site}/stats"), times=10, pause=1.1)
            ask("views of 500 articles", lambda: _expect(client.post(f"{site}/views", some)))
            for period in ("day", "week", "month", "all"):
                ask(f"top 50, {period}", get(f"{admin}/articles?period={period}&limit=50"))
            ask("10,000 rows as CSV", get(f"{admin}/articles.csv?period=all&limit=10000"), times=2)
            ask("uniques of the day", get(f"{admin}/uniques?period=day"))
            ask("metrics", get("/metrics"), times=3)
            ask("visitstats doctor", lambda: self._command("doctor"), times=1)
            ask(f"{IDLE_SECONDS:g} s of little to do", self._rest, times=1)
            ask("rewrite of the append-only file", self._rewrite, times=1)
        self.say("reads measured")

    def _rest(self) -> None:
        """Somebody asks for the numbers each second: what the service does by itself then."""
        for _ in range(int(IDLE_SECONDS)):
            with contenders.Client(self._running.port) as client:
                _expect(client.get(f"/v1/sites/{LARGE}/stats"))
            time.sleep(1.0)

    def _rewrite(self) -> None:
        rewrite(self._client)
        self._quiet()

    def _command(self, *arguments: str) -> None:
        self.service.command(*arguments, core=self._load_core)

    def _asked(self, what: str, call: Callable[[], object], times: int, pause: float, probe: Probe) -> Asked:
        """How long it takes, and what it costs the store; then once more for the holds, under the probe's PINGs. What
        fails is noted, and the run goes on."""

        def try_it() -> None:
            try:
                call()
            except (contenders.CannotStart, ValueError, OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{what}: {error}")

        taken: list[float] = []
        store_ns: list[int] = []
        for _ in range(times if times > 1 else 0):
            before = machine.cpu(*self._running.roots)
            begin = time.perf_counter()
            try_it()
            taken.append(1000 * (time.perf_counter() - begin))
            store_ns.append(machine.used(before, machine.cpu(*self._running.roots)).store)
            time.sleep(pause)
        probe.begin()
        for _ in range(times):
            begin = time.perf_counter()
            try_it()
            taken += [1000 * (time.perf_counter() - begin)] if times == 1 else []
            time.sleep(pause)
        return Asked(what, taken, statistics.median(store_ns) / 1e6 if store_ns else None, probe.end())

    def verify(self) -> None:
        """`visitstats verify` of everything, beside the running service."""
        with self._alone(), self._probe() as probe:
            asked = self._asked("visitstats verify", lambda: self._command("verify"), 1, 0.0, probe)
        self.found.asked.append(asked)
        self.found.verify_seconds = asked.taken[0] / 1000
        self.say(f"verified in {self.found.verify_seconds:.1f} s")

    def judge(self, when: str = "") -> None:
        """Compare every number of both sites with what was sent."""
        for site, ledger in self._ledgers.items():
            troubles = judge.settled_differences(ledger, self._running.port, site)
            verdict = "[green]right[/]" if not troubles else "[bold red]WRONG[/]"
            self.say(
                f"{when}{site}: {ledger.hits:,} hits of {len(ledger.visitors):,} visitors, {len(ledger.pairs):,} views:"
                f" {verdict}"
            )
            self.wrong += [f"{when}{site}: {trouble}" for trouble in troubles]


def _expect(answer: tuple[int, bytes]) -> None:
    if answer[0] != 200:
        raise ValueError(f"the service answered {answer[0]}: {answer[1][:200]!r}")
