"""What a database says was done to it: one history for each set of migrations and schema."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from servicedb.plan.migrations.versions import Version

REPEATABLE_PREFIX = "R:"


class State(StrEnum):
    """Where a migration stands. Only one that runs outside a transaction is ever seen in between."""

    APPLIED = "applied"
    BEGUN = "begun"
    LEAVING = "leaving"
    """Its way back was begun and has not come to its end."""


class Choice(StrEnum):
    """How a person answers: as in spec.decisions."""

    RETRY = "Retry"
    DONE = "Done"
    SKIP = "Skip"
    ACCEPT = "Accept"


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's answer for one version. `digest` is the one that the question named: it answers no other."""

    version: str
    digest: str
    choice: Choice


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that the history holds, by its `key` there: a version, or R: and a name.

    `checksum` is None where it was taken over from another tool without its file, or has not come to its end. `down` is
    the SQL of the way back as its file said it then.
    """

    key: str
    name: str
    file: str
    checksum: str | None
    state: State = State.APPLIED
    down: bytes | None = None
    down_in_transaction: bool = True
    milliseconds: int | None = None

    @property
    def version(self) -> Version | None:
        return None if self.key.startswith(REPEATABLE_PREFIX) else Version.parse(self.key)


@dataclass(frozen=True)
class History:
    """The migrations of one set in one schema, in the order in which they were applied; those of `others` by set."""

    applied: tuple[Applied, ...] = ()
    others: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def find(self, key: str) -> Applied | None:
        return self._by_key.get(key)

    @cached_property
    def _by_key(self) -> Mapping[str, Applied]:
        return {one.key: one for one in self.applied}

    @cached_property
    def version(self) -> Version | None:
        """The latest version that is applied in whole."""
        versions = (one.version for one in self.applied if one.state is State.APPLIED)
        return max((one for one in versions if one is not None), key=lambda one: one.numbers, default=None)
