"""The cluster's one node: containerd, kubelet, Services and names, in a sandbox."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cluster.addresses import Addresses
from cluster.certificates import Certificates
from cluster.daemons import Daemon, answers
from cluster.images import program_image
from cluster.programs import program
from cluster.sandbox import Sandbox
from servers.process import ServerMissing
from servers.process import program as installed

PAUSE = "orderflow.test/pause:1"
"""The image of the program that holds a pod's namespaces."""

PACKAGES = {"containerd": "containerd", "runc": "runc", "nft": "nftables"}
"""By program, Debian's package."""

PLUGINS = Path("/usr/lib/cni")


class Node:
    """A node that runs. Images are given to it by file: it can reach no registry."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box

    def load(self, archive: Path) -> None:
        """Give the node the images of a docker archive."""
        self._box.run("ctr", "--namespace=k8s.io", "images", "import", archive)

    def images(self) -> set[str]:
        """Return the names of the images that it has."""
        return set(self._box.run("ctr", "--namespace=k8s.io", "images", "list", "--quiet").split())


def check_node_can_run() -> None:
    """Make sure that this machine has what a node needs.

    Raises:
        ServerMissing: it has not.
    """
    for name, package in PACKAGES.items():
        installed(name, package)
    if not (PLUGINS / "ptp").exists():
        raise ServerMissing("containernetworking-plugins")


@contextmanager
def running_node(folder: Path, box: Sandbox, addresses: Addresses, certificates: Certificates) -> Iterator[Node]:
    """Run a node of the control plane that ``certificates`` belong to, with all it stores in ``folder``."""
    with ExitStack() as stack:

        def daemon(name: str, command: Path | str, *options: str) -> Daemon:
            started = Daemon(name, box.inside([command, *options]), folder)
            stack.callback(started.kill)
            return started

        containerd = daemon("containerd", "containerd", f"--config={_containerd(folder, addresses)}")
        containerd.wait_until(lambda: _works(box, "ctr", "version"))
        node = Node(box)
        node.load(program_image(PAUSE, program("pause"), folder / "pause.tar"))
        kubelet = daemon("kubelet", program("kubelet"), *_kubelet(folder, addresses, certificates))
        proxy = daemon("kube-proxy", program("kube-proxy"), f"--config={_proxy(folder, addresses, certificates)}")
        names = daemon("coredns", program("coredns"), f"-conf={_names(folder, addresses, certificates)}")
        kubectl = (program("kubectl"), f"--kubeconfig={certificates('admin.kubeconfig')}")
        ready = ("wait", "--for=condition=Ready", "node/node", "--timeout=1s")
        kubelet.wait_until(lambda: _works(box, *kubectl, *ready))
        proxy.wait_until(lambda: answers(f"http://{addresses.node}:10256/healthz"))
        names.wait_until(lambda: answers(f"http://{addresses.node}:8181/ready"))
        yield node


def _works(box: Sandbox, *command: Path | str) -> bool:
    try:
        box.run(*command)
    except RuntimeError:
        return False
    return True


def _containerd(folder: Path, addresses: Addresses) -> Path:
    _network(folder / "cni", addresses)
    file = folder / "containerd.toml"
    file.write_text(f"""\
version = 2
root = "{folder}/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Not every root may lower the score by which the kernel chooses whom to end.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
""")
    return file


def _network(folder: Path, addresses: Addresses) -> None:
    """Connect each pod to the node by a wire of its own: all that pods say to one another is routed, and filtered."""
    folder.mkdir()
    ranges = [[{"subnet": addresses.pods}]]
    addressing = {"type": "host-local", "dataDir": "/run/cni", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [{"type": "ptp", "ipMasq": False, "ipam": addressing}]
    (folder / "pods.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}))


def _kubelet(folder: Path, addresses: Addresses, certificates: Certificates) -> list[str]:
    (folder / "resolv.conf").write_text(f"nameserver {addresses.node}\n")
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": addresses.node,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": certificates("ca.crt")}},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{addresses.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "resolvConf": str(folder / "resolv.conf"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [addresses.node],
        "readOnlyPort": 0,
        # A machine's disk is as full as it is: pods are not sent away for it, nor their images.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "volumePluginDir": str(folder / "plugins"),
        "podLogsDir": str(folder / "pods"),
    }
    (folder / "kubelet.json").write_text(json.dumps(config))
    return [
        f"--config={folder / 'kubelet.json'}",
        f"--kubeconfig={certificates('node.kubeconfig')}",
        f"--root-dir={folder / 'kubelet'}",
        f"--cert-dir={folder / 'kubelet-certificates'}",
        "--hostname-override=node",
        f"--node-ip={addresses.node}",
    ]


def _proxy(folder: Path, addresses: Addresses, certificates: Certificates) -> Path:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": "127.0.0.1",
        "healthzBindAddress": f"{addresses.node}:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": certificates("proxy.kubeconfig")},
        "clusterCIDR": addresses.pods,
        "hostnameOverride": "node",
        # These would be the whole machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    file = folder / "kube-proxy.json"
    file.write_text(json.dumps(config))
    return file


def _names(folder: Path, addresses: Addresses, certificates: Certificates) -> Path:
    file = folder / "Corefile"
    file.write_text(f"""\
.:53 {{
  bind {addresses.node}
  errors
  ready {addresses.node}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {certificates("admin.kubeconfig")} tests
  }}
  cache 5
}}
""")
    return file
