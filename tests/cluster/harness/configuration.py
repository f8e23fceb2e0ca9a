"""The configuration files of the components, written before they start."""

import base64
import json
from typing import Any

import yaml

from tests.cluster.harness import cgroups
from tests.cluster.harness.network import Network
from tests.cluster.harness.paths import State
from tests.cluster.harness.pki import Authority, KeyPair, signing_key, write_private

DNS_DOMAIN = "cluster.local"
NODE_NAME = "node"
PAUSE_IMAGE = "localhost/servicedb-pause:1"
CNI_PLUGINS = "/usr/lib/cni"
PROXY_HEALTH_PORT = 10256
DNS_READY_PORT = 8181

# Whoever calls the API server: file name -> user and groups. RBAC's bootstrap policy knows the
# system: ones; CoreDNS gets its role from manifests/dns.yaml.
CLIENTS: dict[str, tuple[str, ...]] = {
    "admin": ("servicedb-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager",),
    "kube-scheduler": ("system:kube-scheduler",),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy",),
    "coredns": ("servicedb-dns",),
}


def write(state: State, network: Network) -> None:
    """Write all of it; keys that are there already stay, so that a restart breaks no token."""
    write_keys(state, network)
    etc = state.configuration
    for client in CLIENTS:
        write_private(etc / f"{client}.kubeconfig", kubeconfig(state, network, client).encode())
    (etc / "containerd.toml").write_text(_containerd(state))
    (etc / "cni").mkdir(exist_ok=True)
    (etc / "cni" / "pods.conflist").write_text(json.dumps(_cni(network), indent=2))
    (etc / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(state, network)))
    (etc / "kube-proxy.yaml").write_text(yaml.safe_dump(_proxy(state, network)))
    (etc / "Corefile").write_text(_corefile(state, network))


def write_keys(state: State, network: Network) -> None:
    pki = state.pki
    if not (pki / "complete").exists():
        authority = Authority.create(f"servicedb {state.name}")
        authority.pair.write(pki, "ca")
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        names.append(f"kubernetes.default.svc.{DNS_DOMAIN}")
        authority.server("kube-apiserver", [*names, network.node, network.api_service]).write(pki, "apiserver")
        authority.client("kube-apiserver", "system:masters").write(pki, "apiserver-kubelet-client")
        for client, (user, *groups) in CLIENTS.items():
            authority.client(user, *groups).write(pki, client)
        private, public = signing_key()
        write_private(pki / "service-accounts.key", private)
        (pki / "service-accounts.pub").write_bytes(public)
        (pki / "complete").touch()


def kubeconfig(state: State, network: Network, client: str) -> str:
    """A kubeconfig for one of CLIENTS that holds its keys itself, so that it can be copied."""
    pair = KeyPair.read(state.pki, client)
    context = f"servicedb-{state.name}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {
                    "server": network.api_server,
                    "certificate-authority-data": _base64((state.pki / "ca.crt").read_bytes()),
                },
            }
        ],
        "users": [
            {
                "name": context,
                "user": {
                    "client-certificate-data": _base64(pair.certificate),
                    "client-key-data": _base64(pair.key),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    return yaml.safe_dump(content, sort_keys=False)


def _containerd(state: State) -> str:
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{state.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# A profile in the kernel would outlive the cluster.
disable_apparmor = true
# Without CAP_SYS_RESOURCE (a container that runs CI) no process may lower the score.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{state.configuration / "cni"}"
"""


def _cni(network: Network) -> dict[str, Any]:
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                # Not a bridge: every packet is routed, so that kube-proxy's rules see it without
                # a kernel module for bridges.
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",  # goes with the namespace, as the addresses do
                    "ranges": [[{"subnet": str(network.pods)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(state: State, network: Network) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(network.node),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(state.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.path(state.name),
        "clusterDNS": [str(network.node)],
        "clusterDomain": DNS_DOMAIN,
        "containerRuntimeEndpoint": f"unix://{state.containerd_socket}",
        "enforceNodeAllocatable": [],
        # The disk and the memory are the developer's: what fills them is not ours to evict for.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "failSwapOn": False,
        "healthzPort": 0,
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
        "oomScoreAdj": 0,
        "resolvConf": "",
        "serializeImagePulls": False,
    }


def _proxy(state: State, network: Network) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": "0.0.0.0",
        "clientConnection": {"kubeconfig": str(state.configuration / "kube-proxy.kubeconfig")},
        "clusterCIDR": str(network.pods),
        # The kernel's table is the whole machine's: its size is not ours to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "healthzBindAddress": f"{network.node}:{PROXY_HEALTH_PORT}",
        "hostnameOverride": NODE_NAME,
        "iptables": {"minSyncPeriod": "100ms"},
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "iptables",
        "oomScoreAdj": 0,
    }


def _corefile(state: State, network: Network) -> str:
    return f"""{DNS_DOMAIN}:53 in-addr.arpa:53 {{
    bind {network.node}
    errors
    ready {network.node}:{DNS_READY_PORT}
    kubernetes {DNS_DOMAIN} in-addr.arpa {{
        kubeconfig {state.configuration / "coredns.kubeconfig"}
    }}
}}
.:53 {{
    bind {network.node}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
