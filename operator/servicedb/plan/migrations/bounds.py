"""How much a source may hold that a tenant gives and a pod unpacks or copies: it is read into memory whole."""

from typing import Final

from servicedb.errors import Terminal

SOURCE_BYTES: Final = 128 * 1024 * 1024
"""All files together."""

SOURCE_FILES: Final = 10_000


class Bounds:
    """What is left of both while a source is read."""

    def __init__(self) -> None:
        self._files = 0
        self._bytes = 0

    def take(self, size: int) -> None:
        """Note a file of `size` bytes that is about to be read. Raises Terminal where that is too much."""
        self._files += 1
        self._bytes += size
        if self._files > SOURCE_FILES:
            raise Terminal(
                "SourceTooLarge", f"the source holds more than {SOURCE_FILES} files; is its path right? Put in fewer"
            )
        if self._bytes > SOURCE_BYTES:
            raise Terminal(
                "SourceTooLarge",
                f"the source holds more than {SOURCE_BYTES} bytes; load data of that size by other means",
            )
