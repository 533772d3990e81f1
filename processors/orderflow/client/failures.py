"""What a person at the command line is told when something cannot be done: one sentence, and what to do about it."""

from typing import IO, Any

import click


class ClientError(Exception):
    """What was asked for cannot be had. The text is one clear sentence."""


class Unanswered(ClientError):
    """No answer came that could be used. What was asked for may have been done all the same."""


class RefusedByApi(ClientError):
    """The order API has answered, and refused.

    Attributes:
        status: the HTTP status.
        reason: the API's own sentence, with the field that it names.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{reason} ({status})")
        self.status = status
        self.reason = reason


class Failure(click.ClickException):
    """Ends a command with one sentence on standard error, and exit status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence."""
        click.echo(f"orderflow: {self.message}", file=file, err=file is None)
