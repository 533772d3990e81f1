"""Images without a registry: a base of the system's own packages, and the project's, built from its Dockerfile on it.

They are built by buildah, which needs no daemon and leaves the machine's network alone. What it has built stays in the
cache, layer by layer: a change of the code costs the last of them.
"""

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cluster.programs import CACHE, alone
from servers.process import program as installed

ROOT: Final = Path(__file__).parents[2]

PROCESSORS: Final = "orderflow.test/processors:tested"
OPERATOR: Final = "orderflow.test/operator:tested"

SUITE: Final = "bookworm"
BASE: Final = f"orderflow.test/base:{SUITE}"
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
"""What the base has beyond the least that a Debian can be."""

_USELESS: Final = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"


def project_image(target: str, name: str, archive: Path, say: Callable[[str], None] = print) -> Path:
    """Build a target of the Dockerfile and write it to ``archive``, whose path is returned.

    Raises:
        ServerMissing: a program that this needs is not installed.
        RuntimeError: it could not be built; the text has the reason.
    """
    with alone("images"):
        if not _has(BASE):
            say("making a base image (once: a minute)")
            _make_base()
        say(f"building the image {name}")
        # A registry of one's own, and who vouches for it, are the machine's business.
        index = os.environ.get("PIP_INDEX_URL")
        arguments = [f"--build-arg=BASE={BASE}", *([f"--build-arg=PIP_INDEX_URL={index}"] if index else [])]
        secret = f"--secret=id=certificates,src={os.environ.get('SSL_CERT_FILE') or _CERTIFICATES}"
        options = ["--layers", "--isolation=chroot", "--network=host", "--pull-never", secret, *arguments]
        _buildah("build", *options, f"--target={target}", f"--tag={name}", str(ROOT))
        archive.unlink(missing_ok=True)
        _buildah("push", name, f"docker-archive:{archive}:{name}")
    return archive


def size_of(archive: Path) -> int:
    """Return how many bytes the image's layers have, unpacked."""
    with tarfile.open(archive) as tar:
        manifest = json.loads(_content(tar, "manifest.json"))
        return sum(tar.getmember(layer).size for layer in manifest[0]["Layers"])


def files_of(archive: Path) -> set[str]:
    """Return the paths of all files in the image."""
    with tarfile.open(archive) as tar:
        layers = json.loads(_content(tar, "manifest.json"))[0]["Layers"]
        found: set[str] = set()
        for layer in layers:
            with tarfile.open(fileobj=tar.extractfile(layer)) as files:
                found.update(files.getnames())
    return found


def configuration_of(archive: Path) -> dict[str, object]:
    """Return how the image says it is to be run."""
    with tarfile.open(archive) as tar:
        manifest = json.loads(_content(tar, "manifest.json"))
        configuration: dict[str, object] = json.loads(_content(tar, manifest[0]["Config"]))["config"]
    return configuration


def program_image(name: str, program: Path, archive: Path) -> Path:
    """Write an image that has one program and nothing else to ``archive``, whose path is returned."""
    layer = _tar({"program": program.read_bytes()}, mode=0o755)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": ["/program"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
        "layer.tar": layer,
    }
    archive.write_bytes(_tar(files, mode=0o644))
    return archive


def _make_base() -> None:
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as name:
        root = Path(name) / "root"
        included = f"--include={','.join(PACKAGES)}"
        _run(installed("debootstrap", "debootstrap"), "--variant=minbase", included, SUITE, str(root))
        ignored = [f"--exclude=./{path}/*" for path in _USELESS]
        archive = Path(name) / "base.tar"
        _run("tar", "--create", f"--file={archive}", f"--directory={root}", *ignored, ".")
        (Path(name) / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        (Path(name) / ".dockerignore").write_text("root\n")
        _buildah("build", f"--tag={BASE}", name)


def _has(image: str) -> bool:
    return image in _buildah("images", "--format={{.Name}}:{{.Tag}}").split()


def _buildah(command: str, *arguments: str) -> str:
    storage = CACHE / "images"
    where = [f"--root={storage / 'root'}", f"--runroot={storage / 'run'}", "--storage-driver=overlay"]
    return _run("nice", "-n", "10", installed("buildah", "buildah"), *where, command, *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-1500:]}{done.stderr[-3000:]}")
    return done.stdout


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
