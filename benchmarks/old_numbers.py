"""Half a million old numbers by the real command: `python -m benchmarks --only old-numbers [--members N]`.

A file of N articles as a portal exports it (address, title, category, date, views) is looked at, imported, imported
once more, and taken back, by commands beside a running service with an embedded store. Of each step: wall clock, CPU of
the command, of the store and of the service, and the most memory that the command had. Afterwards all counts must be
what the file says, and what they were.
"""

import argparse
import os
import random
import re
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import contenders, machine

GOAL_S, GOAL_MB = 60.0, 400.0
"""Of the import, for half a million rows (issue: old numbers)."""
WORDS = (
    "đại hội", "xã", "nông thôn mới", "khai giảng", "phòng chống", "bão lũ", "giải ngân", "đầu tư công",
    "chuyển đổi số", "thủ tục hành chính", "tiêm chủng", "hội nghị", "tổng kết", "quý", "biểu dương", "thanh niên",
)  # fmt: skip
CATEGORIES = (("tin-tuc", "Tin tức"), ("van-hoa-xa-hoi", "Văn hóa – Xã hội"), ("thong-bao", "Thông báo"))


class Step(msgspec.Struct, frozen=True):
    """What one command took."""

    name: str
    wall_s: float
    cpu_s: float
    """Of the command itself."""
    store_s: float
    service_s: float
    peak_mb: float
    """The most that the command had resident."""
    status: int
    said: str


class Found(msgspec.Struct):
    """What was measured."""

    rows: int
    file_mb: float
    steps: list[Step]
    store_peak_mb: float = 0
    service_peak_mb: float = 0


def write_file(path: Path, rows: int) -> int:
    """Write a CSV of so many articles; return the sum of their views."""
    chance, total = random.Random(2026), 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        file.write("STT;Đường dẫn;Tiêu đề;Chuyên mục;Ngày đăng;Lượt xem\r\n")
        for n in range(1, rows + 1):
            alias, category = chance.choice(CATEGORIES)
            title = " ".join(chance.sample(WORDS, 5)).capitalize()
            views = int(chance.paretovariate(0.9) * 20) % 100_000
            total += views
            shown = f"{views:,}".replace(",", ".")
            date = f"{chance.randint(1, 28):02d}/{chance.randint(1, 12):02d}/{chance.randint(2012, 2024)}"
            file.write(f"{n};/{alias}/bai-viet-ve-{chance.choice(CATEGORIES)[0]}-so-{n}.html;{title} {n};{category};"
                       f"{date};{shown}\r\n")  # fmt: skip
    return total


def measure(console: Console, folder: Path, options: argparse.Namespace) -> tuple[Found, list[str]]:
    """Measure; return what was found, and what was wrong."""
    file = folder / "old.csv"
    views = write_file(file, options.members)
    found = Found(options.members, file.stat().st_size / 1e6, [])
    wrong: list[str] = []
    cores = sorted(os.sched_getaffinity(0))
    service = contenders.Visitstats(folder, cores[0])
    with service.serve() as running:

        def step(name: str, *arguments: str, views: int | None = None) -> str:
            made = _step(service, running, cores[-1], name, *arguments)
            found.steps.append(made)
            console.print(f"{name}: {made.wall_s:.1f} s, {made.peak_mb:.0f} MB", highlight=False)
            if made.status:
                wrong.append(f"{name} failed: {made.said[-500:]}")
            elif views is not None and (has := _views(service)) != views:
                wrong.append(f"after {name} the site has {has} views, not {views}")
            return made.said

        ours = (contenders.SITE, str(file), "--who", "bench")
        step("dry run", "import", *ours, "--dry-run", views=0)
        change = re.search(r"change ([0-9a-f]{8})", step("import", "import", *ours, views=views))
        if "changes nothing" not in (said := step("import again", "import", *ours, views=views)):
            wrong.append(f"the second import said {said[-300:]!r}")
        step("undo", "undo", contenders.SITE, change[1] if change else "-", "--who", "bench", views=0)
        step("verify", "verify")
        tree = machine.process_tree(*running.roots)
        found.store_peak_mb, found.service_peak_mb = tree.store_rss_mib, tree.app_rss_mib
    return found, wrong


def _step(service: contenders.Visitstats, running: contenders.Running, core: int, name: str, *arguments: str) -> Step:
    out = service.data.with_name("said")
    before, began = machine.process_tree(*running.roots), time.perf_counter()
    with out.open("wb") as file:
        pid = service.begin(*arguments, core=core, out=file)
        _, status, used = os.wait4(pid, 0)
    wall, after = time.perf_counter() - began, machine.process_tree(*running.roots)
    return Step(
        name, wall, used.ru_utime + used.ru_stime, after.store_seconds - before.store_seconds,
        after.app_seconds - before.app_seconds, used.ru_maxrss / 1024, os.waitstatus_to_exitcode(status),
        out.read_text(errors="replace"),
    )  # fmt: skip


def _views(service: contenders.Visitstats) -> int:
    """The site's views of all time, as the command shows them."""
    found = re.search(r"total\D+[\d.]+\D+([\d.]+)", service.command("stats", contenders.SITE))
    return int(found[1].replace(".", "")) if found else -1


def show(console: Console, found: Found) -> None:
    """Print the table; docs/performance.md explains it."""
    table = Table(title=f"{found.rows:,} rows, {found.file_mb:.0f} MB", title_justify="left")
    headings = ("", "wall, s", "CPU: command, s", "store, s", "service, s", "command's peak, MB")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for each in found.steps:
        numbers = (each.wall_s, each.cpu_s, each.store_s, each.service_s)
        table.add_row(each.name, *(f"{n:.1f}" for n in numbers), f"{each.peak_mb:.0f}")
    console.print(table)
    console.print(
        f"peaks of the store {found.store_peak_mb:.0f} MB, of the service {found.service_peak_mb:.0f} MB; "
        f"goals of the import of 500,000 rows: {GOAL_S:.0f} s, {GOAL_MB:.0f} MB",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
