"""The demo's traffic in the terminal: a thread that plays visitors, and a line that says what they do."""

import asyncio
import secrets
import threading

from rich.console import Console
from rich.live import Live
from rich.text import Text

from visitstats.demo.traffic import TrafficStats, play


def start_player(address: str, rate: float, console: Console) -> None:
    """Play `rate` visitors a minute against a running demo, until the process ends."""
    threading.Thread(target=_run, args=(address, rate, console), daemon=True, name="traffic").start()


def _run(address: str, rate: float, console: Console) -> None:
    with Live(_line(TrafficStats()), console=console, refresh_per_second=4) as live:
        asyncio.run(
            play(
                address,
                asyncio.Event(),
                rate=rate,
                seed=secrets.randbits(64),
                report=lambda stats: live.update(_line(stats)),
            )
        )


def _line(stats: TrafficStats) -> Text:
    people = f"  Visitors {stats.visitors} · reading now {stats.reading} · pages {stats.hits}"
    text = f"{people} · bots {stats.bots}, not counted"
    if stats.failed:
        text += f" · without answer {stats.failed}"
    if stats.errors:
        text += " · " + ", ".join(f"{name} {n}" for name, n in stats.errors.most_common(3))
    return Text(text)
