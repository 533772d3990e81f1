"""The CustomResourceDefinition, made from the types that everything else reads: ``make crd`` writes it.

The API server refuses what it can: types, bounds, words, and with CEL what must hold between fields. What only a look
at the cluster can tell (a Secret that is not there) is for the operator's conditions to say.
"""

import sys
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import inspect as types

from orderflow.saga.protocol import PROTOCOLS
from orderflow.spec.resource import CONTEXTS, Spec
from orderflow.spec.status import Status
from orderflow_operator.names import GROUP, LONGEST_NAME, PLURAL, VERSION
from orderflow_operator.schema import Schema, schema_of

Rule = dict[str, str]

_IDLE: Final = "a replica without a partition has nothing to do"
_POSTGRES: Final = (
    "has(self.database.url) && self.database.url.startsWith('postgresql') && self.database.url.contains('{context}')"
)
_IN_CLUSTER: Final = "in a cluster the broker and the databases are servers of their own"

RULES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "": (
        (
            f"size(self.metadata.name) <= {LONGEST_NAME}",
            f"the name has at most {LONGEST_NAME} characters: those of its pods begin with it",
        ),
    ),
    "spec": (
        *(
            (
                f"self.processors.{context}.replicas <= self.broker.partitions",
                f"processors.{context}.replicas: expected at most broker.partitions: {_IDLE}",
            )
            for context in CONTEXTS
        ),
        ("has(self.broker.address)", f"broker.address: expected host:port: {_IN_CLUSTER}"),
        (
            _POSTGRES,
            f"database.url: expected a URL that begins with postgresql and has {{context}} in it: {_IN_CLUSTER}",
        ),
        (
            "!(self.production && has(self.simulation))",
            "simulation: faults are not simulated where production is true",
        ),
    ),
    "spec.broker.partitions": (
        ("self == oldSelf", "partitions cannot be changed once there are topics: orders would move between them"),
    ),
    "spec.pods.envFrom[]": (
        ("has(self.configMapRef) != has(self.secretRef)", "expected exactly one of configMapRef and secretRef"),
    ),
}
"""By the path of a field, what must hold there (CEL) and what to say where it does not."""

_STRATEGY: Final = (
    "(has(self.canary) ? 1 : 0) + (has(self.blueGreen) ? 1 : 0) == 1",
    "expected exactly one strategy: canary or blueGreen",
)
_STEP: Final = (
    "[has(self.setWeight), has(self.setPartitions), has(self.pause), has(self.analysis)].filter(x, x).size() == 1",
    "expected exactly one of setWeight, setPartitions, pause and analysis",
)
for _context in CONTEXTS:
    _at = f"spec.processors.{_context}"
    RULES[f"{_at}.strategy"] = (_STRATEGY,)
    RULES[f"{_at}.strategy.canary.steps[]"] = (_STEP,)
    RULES[f"{_at}.envFrom[]"] = RULES["spec.pods.envFrom[]"]

ADDED: Final[dict[str, Schema]] = {
    "spec.flows": {"maxItems": 100},
    "spec.flows[].steps": {"maxItems": 10},
    "spec.flows[].steps[].name": {"enum": sorted(PROTOCOLS)},
    "spec.pods.envFrom": {"maxItems": 50},
    "status.conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    **{f"spec.processors.{context}.envFrom": {"maxItems": 50} for context in CONTEXTS},
    **{f"spec.processors.{context}.strategy.canary.steps": {"maxItems": 50} for context in CONTEXTS},
}
"""By the path of a field, what only the API server has to know. Lists have bounds so that rules over them are cheap."""

COLUMNS: Final = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Phase", "string", ".status.phase", 0),
    ("Step", "string", ".status.step", 0),
    ("Weight", "integer", ".status.weight", 0),
    ("Revision", "string", ".status.revision", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Lag", "integer", ".status.lag", 1),
    ("Message", "string", ".status.message", 1),
)


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    names = {"plural": PLURAL, "singular": "orderflow", "kind": "OrderFlow", "listKind": "OrderFlowList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {**names, "shortNames": ["of"], "categories": ["all"]},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _schema()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "priority": priority}
                        for name, kind, path, priority in COLUMNS
                    ],
                }
            ],
        },
    }


def text() -> str:
    """Return the definition as it is committed."""
    head = "# Made from the types in orderflow.spec by `make crd`.\n"
    return head + yaml.dump(definition(), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Without anchors: people read this."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal parts out each time."""
        return True


def _schema() -> Schema:
    spec = schema_of(types.type_info(Spec))
    schema: Schema = {
        "type": "object",
        "description": "One system: six processors and their APIs.",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": schema_of(types.type_info(Status)),
        },
        "required": ["spec"],
    }
    for path, rules in RULES.items():
        _at_path(schema, path)["x-kubernetes-validations"] = [{"rule": rule, "message": why} for rule, why in rules]
    for path, extra in ADDED.items():
        _at_path(schema, path).update(extra)
    return schema


def _at_path(schema: Schema, path: str) -> Schema:
    found = schema
    for step in path.split(".") if path else ():
        found = found["properties"][step.removesuffix("[]")]
        if step.endswith("[]"):
            found = found["items"]
    return found


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(text(), encoding="utf-8")
