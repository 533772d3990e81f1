"""Which rows a command is about, and on whose behalf: options, and what they mean."""

import getpass
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final

import click

from orderflow.client.failures import Failure
from orderflow.options import data_dir, deployment, deployment_of
from orderflow.runtime.acts import LONGEST_ACTOR, Behalf
from orderflow.spec.resource import CONTEXTS

Command = Callable[..., None]

_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment_of(text: str, now: datetime) -> datetime:
    """Return the moment that ``text`` names: so long ago, as in 30m, 2h or 7d, or RFC 3339; without an offset, UTC.

    Raises:
        ValueError: it names none.
    """
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class MomentOption(click.ParamType):
    """A moment on the command line."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment."""
        if isinstance(value, datetime):
            return value
        try:
            return moment_of(value, datetime.now(UTC))
        except (ValueError, OverflowError):
            self.fail(f"expected 30m, 2h, 7d or 2026-03-01T12:00:00Z, got {value}", param, ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What rows have in common that are chosen. Empty fields choose nothing in particular."""

    contexts: tuple[str, ...] = ()
    key: str | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def named_contexts(self) -> tuple[str, ...]:
        """The contexts to look into: those that are named, or all."""
        return self.contexts or CONTEXTS

    @property
    def is_empty(self) -> bool:
        """Whether it leaves the choice open but for contexts."""
        return (self.key, self.event_type, self.since, self.until) == (None, None, None, None)


_CHOICE: Final = (
    click.option(
        "--context", "contexts", type=click.Choice(CONTEXTS), multiple=True, help="Only of this one; may be repeated."
    ),
    click.option("--key", help="Only of this order, or whatever else a message is keyed by."),
    click.option("--type", "event_type", help="Only messages of this type."),
    click.option("--since", type=MomentOption(), help="Only from then on: 2h for two hours ago, or a time."),
    click.option("--until", type=MomentOption(), help="Only before then."),
)
_BEHALF: Final = (
    click.option("--reason", required=True, help="Why: it stands in the audit trail."),
    click.option("--by", help="On whose behalf.  [default: who you are to this machine]"),
    click.option("--dry-run", is_flag=True, help="Only say what would be done."),
)


def with_options(command: Command, options: Iterable[Callable[[Command], Command]]) -> Command:
    """Return ``command`` with options, in the order in which its help shows them."""
    for option in reversed(list(options)):
        command = option(command)
    return command


def choosing(command: Command) -> Command:
    """Give ``command`` the options of a :class:`Choice`, and the choice as ``choice``."""

    @wraps(command)
    def chosen(**given: Any) -> None:
        choice = Choice(**{field.name: given.pop(field.name) for field in fields(Choice)})
        command(choice=choice, **given)

    return with_options(chosen, _CHOICE)


def acting(command: Command) -> Command:
    """Give ``command`` the options of whoever changes something: ``behalf``, and ``dry_run``."""

    @wraps(command)
    def acts(**given: Any) -> None:
        command(behalf=behalf_of(given.pop("by"), given.pop("reason")), **given)

    return with_options(acts, _BEHALF)


def deployed(command: Command) -> Command:
    """Give ``command`` the options that say where the system is, and its deployment as ``settled``."""

    @wraps(command)
    def there(**given: Any) -> None:
        command(settled=deployment_of(given.pop("deployment"), given.pop("data_dir")), **given)

    return with_options(there, (deployment, data_dir))


def behalf_of(by: str | None, reason: str) -> Behalf:
    """Return on whose behalf something is done.

    Raises:
        Failure: nobody is named, and the machine does not know either; or the name is too long.
    """
    try:
        actor = by or getpass.getuser()
    except (OSError, KeyError):
        raise Failure("who are you? This machine does not know: say it with --by NAME") from None
    if len(actor) > LONGEST_ACTOR:
        raise Failure(f"a name has {LONGEST_ACTOR} characters at most, --by has {len(actor)}")
    return Behalf(actor, reason)


def split(reference: str) -> tuple[str, str]:
    """Return context and name of a reference like ``payment/12``.

    Raises:
        Failure: it is none.
    """
    context, slash, name = reference.partition("/")
    if not slash or not name or context not in CONTEXTS:
        raise Failure(f"expected CONTEXT/NAME, as in payment/12, got {reference}")
    return context, name
