"""The order API's operations as data: routes are made from them, and the OpenAPI document.

Schemas are those of the types that bodies are decoded to and answers encoded from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import msgspec

from orderflow.contexts.analytics.reads import SummaryView
from orderflow.contexts.notification.reads import CorrespondenceView
from orderflow.contexts.order.reads import LARGEST_PAGE, OrderPage, OrderView, ProductList, ProductView
from orderflow.gateway.order_requests import OrderBody, StatusBody
from orderflow.gateway.problems import PROBLEM_TYPE, ProblemDocument
from orderflow.gateway.queries import PAGE, Timeline

JSON_TYPE = "application/json"
_REFERENCE = "#/components/schemas/{name}"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A path or query parameter or a header; path parameters are always required."""

    name: str
    place: Literal["path", "query", "header"]
    description: str
    required: bool = False
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One endpoint.

    Attributes:
        endpoint: the method of the endpoints' class that answers.
        shows: status and type of the good answer; without a type it has no body.
        problems: the other statuses, each with when it is given.
    """

    method: Literal["GET", "POST", "PATCH"]
    path: str
    endpoint: str
    summary: str
    shows: tuple[int, Any]
    problems: Mapping[int, str]
    takes: type[msgspec.Struct] | None = None
    parameters: Sequence[Parameter] = ()
    description: str = ""


_KEY = "A repeat under the same key gets the first answer again, to the byte, for 24 hours."
_ORDER_ID = Parameter(name="orderId", place="path", description="the order's id", required=True)
_TAKING: Mapping[int, str] = {
    400: "The body is no JSON, or the key is none.",
    409: "The first request under this key is still at work.",
    413: "The body has more than 64 KiB.",
    422: "There can be no such order; or the key was used for another body. The problem names the field.",
    503: "The store does not answer; nothing is remembered, repeat the request.",
}
_READING: Mapping[int, str] = {503: "The store does not answer."}
_NOT_THERE: Mapping[int, str] = {404: "There is none.", **_READING}
_UPSTREAM: Mapping[int, str] = {400: "A parameter cannot be.", 503: "The context asked does not answer."}


def _query(name: str, description: str, **schema: Any) -> Parameter:
    return Parameter(name=name, place="query", description=description, schema={"type": "string", **schema})


OPERATIONS: Sequence[Operation] = (
    Operation(
        method="POST",
        path="/api/orders",
        endpoint="create",
        summary="Place an order",
        description="The order is accepted when this answers; what follows happens by itself. " + _KEY,
        takes=OrderBody,
        parameters=(Parameter(name="Idempotency-Key", place="header", description="names this order's request"),),
        shows=(200, OrderView),
        problems=_TAKING,
    ),
    Operation(
        method="POST",
        path="/orders",
        endpoint="create_at_location",
        summary="Place an order under a key of yours",
        description=_KEY,
        takes=OrderBody,
        parameters=(
            Parameter(name="Idempotency-Key", place="header", description="names this order's request", required=True),
        ),
        shows=(201, OrderView),
        problems=_TAKING,
    ),
    Operation(
        method="GET",
        path="/api/orders",
        endpoint="orders",
        summary="List orders, the newest first",
        parameters=(
            _query("status", "only orders that show this status"),
            _query("customerId", "only this customer's"),
            _query("q", "how the id begins, or a part of the customer's name or of a product's id"),
            _query("cursor", "nextCursor of the page before"),
            _query("limit", "orders per page", type="integer", minimum=1, maximum=LARGEST_PAGE, default=PAGE),
        ),
        shows=(200, OrderPage),
        problems={400: "A parameter cannot be.", **_READING},
    ),
    Operation(
        method="GET",
        path="/api/orders/{orderId}",
        endpoint="order",
        summary="Show an order",
        parameters=(_ORDER_ID,),
        shows=(200, OrderView),
        problems=_NOT_THERE,
    ),
    Operation(
        method="GET",
        path="/api/orders/{orderId}/timeline",
        endpoint="timeline",
        summary="Show everything that happened to an order, in every context",
        description="Contexts that do not answer are named in `incomplete`.",
        parameters=(_ORDER_ID,),
        shows=(200, Timeline),
        problems=_NOT_THERE,
    ),
    Operation(
        method="PATCH",
        path="/api/orders/{orderId}/status",
        endpoint="change_status",
        summary="Set an order's status",
        description="In the words of its flow: to cancelled, as long as nothing has left; where the flow only ships, "
        "also what the one who ships reports.",
        takes=StatusBody,
        parameters=(_ORDER_ID,),
        shows=(204, None),
        problems={
            400: "The body is no JSON.",
            404: "There is no such order.",
            409: "The order's state does not allow it.",
            413: "The body has more than 64 KiB.",
            422: "The order's flow has no such status.",
            503: "The store does not answer; repeat the request.",
        },
    ),
    Operation(
        method="GET",
        path="/api/products",
        endpoint="products",
        summary="List the catalogue",
        shows=(200, ProductList),
        problems=_READING,
    ),
    Operation(
        method="GET",
        path="/api/products/{productId}",
        endpoint="product",
        summary="Show a product",
        parameters=(Parameter(name="productId", place="path", description="the product's id", required=True),),
        shows=(200, ProductView),
        problems=_NOT_THERE,
    ),
    Operation(
        method="GET",
        path="/api/analytics/summary",
        endpoint="summary",
        summary="Show orders, revenue, failures and times to complete",
        parameters=(_query("windows", "how many of the last minutes", type="integer", minimum=1, maximum=1440),),
        shows=(200, SummaryView),
        problems=_UPSTREAM,
    ),
    Operation(
        method="GET",
        path="/api/notifications",
        endpoint="notifications",
        summary="Show an order's notifications",
        parameters=(Parameter(name="orderId", place="query", description="the order's id", required=True),),
        shows=(200, CorrespondenceView),
        problems=_UPSTREAM,
    ),
)


@cache
def described() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the OpenAPI operation object of each of :data:`OPERATIONS`, and the schemas they refer to, by name."""
    types = {shown for operation in OPERATIONS if (shown := operation.shows[1]) is not None}
    types |= {operation.takes for operation in OPERATIONS if operation.takes is not None} | {ProblemDocument}
    ordered = sorted(types, key=lambda shown: str(shown.__name__))
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    schema_of = dict(zip(ordered, schemas, strict=True))
    return [_described(operation, schema_of) for operation in OPERATIONS], dict(components)


def _described(operation: Operation, schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    status, shown = operation.shows
    good: dict[str, Any] = {"description": "Done."}
    if shown is not None:
        good["content"] = {JSON_TYPE: {"schema": schema_of[shown]}}
    problem = {PROBLEM_TYPE: {"schema": schema_of[ProblemDocument]}}
    described: dict[str, Any] = {
        "operationId": operation.endpoint,
        "summary": operation.summary,
        "responses": {
            str(status): good,
            **{str(code): {"description": when, "content": problem} for code, when in operation.problems.items()},
        },
    }
    if operation.description:
        described["description"] = operation.description
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.takes is not None:
        content = {JSON_TYPE: {"schema": schema_of[operation.takes]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required,
        "schema": dict(parameter.schema),
    }
