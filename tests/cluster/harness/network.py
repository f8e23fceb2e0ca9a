"""A cluster's network: addresses of its own, and one cable to the host.

All of it lives in the cluster's network namespace, which has no default route: what is not the
host's end of the cable, a pod or a Service is unreachable from inside. The host gets two routes
through the cable, for pods and for Services; its own tables are never touched.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.run import attempt, run

# RFC 2544 sets this range aside for tests of network devices: no office or cloud routes it.
ALL = IPv4Network("198.18.0.0/15")
SLOT_BITS = 20
SLOTS = 1 << (SLOT_BITS - ALL.prefixlen)
API_PORT = 6443


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of the cluster in `slot`; clusters in different slots share none."""

    slot: int

    @property
    def _base(self) -> IPv4Address:
        if not 0 <= self.slot < SLOTS:
            raise HarnessError(f"{SLOTS} clusters are the most on one machine; take one down")
        return ALL.network_address + self.slot * (1 << (32 - SLOT_BITS))

    @property
    def cable(self) -> IPv4Network:
        return IPv4Network((self._base, 30))

    @property
    def host(self) -> IPv4Address:
        """The host's end: what a server on the host listens at to be reached by pods."""
        return self.cable.network_address + 1

    @property
    def node(self) -> IPv4Address:
        return self.cable.network_address + 2

    @property
    def pods(self) -> IPv4Network:
        return IPv4Network((self._base + 1024, 22))

    @property
    def services(self) -> IPv4Network:
        return IPv4Network((self._base + 2048, 21))

    @property
    def api_service(self) -> IPv4Address:
        """The address of the Service kubernetes.default: always the range's first."""
        return self.services.network_address + 1

    @property
    def api_server(self) -> str:
        return f"https://{self.node}:{API_PORT}"


def device(name: str) -> str:
    """The host's end of the cable to the cluster `name`."""
    return f"sdb-{name}"


def connect(network: Network, name: str, init: int) -> None:
    """Join the network namespace of process `init` to the host."""
    ours = device(name)
    disconnect(name)
    run("ip", "link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", str(init))
    run("ip", "address", "add", f"{network.host}/{network.cable.prefixlen}", "dev", ours)
    run("ip", "link", "set", ours, "up")
    _inside(init, "ip", "link", "set", "lo", "up")
    _inside(init, "ip", "address", "add", f"{network.node}/{network.cable.prefixlen}", "dev", "eth0")
    _inside(init, "ip", "link", "set", "eth0", "up")
    _inside(init, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    # Only for a route to be there when the node itself calls a Service: kube-proxy's rules then
    # send the packet to a pod, and one for an address that no Service has goes nowhere.
    _inside(init, "ip", "route", "add", str(network.services), "dev", "lo", "src", str(network.node))
    for destination in (network.pods, network.services):
        run("ip", "route", "add", str(destination), "via", str(network.node), "dev", ours)


def disconnect(name: str) -> None:
    """Remove the cable, and with it the routes and addresses; nothing happens when there is none."""
    if Path(f"/sys/class/net/{device(name)}").exists():
        attempt("ip", "link", "delete", device(name))


def _inside(init: int, *argv: str) -> None:
    run("nsenter", "--target", str(init), "--net", *argv)
