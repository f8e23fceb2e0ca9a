"""Applications that read their Secret and log in with it, at once or later, for as long as it is promised to work."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg

from tests.cluster.tenant import Tenant


@dataclass(slots=True)
class Logins:
    """What the readers of one Secret have seen. `late`: failures that came when nothing was promised any more."""

    succeeded: int = 0
    late: int = 0
    failures: list[str] = field(default_factory=list)
    users: set[str] = field(default_factory=set)
    passwords: set[str] = field(default_factory=set)


@contextlib.contextmanager
def reading(tenant: Tenant, secret: str, *, overlap: float, holders: int = 2) -> Iterator[Logins]:
    """One application reads `secret` before each login, `holders` others go on with what they read for nearly
    `overlap` seconds. Every login has to work."""
    ended = threading.Event()
    seen = Logins()
    held_for = [lambda: 0.0] + [lambda: random.uniform(0, overlap)] * holders
    threads = [
        threading.Thread(target=_keep_on, args=(tenant, secret, overlap, hold, ended, seen), daemon=True)
        for hold in held_for
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert seen.failures == []
    assert seen.succeeded > 0


def _keep_on(
    tenant: Tenant, secret: str, overlap: float, hold: Callable[[], float], ended: threading.Event, seen: Logins
) -> None:
    try:
        while not ended.is_set():
            _read_and_log_in(tenant, secret, overlap, hold(), ended, seen)
    except Exception as error:  # noqa: BLE001 - a reader that ends early would pass as one that never failed
        seen.failures.append(repr(error))


def _read_and_log_in(
    tenant: Tenant, secret: str, overlap: float, hold: float, ended: threading.Event, seen: Logins
) -> None:
    read_at = time.monotonic()
    values = tenant.secret(secret)
    assert values is not None, f"there is no Secret {secret}"
    seen.users.add(values["username"])
    seen.passwords.add(values["password"])
    while True:
        try:
            psycopg.connect(values["uri"]).close()
            seen.succeeded += 1
        except psycopg.Error as error:
            # It was the present password when it was asked for, and is promised to work for an overlap from then on.
            if time.monotonic() - read_at < overlap:
                seen.failures.append(f"{values['username']}: {error}")
            else:
                seen.late += 1
        if ended.wait(0.05) or time.monotonic() - read_at >= hold:
            return
