import ssl
import threading
from ipaddress import IPv4Address

import pytest

from tests.cluster.harness import images, kubeconfig
from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.lock import exclusive
from tests.cluster.harness.pki import Authority


def test_a_kubeconfig_of_the_same_cluster_is_written_again(tmp_path):
    file = tmp_path / "build" / "demo.kubeconfig"
    kubeconfig.write(file, "demo", "old")
    kubeconfig.write(file, "demo", "new")
    assert file.read_text().splitlines()[1:] == ["new"]
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "apiVersion: v1\n", kubeconfig.mark("test") + "apiVersion: v1\n"])
def test_a_kubeconfig_of_somebody_else_is_neither_written_nor_removed(tmp_path, content):
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(HarnessError, match="not a kubeconfig of cluster demo"):
        kubeconfig.write(file, "demo", "ours")
    kubeconfig.remove(file, "demo")
    assert file.read_text() == content


def test_one_at_a_time_holds_the_lock_and_no_file_stays(tmp_path):
    file = tmp_path / "lock"
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with exclusive(file, "it counts"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == [1] * 80
    assert not file.exists()


def test_an_image_is_as_its_sources_are_wherever_they_lie(tmp_path):
    for clone in ("one", "two"):
        package = tmp_path / clone / "operator" / "servicedb"
        (package / "__pycache__").mkdir(parents=True)
        (package / "cli.py").write_text("print('hello')")
    one, two = (tmp_path / clone / "operator" for clone in ("one", "two"))
    (one / "servicedb" / "__pycache__" / "cli.pyc").write_text("compiled")
    assert images.hash_of([one]) == images.hash_of([two])
    (two / "servicedb" / "cli.py").rename(two / "servicedb" / "main.py")
    assert images.hash_of([one]) != images.hash_of([two])


def test_certificates_hold_where_verification_is_strict(tmp_path):
    authority = Authority.create("test")
    authority.pair.write(tmp_path, "ca")
    authority.server("server", ["server.example", IPv4Address("198.18.0.2")]).write(tmp_path, "server")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    for name in ("server.example", "198.18.0.2"):
        asking = ssl.create_default_context(cafile=tmp_path / "ca.crt")
        asking.verify_flags |= ssl.VERIFY_X509_STRICT
        shake_hands(asking, serving, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ssl.create_default_context(cafile=tmp_path / "ca.crt"), serving, "other.example")


def shake_hands(asking: ssl.SSLContext, serving: ssl.SSLContext, name: str) -> None:
    """A TLS handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        asking.wrap_bio(to_client, to_server, server_hostname=name),
        serving.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue
