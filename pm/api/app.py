"""The web application: routes, pages, errors and headers put together.

What belongs here: `create_app` and the entrance that reads the environment for a server process.
"""

from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from starlette.staticfiles import StaticFiles

from pm.api import data, errors, features, health, pages, routes, signals
from pm.api.reads import OpenReads, open_store
from pm.api.rendering import STATIC
from pm.api.security import SecurityHeaders
from pm.api.state import State
from pm.policy import load_policy
from pm.scoring.actions import load_actions
from pm.settings import Settings, read_settings

VERSION: Final = "1"
_SUMMARY: Final = "Which truck is likely to fail within the horizon, why, and what to do."


def create_app(settings: Settings, *, open_reads: OpenReads | None = None) -> FastAPI:
    """The application.

    Args:
        settings: where the policy, the actions, the database and the artifacts are.
        open_reads: where reads come from; the database of `settings` where absent.

    Raises:
        ConfigError: the policy or the table of actions cannot be used.
    """
    app = FastAPI(title="pm", version=VERSION, summary=_SUMMARY, docs_url=None, redoc_url=None)
    app.state.pm = State(
        open_reads=open_reads or open_store(settings),
        policy=load_policy(settings.policy_file),
        actions=load_actions(settings.project / "config" / "actions.toml"),
    )
    app.add_middleware(SecurityHeaders)
    errors.install(app)
    for part in (routes, signals, data, features, health, pages):
        app.include_router(part.router)
    app.mount("/static", _CachedFiles(directory=STATIC))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def create_from_environment() -> FastAPI:
    """The application of a server process; reads `PM_*`."""
    return create_app(read_settings())


class _CachedFiles(StaticFiles):
    """Static files may be kept for a year: their addresses carry their hash."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document, with the problem documents every route may answer."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        problem = errors.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"))
        schemas["Problem"] = problem
        app.openapi_schema = document
    return app.openapi_schema
