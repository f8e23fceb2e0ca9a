"""`servicedb backup`, `verify` and `restore` as people and pods run them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyrage import x25519

from tests.postgres.binaries import bin_directory
from tests.postgres.dumped import NEWEST, PASSWORD, Database, databases
from tests.postgres.server import Server

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def source(servers: Callable[[int], Server]) -> Iterator[Database]:
    with databases(servers(16)) as (made,):
        made.as_owner("CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 1000) g")
        yield made


@pytest.fixture
def command(tmp_path: Path) -> Command:
    (tmp_path / "store").mkdir()

    def run(verb: str, *arguments: str | Path, dsn: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **({"SERVICEDB_DSN": dsn} if dsn else {})}
        common = ("--store", f"file://{tmp_path / 'store'}", "--pg-bin", bin_directory(NEWEST))
        line = [sys.executable, "-m", "servicedb", verb, *common, *arguments]
        return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_backup_is_made_verified_and_restored(command, source, servers, tmp_path):
    key = x25519.Identity.generate()
    (tmp_path / "identity").write_text(str(key))
    identity = ("--identity", tmp_path / "identity")
    log = ("-o", "json", "--termination-log", tmp_path / "log")
    recipient = ("--recipient", str(key.to_public()))
    made = command("backup", *recipient, *log, dsn=source.dsn("backup_a"))
    told = json.loads(made.stdout)
    assert (made.returncode, told["reason"], told["rows"], told["serverVersion"] // 10000) == (0, "BackedUp", 1000, 16)
    assert json.loads((tmp_path / "log").read_text()) == told
    backup = ("--key", told["key"])

    (tmp_path / "good").write_text('{"name": "all there", "sql": "SELECT count(*) FROM orders", "expect": "1000"}')
    (tmp_path / "bad").write_text('[{"name": "more", "sql": "SELECT 1 FROM orders LIMIT 1", "expect": "2"}]')
    server = servers(18)
    dsn = f"postgresql://{server.admin.name}:{server.admin.password}@{server.host}:{server.port}/postgres"
    good = ("--assertion", tmp_path / "good")
    verified = command("verify", *backup, *identity, *good, "--create", "-o", "json", dsn=dsn)
    told = json.loads(verified.stdout)
    assert (verified.returncode, told["reason"], told["mismatchCount"]) == (0, "Verified", 0)
    assert told["assertions"] == [{"name": "all there", "passed": True}]
    bad = command("verify", *backup, *identity, *good, "--assertion", tmp_path / "bad", "--create", dsn=dsn)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "servicedb: AssertionFailed: the restored database answers otherwise than expected to more" in bad.stderr
    with server.connect() as connection:
        left = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'servicedb_verify%' UNION ALL SELECT datname "
        left += "FROM pg_database WHERE datname LIKE 'servicedb_verify%'"
        assert connection.execute(left.encode()).fetchall() == []

    with databases(servers(16)) as (target,):
        secret = tmp_path / "secret"
        secret.mkdir()
        for name, value in target.server.parameters(f"{target.name}__restore", PASSWORD, target.name).items():
            (secret / name).write_text(str(value))
        owner = ("--as-role", f"{target.name}__owner")
        restored = command("restore", *backup, *identity, "--secret", secret, *owner)
        assert (restored.returncode, restored.stdout.partition(" in ")[0]) == (0, "Restored: 1000 rows")
        again = command("restore", *backup, *identity, "--secret", secret, *owner)
        assert (again.returncode, again.stderr.startswith("servicedb: NotEmpty: ")) == (1, True)
        assert PASSWORD not in restored.stderr + again.stderr


def test_a_wrong_command_line_has_an_exit_code_of_its_own(command, source):
    assert command("backup").returncode == 2
    assert command("restore", "--key", "x", "--role", "x", dsn=source.dsn("restore")).returncode == 2
    wrong = command("restore", "--key", "../x", dsn=source.dsn("restore"))
    assert (wrong.returncode, wrong.stderr.startswith("servicedb: BadKey: ../x is no backup's key")) == (1, True)
    recipient = command("backup", "--recipient", "age1wrong", dsn=source.dsn("backup_a"))
    assert (recipient.returncode, "BadRecipient" in recipient.stderr) == (1, True)
