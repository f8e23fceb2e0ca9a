import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.cluster.harness.process import Process

SOON = timedelta(seconds=10)


@pytest.fixture
def running() -> Iterator[Process]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield Process.of(child.pid)
        child.kill()


def test_a_process_is_written_and_read_back(running, tmp_path):
    running.write(tmp_path / "it")
    assert Process.read(tmp_path / "it") == running
    assert Process.read(tmp_path / "other") is None


@pytest.mark.parametrize("other", [{"started": 1}, {"boot": "another boot"}], ids=["started at another time", "before"])
def test_a_process_that_took_over_the_pid_is_left_alone(running, other):
    former = replace(running, **other)
    assert not former.alive
    former.send(signal.SIGKILL)
    assert former.wait(timedelta(0))
    assert running.alive


def test_waiting_returns_with_the_end_of_the_process(running):
    assert not running.wait(timedelta(0))
    running.send(signal.SIGTERM)
    assert running.wait(SOON)
    assert not running.alive


def test_a_pid_without_a_process_is_an_error():
    with subprocess.Popen(["true"]) as child:
        pid = child.pid
    with pytest.raises(ProcessLookupError):
        Process.of(pid)
