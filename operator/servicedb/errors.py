"""What can go wrong with a reconcile, classed once, where it is known.

    Problem                 a sentence for the user, a stable CamelCase reason
    ├── Retryable           goes on by itself: server away, Secret not there yet (Reconciling, with backoff)
    │   └── Busy            somebody else is at it just now: says nothing about how the object stands
    ├── Terminal            bad spec, conflict, missing privilege: a person changes the spec or the world (Stalled)
    └── NeedsDecision       only a person may choose, and the message names the choices (Stalled)

The work queue turns the class into conditions, backoff and metrics; nothing else does.
"""

from typing import Literal

ReadyStatus = Literal["True", "False", "Unknown"]


class Problem(Exception):
    """Something a user has to know. `str()` is the sentence: what is wrong, where, what to do.

    `condition` names a further condition that this problem turns, `ready` what Ready becomes (None: stays).
    """

    ready: ReadyStatus | None = "False"

    def __init__(
        self, reason: str, message: str, *, condition: str | None = None, ready: ReadyStatus | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.condition = condition
        if ready is not None:
            self.ready = ready


class Retryable(Problem):
    """Tried again with backoff; nobody has to do anything."""


class Busy(Retryable):
    """A lock is held, or an object changed meanwhile: Ready stays what it was, and the next try tells."""

    ready = None


class Terminal(Problem):
    """Nothing changes until a person changes the spec or the world; looked at again at each resync."""


class NeedsDecision(Problem):
    """Going on could lose something: a person has to choose, by one of the ways that the message names."""
