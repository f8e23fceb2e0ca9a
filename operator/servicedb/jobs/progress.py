"""How far a long run has come, for whoever watches."""

from typing import Protocol


class Progress(Protocol):
    """Told by several threads at once."""

    def begin(self, expected_bytes: int) -> None:
        """About as much is to come; more is no fault."""

    def add(self, count: int) -> None:
        """So many bytes more are done."""

    def tell(self, line: str) -> None:
        """A line to read."""


class _Silent:
    def begin(self, expected_bytes: int) -> None:
        """Nobody watches."""

    def add(self, count: int) -> None:
        """Nobody watches."""

    def tell(self, line: str) -> None:
        """Nobody watches."""


SILENT: Progress = _Silent()
