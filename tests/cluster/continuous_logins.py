"""Applications that never stop logging in."""

import contextlib
import threading
from collections.abc import Iterator, Mapping

import psycopg


@contextlib.contextmanager
def logging_in(uris: Mapping[str, str]) -> Iterator[None]:
    """Sessions are opened with each of `uris` (by name) all the time; every one of them has to work."""
    ended = threading.Event()
    failures: list[str] = []
    successes = dict.fromkeys(uris, 0)

    def keep_on() -> None:
        while not ended.wait(0.1):
            for name, uri in uris.items():
                try:
                    psycopg.connect(uri).close()
                    successes[name] += 1
                except psycopg.Error as error:
                    failures.append(f"{name}: {error}")

    thread = threading.Thread(target=keep_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert failures == []
    assert all(successes.values()), successes
