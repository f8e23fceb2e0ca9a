"""The machine's own programs, from Debian's packages where they are missing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.harness.configuration import CNI_PLUGINS
from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.progress import say, step
from tests.cluster.harness.run import attempt, callers_environment, run

# What is looked for, and the package that holds it.
FOR_A_CLUSTER = {
    "containerd": "containerd",
    "runc": "runc",
    f"{CNI_PLUGINS}/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mount": "mount",
}
FOR_IMAGES = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux"}

POLICY = Path("/usr/sbin/policy-rc.d")
START_NOTHING = "#!/bin/sh\nexit 101\n"
SYSTEMD = Path("/run/systemd/system")


def require(needed: dict[str, str]) -> None:
    """Install the packages whose programs are missing; nothing is done when all are there."""
    missing = {program: package for program, package in needed.items() if not _found(program)}
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise HarnessError(f"missing on this machine: {', '.join(missing)}; install them and run this again")
    packages = sorted(set(missing.values()))
    say(f"installing Debian packages: {', '.join(packages)}; their services are not started")
    environment = callers_environment() | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-y", "-q", "--no-install-recommends", "install", *packages]
    with step("apt-get install"), _no_service_starts():
        if attempt(*install, environment=environment).returncode:  # the package lists may be old or missing
            run("apt-get", "-q", "update", environment=environment)
            run(*install, environment=environment)
    if SYSTEMD.exists() and "containerd" in packages:
        # Debian enables what it installs: without this, it would start with the next boot.
        run("systemctl", "disable", "containerd.service")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian asks policy-rc.d before it starts a service; one that is there already stays."""
    if POLICY.exists():
        say(f"{POLICY} is there already and decides whether services start")
        yield
        return
    POLICY.write_text(START_NOTHING)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _found(program: str) -> bool:
    return shutil.which(program, path=callers_environment()["PATH"]) is not None
