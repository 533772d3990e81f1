from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from api.asgi import ask
from orderflow.gateway.openapi import OPERATIONS
from orderflow.gateway.orders import order_api
from orderflow.gateway.store import Store


class Endpoints:
    """Stands for whatever answers."""

    def __getattr__(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return Response(name)

        return endpoint


@pytest.fixture
def app(store: Store) -> FastAPI:
    endpoints: Any = Endpoints()
    return order_api(endpoints, endpoints, store, ())


async def test_the_document_has_every_operation_with_its_bodies(app: FastAPI) -> None:
    document = (await ask(app, "GET", "/openapi.json")).json()
    for operation in OPERATIONS:
        told = document["paths"][operation.path][operation.method.lower()]
        assert set(told["responses"]) == {str(operation.shows[0]), *map(str, operation.problems)}
        assert ("requestBody" in told) == (operation.takes is not None)
    create = document["paths"]["/orders"]["post"]
    assert create["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/OrderBody"}
    assert create["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].endswith("/OrderView")
    key = create["parameters"][0]
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", True)


async def test_every_reference_of_the_document_leads_somewhere(app: FastAPI) -> None:
    document = (await ask(app, "GET", "/openapi.json")).json()
    schemas = document["components"]["schemas"]

    def references(part: object) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [found for inner in part.values() for found in references(inner)]
        return [found for inner in part for found in references(inner)] if isinstance(part, list) else []

    found = references(document)
    assert found
    assert {reference.rpartition("/")[2] for reference in found} <= set(schemas)
    assert schemas["OrderBody"]["properties"]["items"]["maxItems"] == 100


async def test_every_operation_is_routed(app: FastAPI) -> None:
    for operation in OPERATIONS:
        path = operation.path.replace("{", "").replace("}", "")
        answer = await ask(app, operation.method, path)
        assert answer.body.decode() == operation.endpoint


async def test_the_page_shows_every_operation_and_needs_nothing_from_the_network(app: FastAPI) -> None:
    answer = await ask(app, "GET", "/docs")
    page = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/html")
    for operation in OPERATIONS:
        assert f"{operation.method} {operation.path}" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
