"""The link to the store: what happens to it, in which state, and what people are told of it."""

from __future__ import annotations

import pytest

from visitstats.core.link import TABLE, WORDS, Event, Link, State

# Rows are states, columns events; a dot: the event changes nothing.
EVENTS = (
    "ANSWERED   NO_ANSWER  LACKS      REPLAY     CAUGHT_UP  LOST       IS_REPLICA IS_FULL    REFUSES    UNFIT      "
    "FIT        STOP"
)
STATES = """
CONNECTED   .          LATE       BEHIND     .          .          AWAY       REPLICA    FULL       REFUSING   UNFIT      .          CLOSING
LATE        CONNECTED  .          BEHIND     .          .          AWAY       REPLICA    FULL       REFUSING   UNFIT      .          CLOSING
BEHIND      .          .          .          REPLAYING  .          AWAY       REPLICA    FULL       REFUSING   UNFIT      .          CLOSING
REPLAYING   .          .          BEHIND     .          CONNECTED  AWAY       REPLICA    FULL       REFUSING   UNFIT      .          CLOSING
AWAY        .          .          .          REPLAYING  .          AWAY       REPLICA    FULL       REFUSING   UNFIT      .          CLOSING
REPLICA     .          .          .          REPLAYING  .          AWAY       REPLICA    FULL       REFUSING   UNFIT      .          CLOSING
FULL        .          .          .          REPLAYING  .          AWAY       REPLICA    FULL       REFUSING   UNFIT      .          CLOSING
REFUSING    .          .          .          REPLAYING  .          AWAY       REPLICA    FULL       REFUSING   UNFIT      .          CLOSING
UNFIT       .          .          .          .          .          .          .          .          .          UNFIT      BEHIND     CLOSING
CLOSING     .          .          .          .          .          .          .          .          .          .          .          .
"""  # noqa: E501
ROWS = [line.split() for line in STATES.strip().splitlines()]
CASES = [
    (State[state], Event[event], None if after == "." else State[after])
    for state, *row in ROWS
    for event, after in zip(EVENTS.split(), row, strict=True)
]
# What each state means for answers and metrics: the word, whether batches are committed, whether a hit waits for the
# store's answer, whether the store may be counted in.
MEANING = {
    State.CONNECTED: ("ok", True, True, True),
    State.LATE: ("away", True, False, True),
    State.BEHIND: ("behind", False, False, True),
    State.REPLAYING: ("behind", False, False, True),
    State.AWAY: ("away", False, False, True),
    State.REPLICA: ("replica", False, False, True),
    State.FULL: ("full", False, False, True),
    State.REFUSING: ("refusing", False, False, True),
    State.UNFIT: ("unfit", False, False, False),
    State.CLOSING: ("closing", False, False, False),
}


def link_in(state: State, reason: str = "") -> Link:
    link = Link()
    link.state, link.reason = state, reason
    return link


def test_every_state_and_every_event_is_in_the_table_above() -> None:
    assert {state for state, _, _ in CASES} == set(State) == TABLE.keys() == MEANING.keys()
    assert {event for _, event, _ in CASES} == set(Event)
    assert len(CASES) == len(State) * len(Event)


@pytest.mark.parametrize(("state", "event", "after"), CASES)
def test_each_event_leads_from_each_state_where_the_table_says(state: State, event: Event, after: State | None) -> None:
    """An event that a state does not expect changes nothing, neither the state nor what people are told."""
    link = link_in(state, "as before")
    changed = link.on(event, "something new")
    assert link.state is (after or state)
    assert changed is (link.state is not state)
    if after is None:
        assert link.reason == "as before"
    elif after in (State.CONNECTED, State.BEHIND):
        assert link.reason == ""
    else:
        assert link.reason == "something new"


@pytest.mark.parametrize("state", State)
def test_what_a_state_means_is_said_in_one_place(state: State) -> None:
    link = link_in(state)
    assert (link.word, link.commits, link.answers_in_time, link.trusted) == MEANING[state]


def test_readiness_and_metrics_know_every_word() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert set(WORDS) == {word for word, *_ in MEANING.values()}


def test_a_worker_begins_behind_because_nothing_is_known_of_the_store() -> None:
    link = Link()
    assert (link.state, link.reason, link.commits) == (State.BEHIND, "", False)


def test_the_reason_of_a_failure_stays_until_all_is_well() -> None:
    """A store that is being brought up after an outage still says why it is behind; one that has all says nothing."""
    link = Link()
    link.on(Event.LOST, "connection refused")
    link.on(Event.REPLAY)
    assert (link.word, link.reason) == ("behind", "connection refused")
    link.on(Event.LOST)  # a failure without words does not hide the one before
    assert (link.word, link.reason) == ("away", "connection refused")
    link.on(Event.REPLAY)
    link.on(Event.CAUGHT_UP)
    assert (link.word, link.reason) == ("ok", "")


def test_a_store_that_must_not_be_counted_in_is_brought_up_before_anything_is_committed() -> None:
    """Whatever happens to its connection meanwhile, only the word that it is fit ends that."""
    link = link_in(State.CONNECTED)
    link.on(Event.UNFIT, "it may evict")
    for event in (Event.ANSWERED, Event.LOST, Event.REPLAY, Event.CAUGHT_UP):
        link.on(event, "another story")
    assert (link.word, link.reason) == ("unfit", "it may evict")
    link.on(Event.FIT)
    assert (link.state, link.commits) == (State.BEHIND, False)
