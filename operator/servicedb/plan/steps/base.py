"""What every step is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One change, with the reason why it is needed."""

    reason: str
