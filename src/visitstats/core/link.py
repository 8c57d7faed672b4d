"""The link between a worker and the store, as a table: state × event → state. Answers, readiness and metrics depend on
properties of the state alone.

    connected   batches are committed as soon as they are journalled
    late        the store has not answered in time; hits are answered from the journal until it does
    behind      the store answers and lacks something that the journal has; nothing is committed before that is applied
    replaying   what the store lacks is being applied
    away        the store does not answer
    replica, full, refusing   it answers, and takes no writes: a replica, out of memory, any other refusal of its own
    unfit       it answers, and must not be counted in (it may evict counts, or is too old)
    closing     the worker stops
"""

from enum import Enum


class State(Enum):
    """The states of the link."""

    CONNECTED = "connected"
    LATE = "late"
    BEHIND = "behind"
    REPLAYING = "replaying"
    AWAY = "away"
    REPLICA = "replica"
    FULL = "full"
    REFUSING = "refusing"
    UNFIT = "unfit"
    CLOSING = "closing"


class Event(Enum):
    """What may happen to the link."""

    ANSWERED = "a commit was answered"
    NO_ANSWER = "a batch was not answered in time"
    LACKS = "the store was found to lack something"
    REPLAY = "what it lacks is being applied"
    CAUGHT_UP = "the store has everything"
    LOST = "the connection failed"
    IS_REPLICA = "the store says that it is a replica"
    IS_FULL = "the store says that it is out of memory"
    REFUSES = "the store refuses all writes for another reason"
    UNFIT = "the store must not be counted in"
    FIT = "it may be counted in again"
    STOP = "the worker stops"


_DOWN = {
    Event.LOST: State.AWAY,
    Event.IS_REPLICA: State.REPLICA,
    Event.IS_FULL: State.FULL,
    Event.REFUSES: State.REFUSING,
    Event.UNFIT: State.UNFIT,
    Event.STOP: State.CLOSING,
}
TABLE: dict[State, dict[Event, State]] = {
    State.CONNECTED: {**_DOWN, Event.NO_ANSWER: State.LATE, Event.LACKS: State.BEHIND},
    State.LATE: {**_DOWN, Event.ANSWERED: State.CONNECTED, Event.LACKS: State.BEHIND},
    State.BEHIND: {**_DOWN, Event.REPLAY: State.REPLAYING},
    State.REPLAYING: {**_DOWN, Event.CAUGHT_UP: State.CONNECTED, Event.LACKS: State.BEHIND},
    State.AWAY: {**_DOWN, Event.REPLAY: State.REPLAYING},
    State.REPLICA: {**_DOWN, Event.REPLAY: State.REPLAYING},
    State.FULL: {**_DOWN, Event.REPLAY: State.REPLAYING},
    State.REFUSING: {**_DOWN, Event.REPLAY: State.REPLAYING},
    State.UNFIT: {Event.UNFIT: State.UNFIT, Event.FIT: State.BEHIND, Event.STOP: State.CLOSING},
    State.CLOSING: {},
}
"""An event that is not in a state's row changes nothing."""

_COMMITTING = frozenset({State.CONNECTED, State.LATE})
_WORDS = {
    State.CONNECTED: "ok",
    State.LATE: "away",
    State.BEHIND: "behind",
    State.REPLAYING: "behind",
}


class Link:
    """The state of one link, and why it is as it is."""

    def __init__(self) -> None:
        self.state = State.BEHIND
        """Nothing is known of the store at the start: it may lack something."""
        self.reason = ""
        """The reason, for people; empty while all is well."""

    def on(self, event: Event, reason: str = "") -> bool:
        """Note an event; return whether the state is another one now."""
        after = TABLE[self.state].get(event)
        if after is None:
            return False
        if after in (State.CONNECTED, State.BEHIND):
            self.reason = ""
        elif reason:
            self.reason = reason
        changed = after is not self.state
        self.state = after
        return changed

    @property
    def commits(self) -> bool:
        """Whether a batch that is journalled is committed at once."""
        return self.state in _COMMITTING

    @property
    def answers_in_time(self) -> bool:
        """Whether a hit waits for the store's answer. If not, it is answered from the journal (202)."""
        return self.state is State.CONNECTED

    @property
    def trusted(self) -> bool:
        """Whether the store may be counted in, as far as is known."""
        return self.state not in (State.UNFIT, State.CLOSING)

    @property
    def word(self) -> str:
        """For readiness and metrics: ok, away, behind, replica, full, refusing, unfit, closing."""
        return _WORDS.get(self.state, self.state.value)


WORDS = ("ok", "behind", "away", "replica", "full", "refusing", "unfit", "closing")
"""Every `Link.word`."""
