from collections.abc import AsyncIterator

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Message

from orderflow.gateway.order_requests import OrderBody
from orderflow.gateway.problems import Problem
from orderflow.gateway.requests import LARGEST_BODY, body_of, content_hash, decoded, idempotency_key_of, principal_of

ORDERS = msgspec.json.Decoder(OrderBody)


def request(*parts: bytes, headers: dict[str, str] | None = None, broken_off: bool = False) -> Request:
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": encoded, "query_string": b""}

    async def messages() -> AsyncIterator[Message]:
        for part in parts:
            yield {"type": "http.request", "body": part, "more_body": True}
        if broken_off:
            yield {"type": "http.disconnect"}
        yield {"type": "http.request", "body": b"", "more_body": False}

    incoming = messages()
    return Request(scope, lambda: anext(incoming))


def refusal_of(body: bytes) -> Problem:
    with pytest.raises(Problem) as refused:
        decoded(body, ORDERS)
    return refused.value


def fields(problem: Problem) -> list[str]:
    return [error.field for error in problem.errors]


async def test_a_body_in_several_parts_is_one() -> None:
    assert await body_of(request(b'{"a"', b":1}")) == b'{"a":1}'


async def test_a_body_of_64_kib_is_read() -> None:
    assert len(await body_of(request(b"x" * LARGEST_BODY))) == LARGEST_BODY


async def test_a_body_announced_as_too_large_is_refused_unread() -> None:
    with pytest.raises(Problem) as refused:
        await body_of(request(headers={"Content-Length": str(LARGEST_BODY + 1)}))
    assert (refused.value.status, fields(refused.value)) == (413, ["body"])


async def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large() -> None:
    with pytest.raises(Problem) as refused:
        await body_of(request(*[b"x" * 1024] * 65))
    assert refused.value.status == 413
    assert refused.value.headers == {"Connection": "close"}


async def test_a_body_that_breaks_off_is_refused() -> None:
    with pytest.raises(Problem) as refused:
        await body_of(request(b'{"a"', broken_off=True))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"customerId": "a\xff"}',
        b'{"x": ' + b"[" * 30_000,
        b"\xef\xbb\xbf{}",
        b'{"customerId": "\\ud800"}',
    ],
    ids=["empty", "cut off", "no JSON", "no UTF-8", "nested too deeply", "byte order mark", "lone surrogate"],
)
def test_what_is_no_json_is_a_400(body: bytes) -> None:
    problem = refusal_of(body)
    assert (problem.status, fields(problem)) == (400, ["body"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"null", "body"),
        (b"[]", "body"),
        (b'{"customerId": "c"}', "items"),
        (b'{"items": []}', "items"),
        (b'{"items": [' + b",".join([b'{"productId":"p","quantity":1}'] * 101) + b"]}", "items"),
        (b'{"items": [{"productId": "p"}]}', "items[0].quantity"),
        (b'{"items": [{"productId": "p", "quantity": 1}, {"productId": "p", "quantity": 0}]}', "items[1].quantity"),
        (b'{"items": [{"productId": "p", "quantity": -1}]}', "items[0].quantity"),
        (b'{"items": [{"productId": "p", "quantity": 1.5}]}', "items[0].quantity"),
        (b'{"items": [{"productId": "p", "quantity": "1"}]}', "items[0].quantity"),
        (b'{"items": [{"productId": "p", "quantity": 99999999999999999999}]}', "items[0].quantity"),
        (b'{"items": [{"productId": "", "quantity": 1}]}', "items[0].productId"),
        (b'{"items": [{"productId": "p", "quantity": 1, "price": "-1"}]}', "items[0].price"),
        (b'{"items": [{"productId": "p", "quantity": 1, "price": "1.999"}]}', "items[0].price"),
        (b'{"items": [{"productId": "p", "quantity": 1, "price": "NaN"}]}', "items[0].price"),
        (b'{"items": [{"productId": "p", "quantity": 1, "price": 1e30}]}', "items[0].price"),
        (b'{"items": [{"productId": "p", "quantity": 1}], "customerId": 7}', "customerId"),
        (b'{"items": [{"productId": "p", "quantity": 1}], "customer": {"customerId": ""}}', "customer.customerId"),
        (b'{"items": [{"productId": "p", "quantity": 1}], "customerName": "a\\u0000b"}', "customerName"),
        (b'{"items": [{"productId": "p\\u0000", "quantity": 1}]}', "items[0].productId"),
    ],
)
def test_json_of_another_shape_is_a_422_that_names_the_field(body: bytes, field: str) -> None:
    problem = refusal_of(body)
    assert (problem.status, fields(problem)) == (422, [field])


def test_a_refusal_never_repeats_what_was_sent() -> None:
    problem = refusal_of(b'{"items": [{"productId": "p", "quantity": 1}], "customerName": ["Erika Mustermann"]}')
    assert "Erika" not in problem.detail


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    body = b'{"items": [{"productId": "p", "quantity": 1}], "customerName": "a\\\\u0000"}'
    assert decoded(body, ORDERS).customer_name == "a\\u0000"


def test_white_space_and_the_order_of_names_make_no_other_body() -> None:
    assert content_hash(b'{"a":1,"b":[1.50,"x"]}') == content_hash(b' { "b" : [ 1.50, "x" ],\n "a" : 1 } ')


@pytest.mark.parametrize("other", [b'{"a":2}', b'{"a":"1"}', b'{"a":1,"b":null}', b'{"a":[1]}', b'{"a":true}'])
def test_other_content_makes_another_body(other: bytes) -> None:
    assert content_hash(b'{"a":1}') != content_hash(other)


def test_a_number_that_no_float_holds_has_a_hash() -> None:
    assert content_hash(b'{"a":1e999}') != content_hash(b'{"a":1e998}')


def test_a_missing_key_is_a_400_where_it_is_required() -> None:
    with pytest.raises(Problem) as refused:
        idempotency_key_of(request(), required=True)
    assert (refused.value.status, fields(refused.value)) == (400, ["Idempotency-Key"])
    assert idempotency_key_of(request(), required=False) is None


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "schl\xfcssel", "a\tb"])
def test_what_is_no_key_is_a_400(key: str) -> None:
    with pytest.raises(Problem) as refused:
        idempotency_key_of(request(headers={"Idempotency-Key": key}), required=False)
    assert (refused.value.status, fields(refused.value)) == (400, ["Idempotency-Key"])


def test_without_authentication_everybody_is_one_principal() -> None:
    assert principal_of(request()) == "anonymous"
