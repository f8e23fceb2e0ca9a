"""The harness's object store, as tests and the demo meet it."""

from pathlib import Path

import pytest
from servicedb.store.location import open_store
from servicedb.store.problems import StoreAway

from tests.cluster.harness import Cluster, docker, store

pytestmark = pytest.mark.skipif(docker.usable(), reason="kind runs the cluster: this machine does not reach Services")


def test_what_is_stored_is_read_over_verified_tls(cluster: Cluster, tmp_path: Path) -> None:
    found = store.ensure(cluster)
    credentials = found.write_credentials(tmp_path / "secret")
    opened = open_store(found.url_from_here("harness"), credentials)
    opened.put("a", [b"content"])
    assert list(opened.read("a")) == [b"content"]
    opened.delete("a")
    assert list(opened.list("")) == []
    (credentials / "ca.crt").unlink()
    with pytest.raises(StoreAway, match="certificate"):
        open_store(found.url_from_here("harness"), credentials).put("a", [b"content"])
