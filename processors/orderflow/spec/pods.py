"""What a resource says of the pods that run it, under Kubernetes' own names.

The operator reads it. ``orderflow up`` runs processes instead: it takes the same resource and says what it leaves out.
"""

from typing import Annotated, Final, Literal

import msgspec

from orderflow.spec.section import Section

NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"

ObjectName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
"""The name of a Secret, a ConfigMap or a service account."""

VariableName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]

Quantity = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
"""Kubernetes' way to write an amount: ``250m`` of a core, ``512Mi`` of memory."""

Image = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^\S+$")]


class Variable(Section, frozen=True, kw_only=True):
    """An environment variable with its value."""

    name: VariableName
    value: str = ""


class Reference(Section, frozen=True, kw_only=True):
    """An object in the resource's own namespace."""

    name: ObjectName


class VariableSource(Section, frozen=True, kw_only=True):
    """A ConfigMap or a Secret each of whose keys becomes an environment variable.

    What stands in it is part of the revision: changing it rolls out, and a rollback brings the old content back.
    """

    config_map_ref: Reference | None = None
    secret_ref: Reference | None = None


class Resources(Section, frozen=True, kw_only=True):
    """What a pod asks for and may use at most, by ``cpu`` and ``memory``."""

    requests: dict[str, Quantity] = msgspec.field(default_factory=dict)
    limits: dict[str, Quantity] = msgspec.field(default_factory=dict)


class Pods(Section, frozen=True, kw_only=True):
    """What all pods of the system have in common.

    Attributes:
        labels: put on every pod besides the operator's own.
        annotations: put on every pod besides the operator's own.
        termination_grace_period_seconds: a pod that is told to stop finishes its batch, publishes, and leaves its group
            within 20 s; the rest is a margin for a database that is slow.
    """

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Reference, ...] = ()
    env: tuple[Variable, ...] = ()
    env_from: tuple[VariableSource, ...] = ()
    resources: Resources = Resources()
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    priority_class_name: str | None = None
    termination_grace_period_seconds: Annotated[int, msgspec.Meta(ge=25, le=600)] = 45


class Monitoring(Section, frozen=True, kw_only=True):
    """What Prometheus is told, where its operator's resources exist in the cluster."""

    pod_monitor: bool = True


class NetworkPolicies(Section, frozen=True, kw_only=True):
    """Whether pods take connections only from those who have business with them."""

    enabled: bool = True
