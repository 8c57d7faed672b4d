"""What the store has lost is written down, and remembered until it is back."""

from __future__ import annotations

from pathlib import Path

from visitstats.trust.losses import FILE, Loss, note_loss, read_loss, settle_loss


def test_nothing_is_missing_at_first(tmp_path: Path) -> None:
    assert read_loss(tmp_path) is None
    settle_loss(tmp_path, {"a"})
    assert list(tmp_path.iterdir()) == []


def test_a_loss_outlives_the_process_that_saw_it(tmp_path: Path) -> None:
    note_loss(tmp_path / "last", {"a": 5}, 1000)
    assert read_loss(tmp_path / "last") == Loss(1000, {"a": 5})


def test_a_second_loss_does_not_hide_the_first(tmp_path: Path) -> None:
    """After the first the box may have begun again from nothing."""
    note_loss(tmp_path, {"a": 500, "b": 1}, 1000)
    note_loss(tmp_path, {"a": 7, "b": 2, "c": 3}, 2000)
    assert read_loss(tmp_path) == Loss(1000, {"a": 500, "b": 2, "c": 3})


def test_sites_are_settled_one_by_one_and_the_note_goes_with_the_last(tmp_path: Path) -> None:
    note_loss(tmp_path, {"a": 5, "b": 6}, 1000)
    settle_loss(tmp_path, {"a", "other"})
    assert read_loss(tmp_path) == Loss(1000, {"b": 6})
    settle_loss(tmp_path, {"b"})
    assert read_loss(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_note_that_is_damaged_still_says_that_something_is_missing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff{")
    assert read_loss(tmp_path) == Loss(0, {})
    note_loss(tmp_path, {"a": 5}, 1000)
    assert read_loss(tmp_path) == Loss(1000, {"a": 5})
