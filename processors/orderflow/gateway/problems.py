"""Refusals as RFC 9457 problem documents (``application/problem+json``), each naming the field at fault.

A request that ends in a problem has stored nothing. ``field`` is a JSON path into the body (``items[0].quantity``), or
the name of the header or parameter; it is left out where no part of the request is at fault.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from orderflow.contracts.decision import Refused
from orderflow.gateway.store import RETRY_AFTER, StoreUnavailable

PROBLEM_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is wrong with one field, in a sentence for the sender."""

    field: str
    detail: str


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An RFC 9457 problem. ``instance`` is the path asked for; ``field`` repeats the first of ``errors``."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    field: str = ""
    errors: tuple[FieldError, ...] = ()


TITLES: Mapping[str, str] = {
    "malformed-request": "The request cannot be read",
    "invalid-request": "The request asks for what cannot be",
    "body-too-large": "The body is too large",
    "idempotency-key-missing": "This endpoint needs an Idempotency-Key",
    "idempotency-key-reused": "The Idempotency-Key was used for another request",
    "idempotency-key-in-flight": "The first request under this Idempotency-Key is not done yet",
    "illegal-transition": "The order's state does not allow this",
    "not-found": "There is no such thing",
    "store-unavailable": "The store does not answer",
    "upstream-unavailable": "A service that this needs does not answer",
    "revision-removed": "This instance is leaving",
    "internal-error": "Something went wrong on our side",
}
"""What kinds of problems there are: the last part of ``type``, and the title."""


class Problem(Exception):  # noqa: N818 - an outcome the client is told of, by the name the standard gives it
    """A request ends here, with the answer that :func:`problem_response` makes of it."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        field: str = "",
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors) or ((FieldError(field=field, detail=detail),) if field else ())
        self.headers = dict(headers or {})


def refusal(refused: Refused) -> Problem:
    """Return what the client is told of a decision's refusal: 409 where the state is against it, 422 otherwise."""
    status, kind = (409, "illegal-transition") if refused.conflict else (422, "invalid-request")
    return Problem(status, kind, refused.reason, field=refused.field)


def not_found(what: str, field: str) -> Problem:
    """Return the 404 for a ``what`` that does not exist, named in the path parameter ``field``."""
    return Problem(404, "not-found", f"there is no such {what}", field=field)


def problem_response(problem: Problem, instance: str) -> Response:
    """Return the answer that tells of ``problem``."""
    title = TITLES.get(problem.kind)
    document = ProblemDocument(
        type=f"urn:orderflow:problem:{problem.kind}" if title else "about:blank",
        title=title or HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=instance,
        field=problem.errors[0].field if problem.errors else "",
        errors=problem.errors,
    )
    headers = {**problem.headers, "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(document), problem.status, headers, PROBLEM_TYPE)


def store_unavailable() -> Problem:
    """Return the 503 for a store that does not answer. Nothing of the request is remembered."""
    return Problem(
        503,
        "store-unavailable",
        "the store does not answer; the same request can be repeated",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


async def _tell(request: Request, error: Exception) -> Response:
    match error:
        case Problem():
            problem = error
        case StoreUnavailable():
            problem = store_unavailable()
        case HTTPException(status_code=404):
            problem = Problem(404, "not-found", "there is nothing at this path")
        case HTTPException():
            problem = Problem(error.status_code, "", error.detail, headers=error.headers)
        case _:
            raise error
    return problem_response(problem, request.url.path)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    Problem: _tell,
    StoreUnavailable: _tell,
    HTTPException: _tell,
}
"""What Starlette and FastAPI call for an exception that ends a request."""
