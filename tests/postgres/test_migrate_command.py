"""`servicedb migrate` as people and pods run it."""

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servicedb.postgres.migrations.session import DATABASE_KEY

from tests.postgres.conftest import on_versions
from tests.postgres.migrations import PASSWORD, Database, until
from tests.postgres.server import Server
from tests.postgres.test_migrations import ORDERS

Command = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = (sys.executable, "-m", "servicedb", "migrate")

pytestmark = on_versions(16)


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = Database.new(server)
    yield database
    database.drop()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, text in ORDERS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def command(database: Database) -> Command:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SERVICEDB_DSN": database.dsn}
        return subprocess.run([*PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_release_and_its_way_back(command, source, tmp_path):
    assert command("plan", "--dir", source).stdout.startswith("set default: no version, 3 pending (Planned)\n")
    up = command("up", "--dir", source, "--termination-log", tmp_path / "log")
    assert (up.returncode, up.stdout) == (0, "set default: version 10 (Applied)\n")
    assert [line.partition(":")[0] for line in up.stderr.splitlines()] == list(ORDERS)
    assert json.loads((tmp_path / "log").read_text())["version"] == "10"
    status = command("status", "--dir", source).stdout.splitlines()
    assert status[0] == "set default: version 10 (Status)"
    assert [line.split()[:3] for line in status[2:]] == [
        ["1", "orders", "applied"],
        ["2", "rows", "applied"],
        ["10", "paid", "applied"],
    ]
    assert command("verify", "--dir", source).returncode == 0
    assert command("down", "--target", "1").stdout == "set default: version 1 (Reverted)\n"


def test_what_goes_wrong_has_an_exit_code_of_its_own(command, source, database):
    (source / "2_rows.sql").write_text("SELECT 1")
    twice = command("up", "--dir", source)
    assert (twice.returncode, twice.stdout) == (1, "")
    assert twice.stderr.startswith("servicedb: DuplicateVersion: ")
    assert command("up").returncode == 2
    (source / "2_rows.sql").unlink()
    with database.connect(application_name="holder") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (DATABASE_KEY,))
        busy = command("up", "--dir", source, "--wait", "1ms", "-o", "json")
    assert (busy.returncode, json.loads(busy.stdout)["reason"]) == (75, "LockBusy")


def test_a_password_of_a_mounted_secret_may_come_late_and_is_in_no_argument_and_no_output(source, database, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    for key, value in database.server.parameters(f"{database.name}__migrator", PASSWORD, database.name).items():
        (secret / key).write_text(str(value))
    arguments = [*PROGRAM, "up", "--dir", source, "--secret", secret, "-o", "json"]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (run.returncode, json.loads(run.stdout)["version"]) == (0, "10")
    (secret / "password").write_text("another")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as late:
        assert late.stdout is not None
        assert late.stderr is not None
        told = late.stderr.readline()
        assert "waiting for the mounted Secret" in told
        (tmp_path / "new").write_text(PASSWORD)
        (tmp_path / "new").rename(secret / "password")  # as kubelet does it: all at once
        output = late.stdout.read()
        told += late.stderr.read()
    assert (late.returncode, json.loads(output)["reason"]) == (0, "UpToDate")
    assert not any(one in run.stdout + run.stderr + told + output for one in (PASSWORD, "another"))


def test_a_pod_that_is_asked_to_end_ends_the_statement_on_the_server_too(source, database, command):
    (source / "011_long.sql").write_text("CREATE TABLE half (); SELECT pg_sleep(3600);")
    environment = {**os.environ, "SERVICEDB_DSN": database.dsn}
    process = subprocess.Popen([*PROGRAM, "up", "--dir", source], env=environment, stderr=subprocess.PIPE, text=True)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)' AND state = 'active'"
    until(lambda: database.value(sleeping))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert process.returncode == 75
    assert "ended by a signal" in error
    until(lambda: not database.value(sleeping))
    assert database.value("SELECT to_regclass('half')") is None
    (source / "011_long.sql").unlink()
    assert command("up", "--dir", source).stdout == "set default: version 10 (UpToDate)\n"


def test_a_history_of_any_table_is_named_on_the_command_line(command, database, source):
    with database.connect() as connection:
        connection.execute("CREATE TABLE versions (v int, t text); INSERT INTO versions VALUES (1, 'by hand')")
    named = ("--adopt", "Table", "--adopt-table", "versions", "--adopt-version-column", "v", "--adopt-name-column", "t")
    assert command("plan", "--dir", source, *named).returncode == 0
    half = command("up", "--dir", source, *named[:4])
    assert (half.returncode, "the column with the version" in half.stderr) == (2, True)
    nothing = command("up", "--dir", source, *named[2:])
    assert (nothing.returncode, "with --adopt" in nothing.stderr) == (2, True)


def test_archives_are_read_and_links_refused_where_that_is_asked_for(command, source):
    with tarfile.open(source / "all.tgz", "w:gz") as archive:
        for file in sorted(source.glob("*.sql")):
            archive.add(file, file.name)
            file.unlink()
    assert "NoMigrations" in command("up", "--dir", source).stderr
    up = command("up", "--dir", source, "--archives")
    assert (up.returncode, up.stdout) == (0, "set default: version 10 (Applied)\n")
    (source / "11_x.sql").symlink_to("all.tgz")
    refused = command("up", "--dir", source, "--archives", "--no-links")
    assert (refused.returncode, "11_x.sql is a link" in refused.stderr) == (1, True)
