"""The tasks that one process does for all: the table of `visitstats tasks`, and a part of each worker's."""

from visitstats.tasks.closing import Closing
from visitstats.tasks.schedule import Task


def shared(closing: Closing) -> list[Task]:
    """Return the tasks that are also run by hand."""
    return [
        Task("close-hours", "keep the unique visitors of hours that are over", 900, closing.close_hours),
        Task("close-days", "keep the unique visitors of days that are over", 600, closing.close_days),
    ]
