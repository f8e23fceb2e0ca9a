"""What can be wrong with a store. Each message names the location, and no credentials.

Retryable ── StoreAway      out of reach, an answer of the kind 5xx, no answer in time
          └─ StoreFull      no space left, or the quota is used up
Terminal ─── StoreRefused   wrong keys, no such bucket, read-only, a location that can't be read
         └── NoSuchObject   the key that was asked for is not there
"""

from servicedb.errors import Retryable, Terminal


class StoreAway(Retryable):
    def __init__(self, message: str) -> None:
        super().__init__("StorageUnreachable", message)


class StoreFull(Retryable):
    def __init__(self, message: str) -> None:
        super().__init__("StorageFull", message)


class StoreRefused(Terminal):
    def __init__(self, message: str) -> None:
        super().__init__("StorageRefused", message)


class NoSuchObject(Terminal):
    def __init__(self, key: str, location: str) -> None:
        super().__init__("NoSuchObject", f"{key} is not in {location}: was it pruned, or is it in another location?")
        self.key = key
