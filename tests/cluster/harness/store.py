"""An S3-compatible store in a cluster, reached over TLS alone: Service store in namespace storage."""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path

import yaml

from tests.cluster.harness import binaries, paths
from tests.cluster.harness.archive import write_single_program
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.lock import exclusive
from tests.cluster.harness.objects import apply, pem, read_secret, secret_manifest
from tests.cluster.harness.paths import HARNESS
from tests.cluster.harness.pki import Authority

NAMESPACE = "storage"
SERVICE = "store"
SECRET = "store"
HOST = f"{SERVICE}.{NAMESPACE}.svc"
PORT = 9000
BUCKET = "backups"
READY_WITHIN = "120s"
IMAGE = "localhost/servicedb-store:1"
_REACHED_WITHIN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running store with a bucket. Pods reach it as `host`; on a local cluster this machine reaches `address`."""

    cluster: Cluster
    address: str
    credentials: dict[str, bytes] = field(repr=False)
    """What a Secret with a storage key holds, the authority's certificate (ca.crt) included."""
    host: str = HOST
    port: int = PORT
    bucket: str = BUCKET

    @property
    def endpoint(self) -> str:
        return f"https://{self.host}:{self.port}"

    def url(self, prefix: str = "") -> str:
        """The location for pods, below `prefix`."""
        return f"s3://{self.bucket}/{prefix}?endpoint={self.endpoint}&pathStyle=true"

    def url_from_here(self, prefix: str = "") -> str:
        """The same for a process of this machine."""
        return f"s3://{self.bucket}/{prefix}?endpoint=https://{self.address}:{self.port}&pathStyle=true"

    def write_credentials(self, folder: Path) -> Path:
        """The files that a mounted Secret gives, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.credentials.items():
            (folder / name).write_bytes(content)
        return folder


def ensure(cluster: Cluster) -> ObjectStore:
    """Start the store, or find it running. What it holds goes with its pod."""
    archive = _image()
    cluster.load_image(archive)
    manifest = (HARNESS / "manifests" / "store.yaml").read_text()
    namespace, service, deployment = yaml.safe_load_all(manifest)
    made_from = sha256(f"{archive.name} {manifest}".encode()).hexdigest()[:16]
    deployment["spec"]["template"]["metadata"]["annotations"] = {"servicedb.io/made-from": made_from}
    apply(cluster, namespace, service)
    address = cluster.kubectl(
        "get", f"--namespace={NAMESPACE}", "service", SERVICE, "--output=jsonpath={.spec.clusterIP}"
    )
    credentials = _credentials(cluster, IPv4Address(address))
    apply(cluster, deployment)
    cluster.kubectl(
        "rollout", "status", f"--namespace={NAMESPACE}", f"deployment/{SERVICE}", f"--timeout={READY_WITHIN}"
    )
    if not wait_until(lambda: _is_reached(cluster), _REACHED_WITHIN):
        raise HarnessError(f"the store is ready, and Service {SERVICE} ({address}) does not lead to it")
    return ObjectStore(cluster, address, credentials)


def _is_reached(cluster: Cluster) -> bool:
    """Whether the Service has the pod's address."""
    slices = cluster.kubectl(
        "get",
        f"--namespace={NAMESPACE}",
        "endpointslices",
        f"--selector=kubernetes.io/service-name={SERVICE}",
        "--output=jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[*]}",
    )
    return bool(slices.strip())


def _credentials(cluster: Cluster, address: IPv4Address) -> dict[str, bytes]:
    """Make the key pair and the server's certificate, unless they are there."""
    found = read_secret(cluster, NAMESPACE, SECRET)
    if found is None:
        authority = Authority.create("servicedb test storage")
        pair = authority.server(HOST, [HOST, f"{HOST}.cluster.local", address])
        apply(cluster, secret_manifest(NAMESPACE, "store-tls", pem(pair)))
        found = {
            "AWS_ACCESS_KEY_ID": b"servicedb",
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(24).encode(),
            "ca.crt": authority.pair.certificate,
        }
        apply(cluster, secret_manifest(NAMESPACE, SECRET, found))  # last: it says that the other is there
    return found


def _image() -> Path:
    """An image of the one program, written once for each build of it."""
    program = binaries.ensure(binaries.VERSITYGW)
    archive = paths.cache() / "images" / "store" / f"{program.parent.name}.tar"
    with exclusive(paths.cache() / "images.lock", "it builds an image"):
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            temporary = archive.with_suffix(".new")
            write_single_program(program, IMAGE, temporary)
            temporary.rename(archive)
    return archive
