"""Where the files of a MigrationRun come from: images, archives and folders, read by real pods."""

import base64
import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zstandard

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import condition, wait_for
from tests.cluster.shop import ITEMS, NAMES, PATIENCE, Shop
from tests.cluster.source_images import build, reference

ROWS = "INSERT INTO items (name) VALUES ('pen'), ('ink');\n"


def of_image(reference: str, **more: str) -> dict[str, Any]:
    return {"spec.source": {"image": {"reference": reference, **more}}}


def test_files_of_an_image_are_applied_and_the_image_is_noted(shop: Shop, cluster: Cluster, tmp_path: Path) -> None:
    """It is waited for first; Kubernetes pulls again by itself."""
    shop.provision("books")
    files = {"V1__items.sql": ITEMS, "V2__names.sql": NAMES}
    name = f"{shop.tenant.name}-books"  # not even an earlier run has loaded one
    shop.migrate("books", "books", of_image(reference(name)))

    def waits() -> bool:
        ready = condition(shop.get("books")) or {}
        return ready.get("reason") == "PodWaiting" and f'image "{reference(name)}" of spec.source' in ready["message"]

    wait_for("an image that is waited for", waits, within=PATIENCE, told=lambda: shop.told("books"))
    assert (condition(shop.get("books"), "Reconciling") or {})["reason"] == "PodWaiting"
    assert condition(shop.get("books"), "Stalled") is None
    build(cluster, tmp_path, name, files)
    status = shop.wait("books", status="True", reason="Ready")["status"]
    assert (status["version"], status["pending"]) == ("2", 0)
    assert "sha256:" in status["sourceImage"]
    assert status["sourceDigest"].startswith("sha256:")


def test_an_image_that_gives_no_files_is_named_and_corrected_it_is_read(
    shop: Shop, cluster: Cluster, tmp_path: Path
) -> None:
    shop.provision("maps")
    files = {"V1__items.sql": ITEMS}
    without_copy = build(cluster, tmp_path, "without-copy", files, with_copy=False)
    shop.migrate("maps", "maps", of_image(without_copy))
    stalled = shop.wait("maps", status="False", reason="ImageWithoutCopy")
    assert f'image "{without_copy}" has no "cp"' in (condition(stalled, "Stalled") or {})["message"]
    right = build(cluster, tmp_path, "maps", files)
    shop.change("maps", {"source": {"image": {"reference": right, "path": "/sql"}}})
    stalled = shop.wait("maps", status="False", reason="ImageNotCopied")
    message = (condition(stalled, "Stalled") or {})["message"]
    assert f'the files in "/sql" of image "{right}" can\'t be copied' in message
    assert "No such file or directory" in message
    shop.change("maps", {"source": {"image": {"reference": right, "path": "/migrations"}}})
    assert shop.wait("maps", status="True", reason="Ready")["status"]["version"] == "1"


def test_a_link_in_an_image_leads_nowhere(shop: Shop, cluster: Cluster, tmp_path: Path) -> None:
    shop.provision("plans")
    links = {"V2__password.sql": "/run/servicedb/credentials/password"}
    shop.migrate("plans", "plans", of_image(build(cluster, tmp_path, "links", {"V1__items.sql": ITEMS}, links=links)))
    stalled = shop.wait("plans", status="False", reason="UnsafeSource")
    assert "V2__password.sql is a link" in (condition(stalled) or {})["message"]


def test_archives_and_folders_of_config_maps_are_read(shop: Shop) -> None:
    shop.provision("toys")
    shop.tenant.change("toys", {"spec": {"environment": "dev"}})
    write_binary(shop, "toys", {"sql.tar.zst": zstandard.compress(tar({"./V1__items.sql": ITEMS}))})
    write_binary(shop, "toys-seeds", {"all.tgz": gzip.compress(tar({"1_items.sql": ROWS}))})
    shop.write_files("toys-hooks", {"note.sql": "COMMENT ON TABLE items IS 'by the hook';\n"})
    folders = [
        {"name": "toys"},
        {"name": "toys-seeds", "path": "seeds/dev"},
        {"name": "toys-hooks", "path": "hooks"},
    ]
    more = {"spec.seeds": {"environment": "dev"}, "spec.hooks": {"after": ["hooks/note.sql"]}}
    shop.migrate("toys", "toys", {"spec.source": {"configMaps": folders}, **more})
    status = shop.wait("toys", status="True", reason="Ready")["status"]
    assert (status["version"], status["seeds"]) == ("1", [{"file": "seeds/dev/1_items.sql", "rows": 2}])
    with shop.tenant.server.connect(dbname="toys") as connection:
        row = connection.execute("SELECT obj_description('public.items'::regclass)").fetchone()
    assert row == ("by the hook",)


def tar(files: Mapping[str, str]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return output.getvalue()


def write_binary(shop: Shop, name: str, files: Mapping[str, bytes]) -> None:
    encoded = {key: base64.b64encode(content).decode() for key, content in files.items()}
    metadata = {"name": name, "namespace": shop.tenant.name}
    shop.objects.create({"kind": "ConfigMap", "metadata": metadata, "binaryData": encoded})
