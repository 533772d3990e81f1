"""A control plane: etcd, API server, controllers and scheduler as plain processes. It needs no root.

Alone it is enough for whoever reconciles resources: objects are stored, validated, garbage-collected and turned into
pods, which stay Pending for want of a node.
"""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.certificates import Certificates
from cluster.daemons import Daemon, answers
from cluster.programs import program
from orderflow.local.ports import free_ports


@dataclass(frozen=True)
class ControlPlane:
    """A control plane that runs. ``kubeconfig`` is its administrator's."""

    server: str
    certificates: Certificates
    etcd: Daemon
    api_server: Daemon
    controllers: Daemon
    scheduler: Daemon

    @property
    def kubeconfig(self) -> Path:
        """The file to name as KUBECONFIG."""
        return Path(self.certificates("admin.kubeconfig"))

    def wait_for_api(self) -> None:
        """Wait until the API server serves: after it was started again."""
        self.api_server.wait_until(lambda: answers(f"{self.server}/readyz"))


@contextmanager
def running_control_plane(
    folder: Path, host: str = "127.0.0.1", services: str = "198.19.0.0/20", kubernetes: str = "198.19.0.1"
) -> Iterator[ControlPlane]:
    """Run a control plane with all it stores in ``folder``.

    Args:
        host: the address that the API server listens on, and that pods find it at.
        services: the network that Services get their addresses from.
        kubernetes: the first of these.
    """
    client, peer, api, controllers, scheduler = free_ports(5)
    server = f"https://{host}:{api}"
    certificates = Certificates(folder / "certificates", server, ["127.0.0.1", kubernetes, host])
    with ExitStack() as stack:

        def daemon(name: str, *options: str) -> Daemon:
            started = Daemon(name, [program(name), *options], folder)
            stack.callback(started.kill)
            return started

        etcd = daemon("etcd", *_etcd(folder, client, peer))
        etcd.wait_until(lambda: answers(f"http://127.0.0.1:{client}/health"))
        api_server = daemon("kube-apiserver", *_api_server(certificates, host, api, client, services))
        api_server.wait_until(lambda: answers(f"{server}/readyz"))
        plane = ControlPlane(
            server,
            certificates,
            etcd,
            api_server,
            controllers=daemon("kube-controller-manager", *_controllers(certificates, controllers)),
            scheduler=daemon("kube-scheduler", *_client(certificates, "scheduler", scheduler)),
        )
        plane.controllers.wait_until(lambda: answers(f"https://127.0.0.1:{controllers}/healthz"))
        plane.scheduler.wait_until(lambda: answers(f"https://127.0.0.1:{scheduler}/healthz"))
        # Without it no pod is admitted.
        plane.controllers.wait_until(lambda: _has_account(plane.kubeconfig))
        yield plane


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    here, there = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        f"--data-dir={folder / 'etcd'}",
        # What it stores ends with the tests.
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={here}",
        f"--advertise-client-urls={here}",
        f"--listen-peer-urls={there}",
        f"--initial-advertise-peer-urls={there}",
        f"--initial-cluster=default={there}",
    ]


def _api_server(files: Certificates, host: str, port: int, etcd: int, services: str) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--bind-address={host}",
        f"--secure-port={port}",
        f"--advertise-address={host}",
        # Alone it is found on the loopback interface, which no Service may point to: then there is none.
        f"--endpoint-reconciler-type={'none' if host.startswith('127.') else 'lease'}",
        f"--service-cluster-ip-range={services}",
        f"--tls-cert-file={files('apiserver.crt')}",
        f"--tls-private-key-file={files('apiserver.key')}",
        f"--client-ca-file={files('ca.crt')}",
        f"--token-auth-file={files('tokens.csv')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={files('tokens.pub')}",
        f"--service-account-signing-key-file={files('tokens.key')}",
        f"--kubelet-client-certificate={files('kubelet-client.crt')}",
        f"--kubelet-client-key={files('kubelet-client.key')}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={files('ca.crt')}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={files('front-proxy.crt')}",
        f"--proxy-client-key-file={files('front-proxy.key')}",
    ]


def _client(files: Certificates, user: str, port: int) -> list[str]:
    config = files(f"{user}.kubeconfig")
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--leader-elect=false",
    ]


def _controllers(files: Certificates, port: int) -> list[str]:
    return [
        *_client(files, "controller-manager", port),
        f"--service-account-private-key-file={files('tokens.key')}",
        f"--root-ca-file={files('ca.crt')}",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={files('ca.crt')}",
        f"--cluster-signing-key-file={files('ca.key')}",
        # Each of its controllers looks up what the API offers first: at the usual 20 requests a second for 7 s.
        "--kube-api-qps=300",
        "--kube-api-burst=600",
    ]


def _has_account(kubeconfig: Path) -> bool:
    command = [str(program("kubectl")), f"--kubeconfig={kubeconfig}", "get", "serviceaccount", "default"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
