"""What people ask of a rollout, through annotations of the resource: ``orderflow.dev/promote`` and its like.

A value is acted on once: it should differ from the one before, as the time of day does. So ``kubectl annotate`` does
what ``orderflow rollout`` does, and a manifest that is applied again changes nothing.
"""

from collections.abc import Mapping
from typing import Final, cast, get_args

from orderflow_operator.names import GROUP
from orderflow_operator.rollout.model import Command, Verb

VERBS: Final = cast("tuple[Verb, ...]", get_args(Verb))


def command_of(annotations: Mapping[str, str], handled: Mapping[str, str]) -> Command | None:
    """Return the next command that has not been acted on; ``abort`` goes before all others."""
    for verb in sorted(VERBS, key=lambda one: (one != "abort", one)):
        value = annotations.get(f"{GROUP}/{verb}")
        if value is not None and handled.get(verb) != value:
            return Command(id=f"{verb} {value}", verb=verb)
    return None


def handling(handled: Mapping[str, str], annotations: Mapping[str, str], command: Command | None) -> dict[str, str]:
    """Return ``handled`` with ``command`` in it."""
    if command is None:
        return dict(handled)
    return {**handled, command.verb: annotations[f"{GROUP}/{command.verb}"]}
