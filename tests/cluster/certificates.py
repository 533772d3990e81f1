"""Who is who in a cluster: a certificate authority, its certificates, and a kubeconfig with a token for each user."""

import json
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

USERS: Final[Mapping[str, tuple[str, str]]] = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "node": ("system:node:node", "system:nodes"),
}
"""By kubeconfig, the user's name and group."""

_CURVE: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificates:
    """Keys, certificates and kubeconfigs in one folder, good for as long as a cluster lives."""

    def __init__(self, folder: Path, server: str, addresses: Sequence[str]) -> None:
        """Make them all.

        Args:
            server: the API server's ``https://host:port``.
            addresses: every IP under which the API server is reached.
        """
        folder.mkdir(parents=True)
        self._folder = folder
        self._authority()
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        alternatives = [*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)]
        self._leaf("apiserver", "/CN=kube-apiserver", "serverAuth", alternatives)
        self._leaf("kubelet-client", "/O=system:masters/CN=kube-apiserver", "clientAuth")
        self._leaf("front-proxy", "/CN=front-proxy", "clientAuth")
        self._openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "tokens.key")
        self._openssl("pkey", "-in", "tokens.key", "-pubout", "-out", "tokens.pub")
        self._users(server)

    def __call__(self, name: str) -> str:
        """Return the path of one of the files."""
        return str(self._folder / name)

    def _authority(self) -> None:
        uses = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"
        files = ("-keyout", "ca.key", "-out", "ca.crt")
        self._openssl("req", "-x509", *_CURVE, "-days", "30", *files, "-subj", "/CN=tests", "-addext", uses)

    def _leaf(self, name: str, subject: str, use: str, alternatives: Sequence[str] = ()) -> None:
        more = [f"extendedKeyUsage={use}"]
        more += [f"subjectAltName={','.join(alternatives)}"] if alternatives else []
        extensions = self._folder / f"{name}.extensions"
        extensions.write_text("\n".join(more))
        self._openssl("req", *_CURVE, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", extensions.name)
        self._openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.crt")

    def _users(self, server: str) -> None:
        lines = []
        for file, (user, group) in USERS.items():
            token = secrets.token_hex(16)
            lines.append(f'{token},{user},{file},"{group}"\n')
            config = self._kubeconfig(server, file, token)
            (self._folder / f"{file}.kubeconfig").write_text(json.dumps(config, indent=2))
        (self._folder / "tokens.csv").write_text("".join(lines))

    def _kubeconfig(self, server: str, user: str, token: str) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {"server": server, "certificate-authority": self("ca.crt")}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
            "current-context": "tests",
        }

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr}")
