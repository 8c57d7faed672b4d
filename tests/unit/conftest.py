"""A folder in memory for tests that are not about a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.slots import folder_in_memory


@pytest.fixture
def root() -> Iterator[Path]:
    """The folder of a journal."""
    with folder_in_memory() as path:
        yield path
