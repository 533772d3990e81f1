"""What the watches have told, of all resources: looked things up in, never asked the API server for.

Kept in step by events. An event that was lost shows in the listing that follows a broken watch: what it does not name
is gone (:meth:`Seen.only`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from orderflow_operator.facts import Child, child_of, content_of, instance_of
from orderflow_operator.manifest import Manifest
from orderflow_operator.names import MANAGED_BY, MANAGER
from orderflow_operator.revisions import Digests, Source


class Key(NamedTuple):
    """A resource."""

    namespace: str
    name: str


class Named(NamedTuple):
    """An object among those of one resource."""

    kind: str
    name: str


class Seen:
    """The resources, their objects, and the digest of every ConfigMap and Secret that may be referred to."""

    def __init__(self) -> None:
        self.resources: dict[Key, Manifest] = {}
        self._children: dict[Key, dict[Named, Child]] = defaultdict(dict)
        self._sources: dict[tuple[str, Source], str] = {}
        self._referrers: dict[tuple[str, Source], set[Key]] = defaultdict(set)

    def children(self, key: Key) -> Mapping[Named, Child]:
        """Return the objects of a resource."""
        return self._children.get(key, {})

    def digests(self, namespace: str, sources: Iterable[Source]) -> Digests:
        """Return the digests of those sources that exist."""
        found = {source: self._sources.get((namespace, source)) for source in sources}
        return {source: digest for source, digest in found.items() if digest is not None}

    def refer(self, key: Key, sources: Iterable[Source]) -> None:
        """Remember what a resource refers to, so that a change of it concerns the resource."""
        for referrers in self._referrers.values():
            referrers.discard(key)
        for source in sources:
            self._referrers[key.namespace, source].add(key)

    def put(self, kind: str, body: Manifest) -> set[Key]:
        """Take what an object is now; return the resources that it concerns."""
        key = _key(body)
        if kind == "OrderFlow":
            if not _is_older(body, self.resources.get(key)):
                metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
                self.resources[key] = {**body, "metadata": metadata}
            return {key}
        concerned: set[Key] = set()
        if body["metadata"].get("labels", {}).get(MANAGED_BY) == MANAGER and (instance := instance_of(body)):
            owner = Key(key.namespace, instance)
            child = child_of(kind, body)
            if self._children[owner].get(Named(kind, key.name)) != child:
                self._children[owner][Named(kind, key.name)] = child
                concerned.add(owner)
        elif kind in {"ConfigMap", "Secret"}:
            concerned |= self._source(key.namespace, Source(kind, key.name), content_of(body))  # type: ignore[arg-type]
        return concerned

    def drop(self, kind: str, body: Manifest) -> set[Key]:
        """Take that an object is gone; return the resources that it concerns."""
        key = _key(body)
        if kind == "OrderFlow":
            self.resources.pop(key, None)
            return {key}
        owner = Key(key.namespace, instance_of(body))
        concerned = {owner} if self._children.get(owner, {}).pop(Named(kind, key.name), None) else set()
        if kind in {"ConfigMap", "Secret"}:
            concerned |= self._source(key.namespace, Source(kind, key.name), None)  # type: ignore[arg-type]
        return concerned

    def only(self, kind: str, listed: Iterable[Key]) -> set[Key]:
        """Take that ``listed`` is all there is of a kind; return the resources that the others concerned."""
        there = set(listed)
        if kind == "OrderFlow":
            gone = self.resources.keys() - there
            for key in gone:
                del self.resources[key]
            return set(gone)
        concerned: set[Key] = set()
        for owner, children in self._children.items():
            lost = [one for one in children if one.kind == kind and Key(owner.namespace, one.name) not in there]
            for one in lost:
                del children[one]
            concerned |= {owner} if lost else set()
        for namespace, source in [place for place in self._sources if place[1].kind == kind]:
            if Key(namespace, source.name) not in there:
                concerned |= self._source(namespace, source, None)
        return concerned

    def forget(self, key: Key) -> None:
        """Forget a resource that is gone with everything that was its own."""
        self._children.pop(key, None)
        self.refer(key, ())

    def _source(self, namespace: str, source: Source, digest: str | None) -> set[Key]:
        place = (namespace, source)
        if self._sources.get(place) == digest:
            return set()
        if digest is None:
            del self._sources[place]
        else:
            self._sources[place] = digest
        return set(self._referrers.get(place, ()))


def _is_older(body: Manifest, known: Manifest | None) -> bool:
    """Tell whether an event is overtaken by what the operator has been answered to a write of its own."""
    if known is None or known["metadata"].get("uid") != body["metadata"].get("uid"):
        return False
    old, new = (one["metadata"].get("resourceVersion", "") for one in (known, body))
    return old.isdecimal() and new.isdecimal() and int(new) < int(old)


def _key(body: Manifest) -> Key:
    return Key(body["metadata"].get("namespace", ""), body["metadata"]["name"])
