"""Every kind of fault once, on the kinds of stores between them: nothing lost, nothing doubled, all sums right.

`make soak` does the same for as long as you like, in any order.
"""

from __future__ import annotations

import random

import pytest

from tests.faults import kinds, splits
from tests.faults.kinds import FAULTS, Act
from tests.faults.soak import Table, lines, run

SEED = 20361124
ROUNDS: dict[str, tuple[Act, ...]] = {
    "embedded": (
        kinds.kill_a_worker,
        kinds.kill_the_service,
        kinds.hang_the_store_and_kill_a_worker,
        kinds.cut_the_file,
        kinds.cut_the_file_inside_a_multi,
        kinds.fill_the_disk,
        kinds.damage_the_journal,
    ),
    "redis-everysec": (
        kinds.kill_the_store,
        kinds.kill_a_worker_and_cut_the_file,
        kinds.put_an_older_copy_back,
        kinds.put_an_older_copy_back_unseen,
        kinds.put_an_older_copy_back_and_send_beacons_again,
        kinds.swallow_answers,
        kinds.promote_a_lagging_replica,
        kinds.copy_the_journal,
        splits.leave_a_worker_behind,
        splits.leave_a_service_behind,
        splits.use_the_old_primary_again,
    ),
    "redis-always": (
        kinds.roll,
        kinds.fill_its_memory,
        kinds.flicker_its_memory,
        kinds.fail_its_snapshot,
        kinds.slow_the_wire,
        kinds.leave_it_half_open,
        kinds.hang_the_store,
        kinds.deliver_late,
        splits.kill_the_worker_left_behind,
    ),
}


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", ROUNDS)
async def test_what_was_acknowledged_is_counted_once_through_every_fault(kind: str) -> None:
    """Within ten seconds after each of them, and still at the end of all; what was not acknowledged counts once at
    most; both ledgers and all sums agree."""
    table: Table = {}
    faults = [fault for act in ROUNDS[kind] for fault in FAULTS if fault.act is act]
    await run(kind, faults, random.Random(SEED), table, None)
    assert not [row for row in table.values() if row.troubles], "\n" + "\n".join(lines(table))


@pytest.mark.timeout(150)
async def test_a_file_of_redis_that_was_cut_inside_a_multi() -> None:
    """The same for a Redis 7.0 whose file was cut inside a MULTI, and two restarts."""
    table: Table = {}
    faults = [fault for fault in FAULTS if fault.act is kinds.cut_the_file_inside_a_multi]
    await run("redis-everysec", faults, random.Random(SEED), table, None)
    assert not [row for row in table.values() if row.troubles], "\n" + "\n".join(lines(table))


def test_no_fault_is_left_out() -> None:
    assert sorted(fault.name for fault in FAULTS) == sorted(
        fault.name for acts in ROUNDS.values() for act in acts for fault in FAULTS if fault.act is act
    )
