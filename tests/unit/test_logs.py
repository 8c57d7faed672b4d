"""The log: one line a message, one cause a line a minute for all processes, with the number of what was left out."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from datetime import datetime
from typing import Any

import pytest

from visitstats.system.board import Board
from visitstats.system.logs import JsonForm, Lines, OncePerMinute, TextForm


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Process:
    """One process of the service, and what it has written."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self.stream = io.StringIO()
        self.lines = Lines(self.stream, OncePerMinute(board, clock))
        self.lines.setFormatter(logging.Formatter("%(message)s%(left_out)s", defaults={"left_out": 0}))

    def log(self, name: str, text: str, *arguments: object, error: BaseException | None = None, **extra: Any) -> None:
        self.lines.handle(record(name, text, *arguments, error=error, **extra))

    @property
    def written(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def record(
    name: str, text: str, *arguments: object, error: BaseException | None = None, **extra: Any
) -> logging.LogRecord:
    kind = (type(error), error, None) if error else None
    made = logging.LogRecord(name, logging.ERROR, "file", 1, text, arguments, kind)
    made.__dict__ |= extra
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board() -> Board:
    return Board()


def test_a_cause_is_written_once_a_minute_with_the_number_of_the_others(board: Board, clock: Clock) -> None:
    one = Process(board, clock)
    for second in range(150):
        clock.now = second
        one.log("visitstats.ingest", "site %s: refused", f"s{second}")
        one.lines.tell_left_out()
    assert one.written == ["site s0: refused0", "site s60: refused59", "site s120: refused59"]


def test_a_cause_is_written_once_a_minute_by_all_processes_together(board: Board, clock: Clock) -> None:
    """The disk does not care which worker fills it."""
    processes = [Process(board, clock) for _ in range(4)]
    for tenth in range(1800):
        clock.now = tenth / 10
        for each in processes:
            each.log("visitstats.ingest", "site %s: refused", "s")
            if tenth % 10 == 0:
                each.lines.tell_left_out()
    written = [line for each in processes for line in each.written]
    assert len(written) == 3, written
    for each in processes:
        each.lines.close()
    written = [line for each in processes for line in each.written]
    told = [int(re.findall(r"refused(\d+)", line)[0]) for line in written]
    assert sum(told) + len(written) == 4 * 1800, "every line is written or counted"


def test_what_was_left_out_is_told_a_minute_later_also_when_nothing_follows(board: Board, clock: Clock) -> None:
    """By its last line: that is how things are now."""
    one, other = Process(board, clock), Process(board, clock)
    one.log("visitstats.a", "the store is %s", "away")
    other.log("visitstats.a", "the store is %s", "full")
    one.log("visitstats.a", "the store is %s", "a replica")
    for second in range(1, 60):
        clock.now = second
        one.lines.tell_left_out()
        other.lines.tell_left_out()
    assert one.written + other.written == ["the store is away0"]
    for second in range(60, 80):
        clock.now = second
        one.lines.tell_left_out()
        other.lines.tell_left_out()
    assert one.written + other.written == ["the store is away0", "the store is a replica1"]


def test_what_was_left_out_before_a_fork_is_told_by_the_parent_alone(board: Board, clock: Clock) -> None:
    """A worker sets up a log of its own; closing the one that it has from the supervisor writes nothing."""
    supervisor = Process(board, clock)
    for _ in range(3):
        supervisor.log("visitstats.web", "the store died")
    worker = os.fork()
    if not worker:
        supervisor.lines.forget_left_out()
        supervisor.lines.close()
        os._exit(0 if supervisor.written == ["the store died0"] else 1)
    assert os.waitpid(worker, 0) == (worker, 0)
    clock.now = 61
    supervisor.lines.tell_left_out()
    assert supervisor.written == ["the store died0", "the store died1"]


def test_lines_of_other_causes_are_not_held_back(board: Board, clock: Clock) -> None:
    """Another place in the code, another kind of error, a cause that is named, and what happens once."""
    one = Process(board, clock)
    one.log("visitstats.web.app", "one")
    one.log("visitstats.web.app", "two")
    one.log("visitstats.web.beacons.edge", "one")
    one.log("uvicorn.error", "Exception in ASGI application", error=KeyError())
    one.log("uvicorn.error", "Exception in ASGI application", error=ValueError())
    one.log("visitstats.web.app", "the job %s failed", "a", cause="job a")
    one.log("visitstats.web.app", "the job %s failed", "b", cause="job b")
    for _ in range(3):
        one.log("visitstats.web.server", "a worker died", always=True)
    assert len([line for line in one.written if line[-1] == "0"]) == 10
    # Of other people's code the texts differ with each request.
    for n in range(100):
        one.log("asyncio", f"Task {n} has failed", error=OSError())
    assert len([line for line in one.written if line.startswith("Task")]) == 1


def test_a_stop_tells_what_was_left_out(board: Board, clock: Clock) -> None:
    one = Process(board, clock)
    for _ in range(5):
        one.log("visitstats.a", "again")
    one.lines.close()
    assert one.written == ["again0", "again3"]


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred", "a\rb", "\u2028", "\udcff"])
def test_a_message_is_one_line_whatever_a_stranger_sends(text: str) -> None:
    for form in (TextForm(), TextForm(for_system_log=True), JsonForm()):
        written = form.format(record("visitstats", "%s", text))
        assert written.splitlines() == [written]
        assert "\x1b" not in written


def test_a_moment_has_its_offset_and_a_line_its_process() -> None:
    """Machines of one installation need not be set to one zone."""
    made = record("visitstats.worker", "ready")
    text = TextForm().format(made)
    assert datetime.fromisoformat(text.split()[0]).utcoffset() is not None
    assert f"visitstats.worker[{os.getpid()}]: ready" in text
    found = json.loads(JsonForm().format(made))
    assert datetime.fromisoformat(found.pop("time")).utcoffset() is not None
    assert found == {"level": "error", "logger": "visitstats.worker", "pid": os.getpid(), "message": "ready"}


def test_programs_get_the_number_and_the_error_as_fields() -> None:
    made = record("visitstats.worker", "bug", error=KeyError("x"), left_out=7)
    found = json.loads(JsonForm().format(made))
    assert (found["left_out"], found["message"], found["error"]) == (7, "bug", "KeyError: 'x'")
    assert TextForm().format(made).splitlines()[0].endswith("bug (and 7 more of this kind)")


def test_every_line_to_the_systems_log_has_its_priority() -> None:
    made = record("visitstats.worker", "bug", error=KeyError("x"))
    assert all(line.startswith("<3>") for line in TextForm(for_system_log=True).format(made).splitlines())
    made.levelno = logging.WARNING
    assert TextForm(for_system_log=True).format(made).startswith("<4>")


def test_how_something_is_is_said_once_by_all_and_again_when_it_is_otherwise(board: Board, clock: Clock) -> None:
    """The second worker's word for the same store tells nothing; the last line is how things are."""
    processes = [Process(board, clock), Process(board, clock)]
    processes[1].lines.setStream(processes[0].stream)

    def written() -> list[str]:
        return [line.rstrip("0123456789") for line in processes[0].written]

    def say(word: str) -> None:
        for each in processes:
            each.log("visitstats.ingest", f"the store is {word}", error=None, cause=word, about="the store")

    def passes(seconds: int) -> None:
        for _ in range(seconds):
            clock.now += 1
            for each in processes:
                each.lines.tell_left_out()

    say("full")
    passes(200)
    say("ok")
    passes(200)
    assert written() == ["the store is full", "the store is ok"]
    for _ in range(20):  # it comes and goes, for 80 seconds
        passes(2)
        say("full")
        passes(2)
        say("ok")
    passes(200)
    assert written()[-1].startswith("the store is ok"), "the last line is how things are"
    assert len(written()) <= 8
