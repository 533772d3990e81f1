"""What a person at the command line is told when something cannot be done: one sentence, and what to do about it."""

from typing import IO, Any

import click


class ClientError(Exception):
    """What was asked for cannot be had. The text is one clear sentence."""

    settled = True
    """Whether it is certain that nothing was done."""


class Unanswered(ClientError):  # noqa: N818 - names what happened
    """Somebody was asked and no answer came that could be used."""

    settled = False


class RefusedByApi(ClientError):  # noqa: N818 - names what happened
    """The order API has answered, and refused.

    Attributes:
        status: the HTTP status.
        reason: the API's own sentence, with the field that it names.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{reason} ({status})")
        self.status = status
        self.reason = reason
        # 409 for a new order: another request under its key is at work on it.
        self.settled = status < 500 and status != 409


class Failure(click.ClickException):
    """Ends a command with one sentence on standard error, and exit status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence."""
        click.echo(f"orderflow: {self.message}", file=file, err=file is None)
