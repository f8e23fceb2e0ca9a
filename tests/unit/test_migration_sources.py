"""What a run reads from disk: the folder of a source, and a mounted Secret."""

import json
import os

import pytest
from psycopg.conninfo import conninfo_to_dict
from servicedb.errors import Retryable, Terminal
from servicedb.jobs.connection import from_folder
from servicedb.jobs.migrate.folder import read_folder
from servicedb.jobs.migrate.new import new_migration
from servicedb.jobs.migrate.result import Done, Result
from servicedb.jobs.outcome import TERMINATION_MESSAGE_BYTES
from servicedb.plan.migrations.bounds import SOURCE_BYTES
from servicedb.plan.migrations.formats import migrations
from servicedb.plan.migrations.sections import Format


def test_a_folder_is_read_whole(tmp_path):
    (tmp_path / "seeds" / "dev").mkdir(parents=True)
    (tmp_path / "1_a.sql").write_bytes(b"SELECT 1")
    (tmp_path / "seeds" / "dev" / "1.sql").write_bytes(b"SELECT 2")
    (tmp_path / ".hidden.sql").write_bytes(b"")
    assert read_folder(tmp_path) == {"1_a.sql": b"SELECT 1", "seeds/dev/1.sql": b"SELECT 2"}


def test_a_configmap_is_read_through_the_links_that_kubernetes_makes(tmp_path):
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "1_a.sql").write_bytes(b"SELECT 1")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "1_a.sql").symlink_to("..data/1_a.sql")
    assert read_folder(tmp_path) == {"1_a.sql": b"SELECT 1"}


def test_folders_of_a_volume_are_links_too(tmp_path):
    (tmp_path / "..2026" / "seeds" / "dev").mkdir(parents=True)
    (tmp_path / "..2026" / "seeds" / "dev" / "1.sql").write_bytes(b"SELECT 1")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "seeds").symlink_to("..data/seeds")
    (tmp_path / "..2026" / "seeds" / "again").symlink_to("..")
    assert read_folder(tmp_path) == {"seeds/dev/1.sql": b"SELECT 1"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../password", "nowhere/../../password"])
def test_a_link_to_the_credentials_is_refused(tmp_path, target):
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "password").write_text("secret")
    (source / "1_a.sql").symlink_to(target)
    with pytest.raises(Terminal, match=r"1_a\.sql is a link that leads out of the source") as refused:
        read_folder(source)
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("target", ["1_a.sql", "seeds", "/etc/passwd", "nowhere"])
def test_what_somebody_unknown_has_put_there_holds_no_links(tmp_path, target):
    (tmp_path / "seeds").mkdir()
    (tmp_path / "1_a.sql").write_bytes(b"SELECT 1")
    (tmp_path / "seeds" / "2.sql").write_bytes(b"SELECT 2")
    assert read_folder(tmp_path, links=False) == {"1_a.sql": b"SELECT 1", "seeds/2.sql": b"SELECT 2"}
    (tmp_path / "3_c.sql").symlink_to(target)
    with pytest.raises(Terminal, match=r"3_c\.sql is a link, and only plain files are read"):
        read_folder(tmp_path, links=False)


def test_nor_pipes_nor_more_than_a_source_may_hold(tmp_path):
    with (tmp_path / "large.sql").open("wb") as file:
        file.truncate(SOURCE_BYTES + 1)
    with pytest.raises(Terminal, match="more than 134217728 bytes"):
        read_folder(tmp_path, links=False)
    os.mkfifo(tmp_path / "1_a.sql")
    with pytest.raises(Terminal, match=r"1_a\.sql is no plain file"):
        read_folder(tmp_path, links=False)


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "1_a.sql")
    assert read_folder(tmp_path) == {}


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(Terminal, match="is no folder"):
        read_folder(tmp_path / "nope")


def test_a_secret_is_read_anew_each_time(tmp_path):
    secret = {
        "host": "db",
        "port": "5432",
        "dbname": "orders",
        "user": "m",
        "password": "it's \\ 1",
        "sslmode": "require",
    }
    for key, value in secret.items():
        (tmp_path / key).write_text(value)
    connect_to = from_folder(tmp_path)
    assert conninfo_to_dict(connect_to()) == secret
    (tmp_path / "password").write_text("rotated")
    (tmp_path / "sslmode").write_text("verify-full")
    (tmp_path / "ca.crt").write_text("a certificate")
    changed = {"password": "rotated", "sslmode": "verify-full", "sslrootcert": str(tmp_path / "ca.crt")}
    assert conninfo_to_dict(connect_to()) == secret | changed
    (tmp_path / "password").unlink()
    with pytest.raises(Retryable, match="holds no password"):
        connect_to()


@pytest.mark.parametrize("kind", list(Format))
def test_a_new_migration_can_be_read(tmp_path, kind):
    paths = new_migration(tmp_path, "Add a Column!", kind)
    for path in paths:
        path.write_text(path.read_text().replace("\n\n", "\nSELECT 1;\n") or "SELECT 1;")
    (migration,) = migrations(read_folder(tmp_path), Format.AUTO)
    assert migration.name == "add_a_column"
    assert migration.format == (Format.PLAIN if kind is Format.AUTO else kind)
    assert new_migration(tmp_path / "other", "b", Format.AUTO)[0].name.endswith("_b.sql")


def test_a_termination_message_is_never_longer_than_kubernetes_keeps():
    result = Result("Up", "default", message="x" * 9000)
    result.pending = [str(number) for number in range(5000)]
    result.applied = [Done(str(number), "n" * 60, "sha256:" + "0" * 64, 1) for number in range(5000)]
    text = result.termination_message()
    assert len(text) <= TERMINATION_MESSAGE_BYTES
    said = json.loads(text)
    assert (said["outcome"], said["pending_count"], said["applied_count"]) == ("Succeeded", 5000, 5000)
    short = Result("Up", "default", applied=[Done("1", "a", None, 1)])
    assert json.loads(short.termination_message())["applied"] == [
        {"version": "1", "name": "a", "checksum": None, "milliseconds": 1}
    ]
