"""The demo's traffic in the terminal: a process that plays visitors, and a line that says what they do."""

import asyncio
import multiprocessing
import secrets
import signal

from rich.console import Console
from rich.live import Live
from rich.text import Text

from visitstats.demo.traffic import TrafficStats, play


def start_player(address: str, rate: float) -> None:
    """Play `rate` visitors a minute against a running demo, until this process ends, however it ends. The player is a
    process of its own, because the supervisor forks its workers and must not have threads."""
    multiprocessing.get_context("spawn").Process(target=_run, args=(address, rate), daemon=True, name="traffic").start()


def _run(address: str, rate: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the demo, and the player ends with it
    asyncio.run(_play(address, rate))


async def _play(address: str, rate: float) -> None:
    stop, demo = asyncio.Event(), multiprocessing.parent_process()
    if demo is not None:
        asyncio.get_running_loop().add_reader(demo.sentinel, stop.set)
    with Live(_line(TrafficStats()), console=Console(), refresh_per_second=4) as live:
        await play(address, stop, rate=rate, seed=secrets.randbits(64), report=lambda stats: live.update(_line(stats)))


def _line(stats: TrafficStats) -> Text:
    people = f"  Visitors {stats.visitors} · reading now {stats.reading} · pages {stats.hits}"
    text = f"{people} · bots {stats.bots}, not counted"
    if stats.failed:
        text += f" · without answer {stats.failed}"
    if stats.errors:
        text += " · " + ", ".join(f"{name} {n}" for name, n in stats.errors.most_common(3))
    return Text(text)
