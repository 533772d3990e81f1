"""The cluster's programs, built from their Go modules once per machine.

Each folder under ``modules`` is a Go module that pins what it builds by hash. What it becomes is kept in the user's
cache under a name that follows from the module's files and the compiler, so a change of either is built anew, and two
sessions never build the same thing twice. Which module proxy is asked stays with Go's own settings.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from servers.process import ServerMissing

SOURCES: Final = Path(__file__).with_name("modules")
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orderflow" / "cluster"

UNUSED: Final = 30 * 86_400.0
"""Seconds without a use after which a program, of some 130 MB, is cleared away."""

KUBERNETES: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
"""What the one Kubernetes program is called as."""

PACKAGES: Final = {"kubernetes": ".", "coredns": ".", "pause": ".", "helm": "helm.sh/helm/v4/cmd/helm"}
"""By module, the Go package that is built."""


def program(name: str, say: Callable[[str], None] = print) -> Path:
    """Return the path of one of :data:`KUBERNETES`, ``coredns`` or ``helm``, which is built if it is not there yet.

    Args:
        say: told before something that takes long.

    Raises:
        ServerMissing: there is no Go.
        RuntimeError: it could not be built; the text has the compiler's words.
    """
    module = "kubernetes" if name in KUBERNETES else name
    built = CACHE / f"{module}-{_identity(module)}" / module
    with alone(module):
        if not built.exists():
            say(f"building {module} (once: some minutes)")
            _build(module, built)
        os.utime(built.parent)
        _clear_unused()
    return built if name == module else _called(built, name)


def _called(built: Path, name: str) -> Path:
    link = built.with_name(name)
    if not link.is_symlink():
        link.symlink_to(built.name)
    return link


def _build(module: str, built: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as name:
        fresh = Path(name) / module
        fresh.mkdir()
        command = [
            _go(),
            "build",
            "-trimpath",
            "-mod=readonly",
            "-ldflags",
            _linking(module),
            "-o",
            str(fresh / module),
        ]
        environment = {**os.environ, "CGO_ENABLED": "0"}
        done = subprocess.run(
            ["nice", "-n", "10", *command, PACKAGES[module]],
            cwd=SOURCES / module,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{module} could not be built:\n{done.stderr[-3000:]}")
        fresh.replace(built.parent)


def _linking(module: str) -> str:
    """Return the linker's flags: without symbols, and with the version that Kubernetes' programs tell each other."""
    if module != "kubernetes":
        return "-s -w"
    command = [_go(), "list", "-mod=readonly", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"]
    version = subprocess.run(command, cwd=SOURCES / module, capture_output=True, text=True, check=True).stdout.strip()
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    places = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {place}.{name}={value}" for place in places for name, value in values.items())])


def _identity(module: str) -> str:
    """Return what a program is good for: other sources or another compiler make another."""
    files = sorted(file for file in (SOURCES / module).iterdir() if file.suffix in {".go", ".mod", ".sum"})
    parts = [subprocess.run([_go(), "version"], capture_output=True, check=True).stdout, PACKAGES[module].encode()]
    parts += [part for file in files for part in (file.name.encode(), file.read_bytes())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise ServerMissing("go")
    return found


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Be the only session on this machine that builds ``what``, for as long as the block lasts."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear_unused() -> None:
    now = time.time()
    for folder in CACHE.iterdir():
        if folder.is_dir() and now - folder.stat().st_mtime > UNUSED:
            shutil.rmtree(folder, ignore_errors=True)
