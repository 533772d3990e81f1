"""What is read from a request, and how a request that cannot be read is refused."""

import hashlib
import re
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from orderflow.contracts.failures import invalid_payload, undecodable
from orderflow.gateway.problems import Problem, problem_response

T = TypeVar("T")

LARGEST_BODY = 64 * 1024
"""Bytes. A hundred items with every field at its longest take a third of it."""

LONGEST_KEY = 200
"""Characters of an Idempotency-Key; a UUID has 36."""

ANYONE = "anonymous"

_PRINTABLE = re.compile(r"[\x21-\x7e]+\Z")
_generic = msgspec.json.Decoder(float_hook=str)


def principal_of(request: Request) -> str:
    """Return who asks; an Idempotency-Key belongs to its principal. Without authentication everybody is the same."""
    del request
    return ANYONE


async def body_of(request: Request) -> bytes:
    """Return the body, read no further than its limit, whether or not its length was announced.

    Raises:
        Problem: 413 for a body over :data:`LARGEST_BODY`; 400 for one that broke off.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > LARGEST_BODY:
        raise _too_large()
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > LARGEST_BODY:
                raise _too_large()
            parts.append(part)
    except ClientDisconnect:
        raise Problem(400, "malformed-request", "the connection ended within the body", field="body") from None
    return b"".join(parts)


def _too_large() -> Problem:
    # The rest of the body stays unread, so the connection cannot be used again.
    return Problem(
        413, "body-too-large", f"a body has at most {LARGEST_BODY} bytes", field="body", headers={"Connection": "close"}
    )


def decoded(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return ``body`` as the decoder's type.

    Raises:
        Problem: 400 for what is no JSON; 422 for JSON of another shape, naming the first field that is wrong.
    """
    try:
        value = decoder.decode(body)
    except msgspec.ValidationError as error:
        invalid = invalid_payload(error)
        raise Problem(422, "invalid-request", invalid.reason, field=invalid.field or "body") from None
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None
    if rb"\u0000" in body:
        _refuse_nul(_parsed(body), "")
    return value


def _parsed(body: bytes) -> object:
    try:
        return _generic.decode(body)
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None


def _malformed(error: Exception) -> Problem:
    return Problem(400, "malformed-request", f"the body is no JSON: {undecodable(error).reason}", field="body")


def _refuse_nul(value: object, path: str) -> None:
    """No database column of text takes U+0000; PostgreSQL would fail the whole transaction over it."""
    match value:
        case str() if "\0" in value:
            raise Problem(422, "invalid-request", "U+0000 is in no text", field=path or "body")
        case dict():
            for name, part in value.items():
                _refuse_nul(name, path)
                _refuse_nul(part, f"{path}.{name}" if path else name)
        case list():
            for index, part in enumerate(value):
                _refuse_nul(part, f"{path}[{index}]")


def content_hash(body: bytes) -> str:
    """Return the SHA-256 of a JSON body's content: neither white space nor the order of names makes a difference.

    Raises:
        Problem: 400 for what is no JSON.
    """
    return hashlib.sha256(msgspec.json.encode(_parsed(body), order="sorted")).hexdigest()


def idempotency_key_of(request: Request, *, required: bool) -> str | None:
    """Return the request's Idempotency-Key.

    Raises:
        Problem: 400 where it is missing though required, or is no key at all.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        if required:
            raise Problem(
                400,
                "idempotency-key-missing",
                "send an Idempotency-Key: the same for each repeat of this order, another for each other order",
                field="Idempotency-Key",
            )
        return None
    if len(key) > LONGEST_KEY or not _PRINTABLE.match(key):
        raise Problem(
            400,
            "malformed-request",
            f"a key is 1 to {LONGEST_KEY} printable ASCII characters without spaces",
            field="Idempotency-Key",
        )
    return key


class WithoutNul:
    """ASGI middleware: no path and no query holds U+0000, which PostgreSQL would fail a whole transaction over."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or refuse it."""
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            problem = Problem(400, "malformed-request", "U+0000 is in no text", field="path")
            await problem_response(problem, scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)
