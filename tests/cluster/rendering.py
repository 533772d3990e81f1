"""The operator's manifests for those without Helm: what the chart makes of its own values, without a trace of Helm."""

import subprocess
from pathlib import Path
from typing import Final

from cluster.programs import program

CHART: Final = Path(__file__).parents[2] / "charts" / "orderflow"
NAMESPACE: Final = "orderflow"

_HEAD: Final = f"""\
# The operator without Helm, rendered from the chart by `make manifests`. The definition is beside it, in crd.yaml.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
"""


def operator_manifests() -> str:
    """Return them as YAML."""
    chosen = ["--namespace", NAMESPACE, "--set", "crds.install=false", "--skip-tests"]
    command = [str(program("helm")), "template", "orderflow", str(CHART), *chosen]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = rendered.splitlines(keepends=True)
    return _HEAD + "".join(line for line in lines if not _is_helm_s(line))


def _is_helm_s(line: str) -> bool:
    return any(mark in line for mark in ("app.kubernetes.io/managed-by: Helm", "helm.sh/chart:", "# Source:"))
