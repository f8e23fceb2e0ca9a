"""Versions of migrations: compared as the numbers that they are."""

import functools
import re
from dataclasses import dataclass

_VERSION = re.compile(r"[0-9]+(?:[._][0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """`001`, `1`, `1.0` and `1_0` are one version, 2 comes before 10, and 1.9 before 1.10."""

    numbers: tuple[int, ...]

    @staticmethod
    def parse(text: str) -> "Version":
        """Raises ValueError where `text` is none."""
        return _parsed(text)

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers))


@functools.lru_cache(maxsize=1 << 16)
def _parsed(text: str) -> Version:
    if not _VERSION.fullmatch(text):
        raise ValueError(f'"{text}" is no version: versions are numbers, such as 7, 20260131120000 or 1.2')
    numbers = [int(part) for part in text.replace("_", ".").split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return Version(tuple(numbers))
