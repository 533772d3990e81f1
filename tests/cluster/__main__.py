"""``python -m cluster``: the cluster of the tests, for a person. It runs until Ctrl-C and leaves nothing behind."""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from cluster.control_plane import running_control_plane
from cluster.images import OPERATOR, PROCESSORS, project_image
from cluster.programs import program
from cluster.rendering import operator_manifests
from cluster.running import running_cluster
from servers.process import ServerMissing

USAGE = """usage: python -m cluster build | plane | all | kubectl | helm | operator
  build           build what is not built yet
  plane           run a control plane; pods stay Pending
  all             run one with a node that runs pods (as root)
  kubectl, helm   print the path of the program
  operator        print the manifests of the operator, for those without Helm"""

PROGRAMS = ("kubectl", "coredns", "pause", "helm")
"""One of each module."""


def main() -> None:
    match sys.argv[1:]:
        case ["plane" | "all" as what]:
            _run(whole=what == "all")
        case ["kubectl" | "helm" as name]:
            print(program(name, _say))
        case ["build"]:
            _build()
        case ["operator"]:
            print(operator_manifests(), end="")
        case _:
            sys.exit(USAGE)


def _say(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


def _build() -> None:
    for name in PROGRAMS:
        program(name, _say)
    if os.geteuid() == 0:
        with tempfile.TemporaryDirectory(prefix="orderflow-images-") as folder:
            project_image("operator", OPERATOR, Path(folder) / "operator.tar", _say)
            project_image("processors", PROCESSORS, Path(folder) / "processors.tar", _say)


def _run(*, whole: bool) -> None:
    # They are waited for, and not to be taken in the middle of a start: what has begun is then put away as well.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with ExitStack() as stack:
        if whole:
            kubeconfig = stack.enter_context(running_cluster()).kubeconfig
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="orderflow-cluster-"))
            kubeconfig = stack.enter_context(running_control_plane(Path(folder))).kubeconfig
        print(f"export KUBECONFIG={kubeconfig} PATH={program('kubectl').parent}:$PATH", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    try:
        main()
    except ServerMissing as missing:
        sys.exit(str(missing))
