"""What the processes of a service tell each other is whole or not there, and outlives whoever has told it."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

from visitstats.system.board import ROW_BYTES, Board, Report, Seat, Supervision


def tell(seat: Seat, done: Connection) -> None:
    seat.tell(Report(pid=os.getpid(), slot=3, store="full", lagging=("a", "b")))
    claimed = seat.board.claim(7, 10.0, 60, 1)
    done.send((seat.board.supervision(), claimed))


def test_a_worker_is_seen_by_the_others_until_its_row_is_cleared() -> None:
    board = Board()
    board.supervise(Supervision(workers=2, started_ms=5, restarts={"died": 1}))
    assert board.claim(7, 0.0, 60, 1) == 1
    here, there = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=tell, args=(Seat(board, 4), there))
    process.start()
    supervision, claimed = here.recv()
    process.join()
    assert supervision == Supervision(workers=2, started_ms=5, restarts={"died": 1})
    assert claimed is None, "the cause was claimed here ten seconds ago"
    assert board.claim(7, 60.0, 60, 1) == 2
    assert board.reports() == [Report(pid=process.pid or 0, slot=3, store="full", lagging=("a", "b"))]
    board.clear(4)
    assert board.reports() == []


def test_a_row_that_was_being_written_when_its_process_was_killed_is_nothing() -> None:
    board = Board()
    board.tell(1, Report(pid=1, slot=0))
    start = ROW_BYTES
    board._memory[start] |= 1  # as it is in the middle of a write
    assert board.report(1) is None
    board.tell(1, Report(pid=2, slot=0))
    found = board.report(1)
    assert found is not None
    assert found.pid == 2


def test_more_causes_than_there_is_room_for_are_written_rather_than_lost() -> None:
    board = Board()
    assert all(board.claim(cause, 1.0, 60, 1) == 1 for cause in range(1, 5000))
