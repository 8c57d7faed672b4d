"""The named errors of the core. Every refusal is one of these."""


class VisitstatsError(Exception):
    """The root of our own errors; its text is one clear line for a person."""

    exit_status = 1
    """What the command line ends with."""


class HitRejected(VisitstatsError):
    """A beacon that is not counted, with the reason as a kebab-case word (rule 8).

    `status` is the HTTP answer: 200 for a beacon that is understood but not counted (it still gets the
    numbers), 400 for one that is malformed. `note` is one of `counting.NOTES`, or empty.
    """

    def __init__(self, reason: str, detail: str = "", *, status: int = 200, note: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.note = note
        self.detail = detail or reason
        self.status = status


class InvalidQuery(VisitstatsError):
    """A question with parameters that are not valid."""


class InvalidSite(VisitstatsError):
    """A site record with a value that the rules do not allow."""


class BaselineRefused(VisitstatsError):
    """A baseline that would make it impossible to undo a merge. Nothing was set."""


class StoreUnavailable(VisitstatsError):
    """Redis or Valkey did not answer, or refused to write. Whether it executed the last command is unknown."""


class StoreDamaged(StoreUnavailable):
    """The store answers, and a key of a site has another type than we write. Other sites are not affected."""


class ChangePending(StoreUnavailable):
    """A change that is journalled and not yet made: it is made as soon as the store takes it."""


class StoreRefuses(StoreUnavailable):
    """Redis or Valkey answers, and takes no writes. `kind` is replica, full (out of memory) or refusing; `code` is the
    first word of its answer, as oom."""

    def __init__(self, detail: str, kind: str, code: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.code = code


class StoreUnfit(VisitstatsError):
    """Redis or Valkey answers, but must not be counted in as it is set up (an eviction policy, an old version)."""


class FolderUnfit(VisitstatsError):
    """A data folder that was written by another version."""


class JournalFull(VisitstatsError):
    """The journal cannot take a batch: its budget is used up, or the disk failed. Nothing was acknowledged."""


class JournalDamaged(VisitstatsError):
    """A journal file does not hold what it should."""


class TileDamaged(VisitstatsError):
    """A piece of packed history that cannot be read: cut off, altered, or written by a later version."""


class Overloaded(VisitstatsError):
    """A hit that cannot be taken just now; the sender may try again. `reason` is queue (more hits wait than the
    configuration allows), stopping or internal."""

    def __init__(self, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason


class RateExceeded(VisitstatsError):
    """A network asks for more than its share of the work; it may ask again."""


class Denied(VisitstatsError):
    """An access token that is missing, wrong, or not valid for what was asked. `status` is 401, 403 or 429, `reason` a
    kebab-case word for the administrators of the tokens, `who` the name of the token if it was one of ours."""

    def __init__(self, detail: str, *, status: int, reason: str, who: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.who = who


class NotFound(VisitstatsError):
    """A token, a version or a page that does not exist."""


class NoSuchSite(NotFound):
    """A site that does not exist."""


class NoSuchArticle(NotFound):
    """A key under which nothing was ever counted."""
