"""What a store's faults come to: a retry that nobody notices, or one sentence of the right class."""

import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from servicedb.errors import Problem
from servicedb.plan.backups.keys import PARTIAL
from servicedb.store.folder import _sync
from servicedb.store.interface import Store
from servicedb.store.location import bucket, open_store
from servicedb.store.problems import StoreAway, StoreFull, StoreRefused
from servicedb.store.s3 import Patience, S3Store

from tests.store.gateway import OWN_MOUNTS, Gateway
from tests.store.proxy import Fault, FaultyWay
from tests.store.test_stores import content, keys

MIB = 1 << 20
IMPATIENT = Patience(request=timedelta(seconds=30), total=timedelta(seconds=60), tries=3)
HASTY = Patience(request=timedelta(seconds=2), total=timedelta(seconds=60), tries=10)
VERY_HASTY = Patience(request=timedelta(seconds=1), total=timedelta(seconds=3), tries=1)
"""For a store that is silent: a passing silence is outlived, also on a busy machine, one that stays soon found."""

Action = Callable[[Store], object]
ACTIONS: dict[str, Action] = {
    "put": lambda store: store.put("a", [b"x"]),
    "upload": lambda store: store.put("a", [b"x" * MIB] * 20),
    "read": lambda store: content(store, "a"),
    "list": keys,
    "delete": lambda store: store.delete("a"),
}
WRITING = [name for name in ACTIONS if name not in {"read", "list"}]
on = pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
on_writing = pytest.mark.parametrize("action", [ACTIONS[name] for name in WRITING], ids=WRITING)


def impatient(url: str, credentials: Path, patience: Patience = IMPATIENT) -> S3Store:
    return S3Store(bucket(url), credentials, patience)


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A server for one test alone."""
    with Gateway.running(tmp_path / "server") as running:
        yield running


@pytest.fixture
def way(gateway: Gateway) -> Iterator[FaultyWay]:
    with FaultyWay.to(gateway.port) as way:
        yield way


@pytest.fixture
def over(gateway: Gateway, way: FaultyWay) -> Callable[[Patience], S3Store]:
    """Gives a store behind that way, which holds 12 MiB under the key `a`."""
    prefix = secrets.token_hex(8)
    open_store(gateway.url(prefix), gateway.credentials).put("a", [b"x" * MIB] * 12)
    return lambda patience: impatient(gateway.url(prefix, endpoint=way.endpoint), gateway.credentials, patience)


def refused(action: Action, store: Store, sentence: str, *, kind: type[Problem] = StoreRefused) -> None:
    """`action` ends in a problem of that kind, and the problem in no secret."""
    with pytest.raises(kind, match=sentence) as raised:
        action(store)
    assert type(raised.value) is kind
    assert store.location in str(raised.value)
    if isinstance(store, S3Store) and store.credentials is not None:
        for file in store.credentials.iterdir():
            assert file.read_text().strip() not in str(raised.value)


# Nothing that time would mend


@on
def test_a_bucket_that_is_not_there(gateway, action):
    refused(action, impatient(gateway.url(bucket="nowhere"), gateway.credentials), "no such bucket; create it")


@on
@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys(gateway, tmp_path, action, wrong):
    for file in gateway.credentials.iterdir():
        (tmp_path / file.name).write_text("wrong" if file.name == wrong else file.read_text())
    refused(action, impatient(gateway.url(), tmp_path), "credentials")


def test_a_secret_that_lacks_a_key(gateway, tmp_path):
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("servicedb")
    with pytest.raises(
        StoreRefused, match="holds no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: is the Secret mounted"
    ):
        open_store(gateway.url(), tmp_path)


def test_new_keys_are_taken_up_and_a_secret_that_goes_is_noticed(gateway, tmp_path):
    for file in gateway.credentials.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    store = impatient(gateway.url(secrets.token_hex(8)), tmp_path)
    secret = tmp_path / "AWS_SECRET_ACCESS_KEY"
    right = secret.read_text()
    secret.write_text("wrong")
    refused(ACTIONS["put"], store, "refuses the credentials")
    secret.write_text(right)
    store.put("a", [b"x"])
    secret.unlink()
    with pytest.raises(StoreRefused, match="is the Secret mounted there"):
        store.put("a", [b"x"])


@on_writing
def test_a_bucket_that_is_read_only(tmp_path, action):
    with Gateway.running(tmp_path / "server", arguments=("--readonly",)) as gateway:
        store = impatient(gateway.url(), gateway.credentials)
        refused(action, store, r"refuses to (PUT|DELETE) a \(AccessDenied\)")
        assert keys(store) == []


def test_a_certificate_that_nobody_vouches_for(tmp_path):
    with Gateway.running(tmp_path / "server", tls=True) as gateway:
        store = impatient(gateway.url(), gateway.credentials)
        store.put("a", [b"x"])
        assert content(store, "a") == b"x"
        (gateway.credentials / "ca.crt").unlink()
        refused(ACTIONS["put"], impatient(gateway.url(), gateway.credentials), "certificate trusted", kind=StoreAway)


# What may mend itself


@on
def test_a_store_that_is_away(gateway, action):
    with socket.socket() as taken:  # nobody listens at its port, and nobody else can
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://localhost:{taken.getsockname()[1]}"
        store = impatient(gateway.url(endpoint=endpoint), gateway.credentials)
        refused(action, store, "is out of reach", kind=StoreAway)


BROKEN = [(fault, name) for fault in (Fault.BUSY, Fault.CUT) for name in ACTIONS]


def with_faults(*cases: tuple[Fault, str]) -> pytest.MarkDecorator:
    ids = [f"{fault.name}-{name}" for fault, name in cases]
    return pytest.mark.parametrize(("fault", "name"), cases, ids=ids)


@with_faults(*BROKEN, (Fault.SILENT, "put"), (Fault.SILENT, "list"))
def test_a_fault_that_passes_is_not_noticed(over, way, fault, name):
    store = over(HASTY if fault is Fault.SILENT else IMPATIENT)
    way.faults = [fault]
    ACTIONS[name](store)
    assert way.faulted == 1
    left = {"put": [1], "upload": [20 * MIB], "delete": []}.get(name, [12 * MIB])
    assert [one.size for one in store.list("")] == left


@with_faults(*BROKEN, (Fault.SILENT, "put"), (Fault.SILENT, "list"))
def test_a_fault_that_stays_is_said(over, way, fault, name):
    store = over(VERY_HASTY if fault is Fault.SILENT else IMPATIENT)
    way.last = fault
    refused(ACTIONS[name], store, "answer as it should|out of reach", kind=StoreAway)
    assert way.faulted > 0


def test_an_upload_that_is_cut_for_good_leaves_what_was_there(over, way):
    store = over(IMPATIENT)
    way.last, way.bytes_before = Fault.CUT, 6 * MIB
    refused(ACTIONS["upload"], store, "out of reach", kind=StoreAway)
    way.last = Fault.NONE
    assert content(store, "a") == b"x" * 12 * MIB


def test_a_store_that_is_killed_in_mid_upload_has_what_was_there(own_gateway):
    store = impatient(own_gateway.url(), own_gateway.credentials)
    store.put("a", [b"before"])

    def chunks() -> Iterator[bytes]:
        for number in range(30):
            if number == 20:
                own_gateway.kill()
            yield b"x" * MIB

    with pytest.raises(StoreAway):
        store.put("a", chunks())
    own_gateway.start()
    assert content(store, "a") == b"before"
    assert keys(store) == ["a"]


def test_a_store_that_comes_back_in_mid_upload_has_it_whole(own_gateway):
    store = impatient(own_gateway.url(), own_gateway.credentials)
    back = threading.Thread(target=own_gateway.start)

    def chunks() -> Iterator[bytes]:
        for number in range(30):
            if number == 10:
                own_gateway.kill()
                back.start()
            yield bytes([number]) * MIB

    store.put("a", chunks())
    back.join()
    assert content(store, "a") == b"".join(bytes([number]) * MIB for number in range(30))


def test_a_bucket_that_is_full(tmp_path):
    with Gateway.running(tmp_path / "server", tmpfs_bytes=4 * MIB) as gateway:
        store = impatient(gateway.url(), gateway.credentials)
        store.put("a", [b"before"])
        for action in (lambda store: store.put("a", [b"x" * MIB] * 5), ACTIONS["upload"]):
            refused(action, store, "no space for a", kind=StoreFull)
        assert content(store, "a") == b"before"
        assert keys(store) == ["a"]


# A folder

IN_A_SMALL_ONE = """
import sys
from pathlib import Path
from servicedb.errors import Problem
from servicedb.store.location import open_store

store, found = open_store(Path(sys.argv[1]).as_uri()), []
for action in (lambda: store.put("a/b", [b"x" * (1 << 20)] * 3), lambda: store.delete("a/before")):
    try:
        action()
        found.append("done")
    except Problem as problem:
        found.append(f"{problem.reason}: {problem.message}")
print("\\n".join([*found, *sorted(one.key for one in store.list(""))]))
"""


def in_a_mount(folder: Path, mount: str) -> list[str]:
    """What comes of a write and a deletion in `folder` once `mount` was done to it, in a namespace of its own."""
    command = [*OWN_MOUNTS, "sh", "-euc", mount, "sh", str(folder)]
    found = subprocess.run(
        [*command, sys.executable, "-c", IN_A_SMALL_ONE, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    return found.stdout.splitlines()


def test_a_volume_that_is_full(tmp_path):
    mount = 'mount -t tmpfs -o size=1m none "$1"; mkdir "$1/a"; echo x > "$1/a/before"; shift; exec "$@"'
    wrote, deleted, *left = in_a_mount(tmp_path, mount)
    assert wrote.startswith(f"StorageFull: folder {tmp_path} has no space for a/b: No space left on device")
    assert (deleted, left) == ("done", [])


def test_a_volume_that_is_read_only(tmp_path):
    mount = 'mount -t tmpfs none "$1"; mkdir "$1/a"; echo x > "$1/a/before"; mount -o remount,ro "$1"; shift; exec "$@"'
    wrote, deleted, *left = in_a_mount(tmp_path, mount)
    assert wrote.startswith(f"StorageRefused: folder {tmp_path} refuses a/b: Read-only file system")
    assert deleted.startswith(f"StorageRefused: folder {tmp_path} refuses a/before: Read-only file system")
    assert left == ["a/before"]


@on
def test_a_volume_that_is_not_mounted(tmp_path, action):
    refused(action, open_store((tmp_path / "none").as_uri()), "is the volume mounted there")
    assert not (tmp_path / "none").exists()


def test_a_name_that_is_not_whole_is_no_object_of_that_name(tmp_path):
    store = open_store(tmp_path.as_uri())

    def chunks() -> Iterator[bytes]:
        yield b"x"
        (only,) = keys(store, "a/")
        assert only.startswith(f"a/b{PARTIAL}")
        with pytest.raises(Problem):
            content(store, "a/b")

    store.put("a/b", chunks())
    assert keys(store) == ["a/b"]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("x")
    (tmp_path / "store" / "a").symlink_to(tmp_path / "elsewhere")
    assert keys(open_store((tmp_path / "store").as_uri())) == []


def test_a_file_system_that_can_sync_no_folder_is_used_all_the_same():
    _sync(Path("/proc"))  # which answers with EINVAL, as some do that are mounted over a network
