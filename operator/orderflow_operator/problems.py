"""What cannot work and no schema can refuse: each with a word for programs and a sentence that says what to do."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from orderflow_operator.facts import Child, PodFacts
from orderflow_operator.revisions import Unknown
from orderflow_operator.seen import Named


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person has to see to. What runs goes on running."""

    reason: str
    message: str


def invalid(field: str, reason: str) -> Problem:
    """Return the problem of a resource that says what cannot be."""
    return Problem(reason="InvalidSpec", message=f"{field}: {reason}. Correct it; what runs is left as it is")


def unknown_sources(found: Iterable[Unknown]) -> Iterator[Problem]:
    """Yield what is referred to and does not exist."""
    for one in found:
        kind = one.source.kind
        message = f"{one.field}: there is no {kind} {one.source.name!r} in this namespace. Create it, or name another"
        yield Problem(reason=f"Unknown{kind}", message=message)


def unknown_credentials(name: str) -> Problem:
    """Return the problem of a missing Secret with the database's user and password."""
    message = f"spec.database.credentials: there is no Secret {name!r} in this namespace. Create it with the keys"
    return Problem(reason="UnknownSecret", message=f"{message} username and password")


def failed_migrations(failed: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the Jobs that could not prepare a database."""
    for context, job in failed.items():
        message = f"the database of {context} could not be prepared: see `kubectl logs job/{job}`. It is tried again"
        yield Problem(reason="MigrationFailed", message=f"{message} when the job has been deleted")


def failing_pods(children: Mapping[Named, Child]) -> Iterator[Problem]:
    """Yield what keeps pods from running, once for each reason."""
    said: set[tuple[str, str]] = set()
    for named, child in sorted(children.items()):
        pod = child.facts
        if not isinstance(pod, PodFacts) or not pod.problem:
            continue
        reason = pod.problem.partition(":")[0]
        if (pod.component, reason) not in said:
            said.add((pod.component, reason))
            yield Problem(reason=reason, message=f"the pod {named.name} cannot run: {pod.problem}. {_advice(reason)}")


def lost_revisions(missing: Iterable[str]) -> Iterator[Problem]:
    """Yield revisions that are to run and whose record is gone."""
    for one in missing:
        message = f"the record of the revision {one} is gone, so its pods cannot be made anew. Apply a new image"
        yield Problem(reason="RevisionLost", message=message)


def _advice(reason: str) -> str:
    if "Image" in reason:
        return "Name an image that exists and that the cluster may pull (spec.image, spec.pods.imagePullSecrets)"
    if reason == "CrashLoopBackOff":
        return "See its log with `kubectl logs --previous`"
    return "See `kubectl describe pod`"
