"""``orderflow orders``: place an order, show orders, follow one to its end."""

import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import click

from orderflow.client.failures import ClientError, Failure

if TYPE_CHECKING:
    from orderflow.client.answers import Entry, Timeline
    from orderflow.client.api import OrderApi
    from orderflow.contracts.items import RequestedItem

T = TypeVar("T")

URL = "http://127.0.0.1:8080"
URL_VARIABLE = "ORDERFLOW_URL"

TIMED_OUT = 2
"""Exit status of ``watch`` for an order that has not ended in time: neither completed (0) nor ended otherwise (1)."""

url = click.option(
    "--url", envvar=URL_VARIABLE, default=URL, show_default=True, show_envvar=True, help="The order API."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON.")
order_id = click.argument("order_id", metavar="ID")


class Item(click.ParamType):
    """``sku:quantity[:price]`` on the command line."""

    name = "sku:quantity[:price]"
    _form = re.compile(r"([^:]+):(\d{1,10})(?::(\d{1,12}(?:\.\d{1,2})?))?", re.ASCII)

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int, str | None]:
        """Return product, quantity and price."""
        parts = self._form.fullmatch(value)
        if parts is None:
            self.fail(f"expected sku:quantity[:price], as in sku-1:2 or sku-1:2:4.50, got {value}", param, ctx)
        return parts[1], int(parts[2]), parts[3]


@click.group()
def orders() -> None:
    """Place orders, show them, and follow one to its end."""


@orders.command()
@click.option("--customer", required=True, help="The customer's id.")
@click.option("--name", help="The customer's name.")
@click.option("--item", "items", type=Item(), multiple=True, required=True, help="May be repeated. No price: ours.")
@click.option("--flow", help="The flow to take, instead of the tenant's or the default one.")
@click.option("--tenant", help="On whose behalf the order is placed.")
@click.option("--key", help="The Idempotency-Key: an order repeated under its key is placed once. Default: a new one.")
@url
@as_json
def create(
    customer: str,
    name: str | None,
    items: Sequence[tuple[str, int, str | None]],
    flow: str | None,
    tenant: str | None,
    key: str | None,
    url: str,
    as_json: bool,
) -> None:
    """Place an order and print its id."""
    from orderflow.client.api import NewOrder  # noqa: PLC0415

    order = NewOrder(customer_id=customer, customer_name=name, items=_requested(items), flow=flow, tenant=tenant)
    kept = key or str(uuid4())
    try:
        placed = _asked(url, lambda api: api.create(order, kept))
    except ClientError as error:
        again = "" if error.settled else f"; with --key {kept} the same command places the order once, however often"
        raise Failure(f"{error}{again}") from None
    click.echo(placed.body if as_json else placed.value.order_id)


def _requested(items: Sequence[tuple[str, int, str | None]]) -> "list[RequestedItem]":
    from decimal import Decimal  # noqa: PLC0415

    from orderflow.contracts.items import RequestedItem  # noqa: PLC0415

    return [
        RequestedItem(product_id=product, quantity=quantity, price=None if price is None else Decimal(price))
        for product, quantity, price in items
    ]


@orders.command()
@order_id
@url
@as_json
def get(order_id: str, url: str, as_json: bool) -> None:
    """Show the order ID."""
    from orderflow.client.rendering import order_sheet  # noqa: PLC0415

    found = _told(url, lambda api: api.order(order_id))
    click.echo(found.body if as_json else order_sheet(found.value))


@orders.command("list")
@click.option("--status", help="Only those in this status, in the words of their flow.")
@click.option("--customer", help="Only those of this customer's id.")
@click.option("--search", help="How the id begins, or a part of the customer's name or of a product's id.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--cursor", help="Where the page before has ended.")
@url
@as_json
def list_(
    status: str | None,
    customer: str | None,
    search: str | None,
    limit: int,
    cursor: str | None,
    url: str,
    as_json: bool,
) -> None:
    """List orders, the newest first."""
    from orderflow.client.rendering import orders_table  # noqa: PLC0415

    asked = {"status": status, "customerId": customer, "q": search, "limit": str(limit), "cursor": cursor}
    query = {name: value for name, value in asked.items() if value is not None}
    found = _told(url, lambda api: api.orders(query))
    click.echo(found.body if as_json else orders_table(found.value.orders))
    if found.value.next_cursor and not as_json:
        click.echo(f"more: --cursor {found.value.next_cursor}", err=True)


@orders.command()
@order_id
@url
@as_json
def timeline(order_id: str, url: str, as_json: bool) -> None:
    """Show every transition of the order ID, in every context."""
    from orderflow.client.rendering import timeline_table  # noqa: PLC0415

    found = _told(url, lambda api: api.timeline(order_id))
    click.echo(found.body if as_json else timeline_table(found.value))
    if found.value.incomplete and not as_json:
        click.echo(f"without what {', '.join(found.value.incomplete)} would tell: no answer", err=True)


@orders.command()
@order_id
@click.option("--timeout", type=click.FloatRange(min=0), default=120, show_default=True, help="Seconds to wait.")
@url
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON per transition.")
def watch(order_id: str, timeout: float, url: str, as_json: bool) -> None:
    """Follow the order ID to its end, printing each transition once.

    The exit status is 0 if it was completed, 1 if it has ended otherwise, and 2 if it has not ended in time.
    """
    from orderflow.client.following import COMPLETED, follow  # noqa: PLC0415
    from orderflow.client.pace import RealPace  # noqa: PLC0415

    show = _json_line if as_json else _line

    async def to_the_end(api: "OrderApi") -> str | None:
        async def look() -> "Timeline":
            return (await api.timeline(order_id)).value

        return await follow(look, show, timeout, RealPace())

    ending = _told(url, to_the_end)
    if ending is None:
        click.echo(f"orderflow: the order {order_id} has not ended within {timeout:g} s", err=True)
        sys.exit(TIMED_OUT)
    sys.exit(0 if ending == COMPLETED else 1)


def _line(entry: "Entry") -> None:
    from orderflow.client.rendering import entry_line  # noqa: PLC0415

    click.echo(entry_line(entry))


def _json_line(entry: "Entry") -> None:
    import msgspec  # noqa: PLC0415

    click.echo(msgspec.json.encode(entry))


def _told(url: str, question: "Callable[[OrderApi], Awaitable[T]]") -> T:
    """Ask the API; a failure ends the command."""
    try:
        return _asked(url, question)
    except ClientError as error:
        raise Failure(str(error)) from None


def _asked(url: str, question: "Callable[[OrderApi], Awaitable[T]]") -> T:
    import asyncio  # noqa: PLC0415

    from orderflow.client.api import OrderApi  # noqa: PLC0415

    async def ask() -> T:
        async with OrderApi(url) as api:
            return await question(api)

    return asyncio.run(ask())
