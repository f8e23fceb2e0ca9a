"""What nobody foresaw ends a Job's command like what passes by itself: with a message, and without anybody's values."""

import json
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from servicedb.cli import main
from servicedb.jobs.backup import heartbeat
from servicedb.jobs.backup.stream import Location
from servicedb.store.folder import FolderStore

STORE = ("--store=file:///nowhere",)
KEY = "--key=of-a-backup"
COMMANDS = {
    "backup": ("backup_command.open_store", STORE),
    "restore": ("restore_command.open_store", (*STORE, KEY)),
    "verify": ("restore_command.open_store", (*STORE, KEY)),
    "list": ("list_command.open_store", STORE),
    "prune": ("prune_command.open_store", STORE),
    "migrate": ("jobs.migrate.migrate._source", ("--dir=.",)),
}


class Model(BaseModel):
    number: int


def out_of_memory() -> None:
    raise MemoryError


def full() -> None:
    raise OSError(28, "No space left on device", "/the/file")


def not_valid() -> None:
    Model.model_validate({"number": "of-the-tests-alone"})


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize(
    ("meets", "words"),
    [
        (out_of_memory, "MemoryError in test_unforeseen.py"),
        (full, "OSError (No space left on device) in test_unforeseen.py"),
        (not_valid, "ValidationError in main.py"),
    ],
)
def test_an_error_that_nobody_foresaw_is_told_and_tried_again(monkeypatch, tmp_path: Path, verb, meets, words):
    place, arguments = COMMANDS[verb]
    monkeypatch.setattr(f"servicedb.{place}", lambda *_, **__: meets())
    line = ("migrate", "up") if verb == "migrate" else (verb,)
    log = tmp_path / "log"
    environment = {"SERVICEDB_DSN": "" if verb in ("list", "prune") else "host=nowhere"}
    ran = CliRunner().invoke(main, [*line, *arguments, f"--termination-log={log}"], env=environment)
    told = json.loads(log.read_text())
    assert (ran.exit_code, told["outcome"], told["reason"]) == (75, "Retryable", "Unforeseen")
    assert words in told["message"]
    assert "of-the-tests-alone" not in log.read_text() + ran.output


def test_a_marker_that_could_not_be_written_once_is_written_again(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(heartbeat, "_EVERY_SECONDS", 0.01)
    written: list[str] = []
    again = threading.Event()

    class Full(FolderStore):
        def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
            super().put(key, chunks, expected_bytes=expected_bytes)
            written.append(key)
            if len(written) == 2:
                full()
            if len(written) == 3:
                again.set()

    with heartbeat.Heartbeat("a", [Location(Full(tmp_path))], run="of-a-test", started_at=datetime.now(UTC)):
        assert again.wait(30)
