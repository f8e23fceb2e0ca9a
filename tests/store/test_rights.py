"""What docs/backup-storage.md says that each key needs is enough, and what it lacks is refused."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from servicedb.jobs.prune.catalogue import list_backups
from servicedb.jobs.prune.prune import Request, prune
from servicedb.plan.backups.prune import ABANDONED_AFTER
from servicedb.plan.backups.retention import Retention
from servicedb.store.problems import StoreRefused

from tests.backups import NOW
from tests.store.gateway import Gateway
from tests.store.rights import account, allow
from tests.store.test_faults import ACTIONS
from tests.store.test_prune import Location

MIB = 1 << 20
RIGHTS = {
    "backup": {"s3:PutObject": ["team/*"], "s3:AbortMultipartUpload": ["team/*"]},
    "reader": {"s3:ListBucket": [""], "s3:GetObject": ["team/*"]},
    "pruner": {
        "s3:ListBucket": [""],
        "s3:GetObject": ["team/*/manifest.json", "team/*/started.json"],
        "s3:PutObject": ["team/*/tombstone.json"],
        "s3:DeleteObject": ["team/*"],
    },
}


@pytest.fixture(scope="module")
def by(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Location]]:
    """The same place for each of the three keys."""
    folder = tmp_path_factory.mktemp("rights") / "server"
    with Gateway.running(folder, arguments=(f"--iam-dir={folder.parent}",)) as gateway:
        credentials = {name: account(gateway, name) for name in RIGHTS}
        allow(gateway, RIGHTS)
        files = gateway.data / "backups" / "team"
        yield {name: Location(gateway.url("team"), key, files) for name, key in credentials.items()}


def test_a_backups_key_writes_small_and_large_objects_and_an_upload_it_gives_up_leaves_none(by):
    store = by["backup"].open()
    store.put("small", [b"x"])
    store.put("large", [b"x" * MIB] * 20)

    def chunks() -> Iterator[bytes]:
        yield from [b"x" * MIB] * 20
        raise KeyError("the dump")

    with pytest.raises(KeyError):
        store.put("given-up", chunks())
    assert sorted((one.key, one.size) for one in by["reader"].open().list("")) == [("large", 20 * MIB), ("small", 1)]
    assert b"".join(by["reader"].open().read("small")) == b"x"


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("backup", "read"),
        ("backup", "list"),
        ("backup", "delete"),
        ("reader", "put"),
        ("reader", "upload"),
        ("reader", "delete"),
        ("pruner", "put"),
        ("pruner", "upload"),
    ],
)
def test_a_key_can_do_no_more(by, name, action):
    by["backup"].open().put("a", [b"x"])
    with pytest.raises(StoreRefused, match=r"AccessDenied|status 403"):
        ACTIONS[action](by[name].open())


def test_backups_are_written_listed_and_pruned_each_by_its_key(by):
    places = [by["backup"].back_up(days) for days in (3, 2, 1)]
    orphan = by["backup"].begin(9)
    by["backup"].age(orphan, 2 * ABANDONED_AFTER)
    result = prune(by["pruner"].open(), Request(retention=Retention(keep_last=2)), NOW + timedelta(days=9))
    assert (result.outcome, result.message, result.pruned, result.orphans) == ("Succeeded", "", [places[0].manifest], 1)
    assert [one.key for one in list_backups(by["reader"].open(), None).backups] == [one.manifest for one in places[1:]]
    assert not list(by["reader"].open().list(places[0].prefix))
    assert not list(by["reader"].open().list(orphan.prefix))
