"""What the pods of one processor are made from, and the name that follows from it.

A revision holds everything: image, settings, the content of the ConfigMaps and Secrets that it takes variables from (as
copies that never change). It is recorded before its first pod, so that going back needs nothing that could have changed
since. Two things are no part of it. How many pods there are and how they take over belongs to the rollout. And
credentials are named, never read: pods look at the live Secret, and no rollback brings an old password back.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from orderflow.spec.pods import Pods, Resources, Variable, VariableSource
from orderflow.spec.resource import OrderFlow
from orderflow_operator.settings import settings_of
from orderflow_operator.sparse import digest, sparse

SourceKind = Literal["ConfigMap", "Secret"]


class Source(msgspec.Struct, frozen=True, order=True):
    """A ConfigMap or Secret that a resource refers to, in its own namespace."""

    kind: SourceKind
    name: str


Digests = Mapping[Source, str]
"""The digest of what each source holds now; what does not exist is missing."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """What a source held when the revision was made."""

    kind: SourceKind
    name: str
    digest: str

    def name_in(self, instance: str) -> str:
        """Return the name of the object that has the content for ever."""
        return f"{instance}-env-{digest([self.kind, self.name, self.digest])}"


class Revision(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One revision of one processor.

    Attributes:
        name: the digest of all the rest, by which it was first known: a later operator may count otherwise.
        settings: what its processes read, as text: an operator keeps hundreds of revisions; see :mod:`.settings`.
        env: the values that override all ``copies``, later ones first.
        credentials: the Secret with the database's user and password.
    """

    name: str
    context: str
    image: str
    settings: str
    env: tuple[Variable, ...] = ()
    copies: tuple[Copy, ...] = ()
    resources: Resources = Resources()
    pods: Pods = Pods()
    credentials: str = ""


class Unknown(msgspec.Struct, frozen=True):
    """A source that is referred to and does not exist; ``field`` is where."""

    source: Source
    field: str


def references(resource: OrderFlow) -> dict[Source, str]:
    """Return every source that the resource takes variables from, with the field that names it first."""
    found: dict[Source, str] = {}
    spec = resource.spec
    sections = {"spec.pods": spec.pods.env_from}
    sections |= {f"spec.processors.{name}": spec.processors.of(name).env_from for name in _contexts(resource)}
    for section, sources in sections.items():
        for index, source in enumerate(sources):
            found.setdefault(_source(source), f"{section}.envFrom[{index}]")
    return found


def unknown(resource: OrderFlow, digests: Digests) -> tuple[Unknown, ...]:
    """Return what the resource refers to and is not there."""
    return tuple(Unknown(source, field) for source, field in references(resource).items() if source not in digests)


def revision_of(resource: OrderFlow, namespace: str, context: str, image: str, digests: Digests) -> Revision:
    """Return the revision that the resource asks for now.

    Args:
        image: what runs where the resource names none.
        digests: of everything that :func:`references` names.
    """
    spec, processor = resource.spec, resource.spec.processors.of(context)
    sources = [_source(source) for source in (*spec.pods.env_from, *processor.env_from)]
    revision = Revision(
        name="",
        context=context,
        image=processor.image or spec.image or image,
        settings=settings_of(resource, namespace, context),
        env=(*spec.pods.env, *processor.env),
        copies=tuple(Copy(kind=one.kind, name=one.name, digest=digests[one]) for one in sources),
        resources=processor.resources or spec.pods.resources,
        pods=msgspec.structs.replace(spec.pods, env=(), env_from=(), resources=Resources()),
        credentials=spec.database.credentials.name if spec.database.credentials else "",
    )
    return msgspec.structs.replace(revision, name=digest(sparse(revision)))


def release_of(revisions: Mapping[str, str]) -> str:
    """Return the name of the release that has these revisions, by context."""
    return digest(dict(revisions))


def _source(source: VariableSource) -> Source:
    if source.secret_ref is not None:
        return Source("Secret", source.secret_ref.name)
    assert source.config_map_ref is not None  # a rule of the resource
    return Source("ConfigMap", source.config_map_ref.name)


def _contexts(resource: OrderFlow) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(resource.spec.processors))
