"""How many rows the next batch takes: as many as are done in the time that a batch may hold its locks for."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

FEWEST_ROWS: Final = 100
MOST_ROWS: Final = 50_000
_FASTER: Final = 2.0
"""A batch is at most so many times the one before: one that was quick by chance says little."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`rows` for the next batch, so that it takes about `target`."""

    rows: int
    target: timedelta

    def after(self, rows: int, took: timedelta) -> "Pace":
        """The pace after a batch of `rows` that `took` so long."""
        factor = min(self.target / max(took, timedelta(microseconds=1)), _FASTER)
        return replace(self, rows=max(min(int(rows * factor), MOST_ROWS), FEWEST_ROWS))
