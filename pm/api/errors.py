"""Errors as the outside sees them: RFC 9457 problems for programs, a plain page for people.

What belongs here: from exception to response. No stack trace and no SQL ever leaves the process;
what was not foreseen is logged by the server and answered with a bare 500.
"""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pm.api.rendering import render
from pm.api.security import HEADERS
from pm.errors import PmError

_LOG = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"


class Violation(BaseModel):
    """One thing wrong with a request."""

    location: str = Field(description="where in the request", examples=["query"])
    name: str = Field(description="name of the parameter or field", examples=["limit"])
    detail: str = Field(description="what was expected", examples=["Input should be less than or equal to 500"])


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(default="about:blank", description="kind of problem; about:blank means the status says it all")
    title: str = Field(description="the status in words", examples=["Not Found"])
    status: int = Field(description="HTTP status", examples=[404])
    detail: str = Field(description="what went wrong here", examples=["expected a known vehicle, but got 99"])
    instance: str = Field(description="path of the request", examples=["/v1/vehicles/99"])
    errors: list[Violation] = Field(default=[], description="every violation found, where the request is not valid")


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem, or as a page where a browser asked for a page."""
    app.add_exception_handler(PmError, _on_pm_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_surprise)


def _on_pm_error(request: Request, error: Exception) -> Response:
    status = error.http_status if isinstance(error, PmError) else 500
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.error("%s: %s", request.url.path, error)
    # A configuration or database message may name files, hosts or SQL: it is for the log only.
    detail = str(error) if status < HTTPStatus.INTERNAL_SERVER_ERROR else _UNFIT.get(status, _SURPRISE)
    headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return _answer(request, status, detail, headers=headers)


def _on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    detail = str(error.detail) if isinstance(error, HTTPException) else _SURPRISE
    if detail == HTTPStatus(status).phrase:
        detail = f"expected a resource of this service, but got {request.method} {request.url.path}"
    return _answer(request, status, detail, headers=headers)


def _on_invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    violations = [_violation(entry) for entry in found]
    named = ", ".join(sorted({violation.name for violation in violations}))
    detail = f"expected a valid request, but got {len(violations)} violation(s): {named}"
    return _answer(request, 422, detail, violations)


def _on_surprise(request: Request, error: Exception) -> Response:
    del error  # the server logs it with its trace; the outside learns only that it happened
    # This answer is made outside the middleware, so it brings the headers itself.
    return _answer(request, 500, _SURPRISE, headers=dict(HEADERS))


_SURPRISE = "the request could not be answered; the log of the server says why"
_UNFIT = {503: "the database cannot be reached or refused the work; the log of the server says why"}


def _violation(entry: dict[str, Any]) -> Violation:
    location, *path = [str(part) for part in entry["loc"]] or ["request"]
    return Violation(location=location, name=".".join(path) or location, detail=str(entry["msg"]))


def _answer(
    request: Request,
    status: int,
    detail: str,
    violations: list[Violation] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    path = request.url.path
    problem = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, instance=path, errors=violations or []
    )
    if not path.startswith("/v1/") and "text/html" in request.headers.get("accept", ""):
        page = render("problem.html", title=problem.title, problem=problem)
        return Response(page, status, {**(headers or {}), "Cache-Control": "no-store"}, "text/html")
    body = problem.model_dump(exclude_defaults=False)
    return JSONResponse(body, status, {**(headers or {}), "Cache-Control": "no-store"}, PROBLEM_TYPE)
