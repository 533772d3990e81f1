"""The commands themselves."""

import sys

import click
import msgspec

from orderflow.client.failures import Failure
from orderflow.options import as_json
from orderflow.rollouts.rendering import is_over, line, rendered, went_well
from orderflow.rollouts.resources import Resources

NAME = click.argument("name")
NAMESPACE = click.option("-n", "--namespace", help="The resource's namespace; default: the context's.")


@click.group()
def rollout() -> None:
    """Look at and steer the rollouts of an OrderFlow resource in a cluster."""


@rollout.command()
@NAME
@NAMESPACE
@as_json
def status(name: str, namespace: str | None, as_json: bool) -> None:
    """Show how the rollout stands."""
    found = Resources(namespace).get(name)
    click.echo(msgspec.json.encode(found.status) if as_json else rendered(found))


@rollout.command()
@NAME
@NAMESPACE
@click.option("--timeout", type=click.FloatRange(min=0), default=3600.0, show_default=True, help="Seconds.")
def watch(name: str, namespace: str | None, timeout: float) -> None:
    """Follow the rollout to its end; exit status 1 if it was taken back or cannot go on."""
    said = ""
    for found in Resources(namespace).changes(name, timeout):
        if line(found) != said:
            said = line(found)
            click.echo(said)
        if is_over(found):
            sys.exit(0 if went_well(found) else 1)
    raise Failure(f"still under way after {timeout:g} s")


@rollout.command()
@NAME
@NAMESPACE
def promote(name: str, namespace: str | None) -> None:
    """Skip the remaining steps: the new release takes everything over."""
    _ask(name, namespace, "promote")


@rollout.command()
@NAME
@NAMESPACE
def abort(name: str, namespace: str | None) -> None:
    """Take the new release back."""
    _ask(name, namespace, "abort")


@rollout.command()
@NAME
@NAMESPACE
def retry(name: str, namespace: str | None) -> None:
    """Try a release once more that was taken back."""
    _ask(name, namespace, "retry")


@rollout.command()
@NAME
@NAMESPACE
def undo(name: str, namespace: str | None) -> None:
    """Go back to the release before the one that runs."""
    _ask(name, namespace, "undo")


@rollout.command()
@NAME
@NAMESPACE
def pause(name: str, namespace: str | None) -> None:
    """Hold rollouts at the step at which they are (spec.paused)."""
    Resources(namespace).pause(name, paused=True)
    click.echo(f"{name}: paused")


@rollout.command()
@NAME
@NAMESPACE
def resume(name: str, namespace: str | None) -> None:
    """Let a paused rollout go on, and end a step that waits for somebody."""
    resources = Resources(namespace)
    if resources.get(name).paused:
        resources.pause(name, paused=False)
    resources.annotate(name, "resume")
    click.echo(f"{name}: resumed")


def _ask(name: str, namespace: str | None, verb: str) -> None:
    Resources(namespace).annotate(name, verb)
    click.echo(f"{name}: {verb} asked for")
