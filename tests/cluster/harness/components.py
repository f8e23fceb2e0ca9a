"""What a cluster runs: the components' command lines and how one sees that each is ready."""

import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.cluster.harness.configuration import DNS_DOMAIN, DNS_READY_PORT, NODE_NAME, PROXY_HEALTH_PORT
from tests.cluster.harness.network import API_PORT, Network
from tests.cluster.harness.paths import State
from tests.cluster.harness.run import attempt

CONTAINERD = "containerd"
API_SERVER = "kube-apiserver"
SECONDS_A_PROBE = 2


@dataclass(frozen=True, slots=True)
class Component:
    name: str
    argv: list[str]
    ready: Callable[[], bool]


def components(state: State, network: Network) -> list[Component]:
    """All of them, in the order in which they start: whoever needs another comes after it."""
    etc, pki = state.configuration, state.pki
    etcd_client = "http://127.0.0.1:2379"
    etcd_peer = "http://127.0.0.1:2380"
    no_probe = lambda: True  # noqa: E731 - others show by their work whether this one is well

    def ours(name: str, *flags: str) -> list[str]:
        return [str(state.binaries / "kubernetes"), name, *flags]

    def its_kubeconfig(name: str) -> str:
        return f"--kubeconfig={etc / f'{name}.kubeconfig'}"

    return [
        Component(
            "etcd",
            ours(
                "etcd",
                f"--data-dir={state.etcd}",
                f"--listen-client-urls={etcd_client}",
                f"--advertise-client-urls={etcd_client}",
                f"--listen-peer-urls={etcd_peer}",
                f"--initial-advertise-peer-urls={etcd_peer}",
                f"--initial-cluster=default={etcd_peer}",
                "--quota-backend-bytes=4294967296",
                "--log-level=warn",
                "--unsafe-no-fsync",  # a test's data survives a kill, and need not survive a power cut
            ),
            no_probe,
        ),
        Component(
            CONTAINERD,
            ["/usr/bin/containerd", f"--config={etc / 'containerd.toml'}"],
            partial(_containerd_answers, state),
        ),
        Component(
            API_SERVER,
            ours(
                API_SERVER,
                f"--etcd-servers={etcd_client}",
                "--bind-address=0.0.0.0",
                f"--secure-port={API_PORT}",
                f"--advertise-address={network.node}",
                f"--service-cluster-ip-range={network.services}",
                f"--service-account-issuer=https://kubernetes.default.svc.{DNS_DOMAIN}",
                f"--service-account-key-file={pki / 'service-accounts.pub'}",
                f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
                f"--client-ca-file={pki / 'ca.crt'}",
                f"--tls-cert-file={pki / 'apiserver.crt'}",
                f"--tls-private-key-file={pki / 'apiserver.key'}",
                f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
                f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
            ),
            partial(api_server_ready, state, network),
        ),
        Component(
            "kube-controller-manager",
            ours(
                "kube-controller-manager",
                its_kubeconfig("kube-controller-manager"),
                f"--service-account-private-key-file={pki / 'service-accounts.key'}",
                f"--root-ca-file={pki / 'ca.crt'}",
                f"--cluster-signing-cert-file={pki / 'ca.crt'}",
                f"--cluster-signing-key-file={pki / 'ca.key'}",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ),
            no_probe,
        ),
        Component(
            "kube-scheduler",
            ours(
                "kube-scheduler",
                its_kubeconfig("kube-scheduler"),
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ),
            no_probe,
        ),
        Component(
            "kubelet",
            ours(
                "kubelet",
                its_kubeconfig("kubelet"),
                f"--config={etc / 'kubelet.yaml'}",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={network.node}",
            ),
            no_probe,
        ),
        Component(
            "kube-proxy",
            ours("kube-proxy", f"--config={etc / 'kube-proxy.yaml'}"),
            partial(_answers, f"http://{network.node}:{PROXY_HEALTH_PORT}/healthz"),
        ),
        Component(
            "coredns",
            [str(state.binaries / "coredns"), "-conf", str(etc / "Corefile")],
            partial(_answers, f"http://{network.node}:{DNS_READY_PORT}/ready"),
        ),
    ]


def api_server_ready(state: State, network: Network) -> bool:
    """Whether /readyz says ok, which includes etcd and the bootstrap policy."""
    context = ssl.create_default_context(cafile=state.pki / "ca.crt")
    context.load_cert_chain(state.pki / "admin.crt", state.pki / "admin.key")
    return _answers(f"{network.api_server}/readyz", context)


def _answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    # Without the caller's proxy: the address is this machine's.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(url, timeout=SECONDS_A_PROBE) as response:
            return bool(response.status == 200)
    except OSError:  # refused, timed out, or an answer other than 2xx
        return False


def _containerd_answers(state: State) -> bool:
    if not state.containerd_socket.exists():
        return False
    socket = str(state.containerd_socket)
    return attempt("ctr", "--address", socket, "--connect-timeout", "2s", "version").returncode == 0
