"""The application of a server process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from bazar_cli import __version__
from bazar_cli.api import docs_page, openapi, problems
from bazar_cli.api.answers import encoded
from bazar_cli.api.calls import GONE, Hider, call_of
from bazar_cli.api.edge import Edge, shown_path
from bazar_cli.api.errors import NoRoute, Unserved
from bazar_cli.api.places import Kind, Threads
from bazar_cli.api.router import Gates, add_routes, served_methods
from bazar_cli.api.use_cases import BINDINGS, Binding, unserved
from bazar_cli.domain.errors import BazarError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""FastAPI's own would hand out the messages of exceptions, with what they quote, wherever OTEL_* point to."""


@dataclass(frozen=True)
class Settings:
    """The settings of one server."""

    reads: int = 6
    writes: int = 4
    streams: int = 2
    """How many use cases of each kind one process runs at a time."""
    origins: tuple[str, ...] = ()
    """The web pages, by their origin, that browsers let read answers. Without any there is no CORS."""


def create_app(
    gates: Gates,
    hider: Callable[[], Hider],
    settings: Settings | None = None,
    bindings: tuple[Binding, ...] = BINDINGS,
) -> ASGIApp:
    """Return the application.

    Parameters: `gates` lends the gate of each request; `hider` makes what hides secrets in the problems of one request.
    Raises: RuntimeError for a spec with a route whose service is not among `bindings`.
    """
    if missing := unserved(bindings):
        raise RuntimeError(f"no service is bound for {', '.join(missing)}")
    settings = settings or Settings()
    threads = Threads({Kind.READS: settings.reads, Kind.WRITES: settings.writes, Kind.STREAMS: settings.streams})
    app = FastAPI(
        title="Bazar",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
        exception_handlers={
            HTTPException: _http_problem,
            BazarError: _problem,
            ClientDisconnect: _gone,
            Exception: _bug,
        },
    )
    app.state.methods = served_methods(bindings)
    add_routes(app, bindings, gates, threads)
    _add_documents(app, bindings)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=list(openapi.REQUEST_HEADERS),
            expose_headers=list(openapi.ANSWER_HEADERS),
        )
    return Edge(app, hider)


def _add_documents(app: FastAPI, bindings: tuple[Binding, ...]) -> None:
    document = openapi.document(bindings)
    content, page = encoded(document), docs_page.page(document)

    async def openapi_json(_request: Request) -> Response:
        return Response(content, media_type="application/json")

    async def docs(_request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": docs_page.POLICY})

    app.router.routes += [
        Route("/openapi.json", openapi_json, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
    ]


async def _problem(request: Request, error: BazarError) -> Response:
    return problems.answer(error, call_of(request.scope), shown_path(request.scope))


async def _gone(_request: Request, _error: ClientDisconnect) -> Response:
    """Answer nobody; the access log has this status for a client that went."""
    return Response(status_code=GONE)


async def _bug(request: Request, _error: Exception) -> Response:
    return await _problem(request, problems.bug())


async def _http_problem(request: Request, error: HTTPException) -> Response:
    """Answer what Starlette refuses: a path or a method that nothing serves."""
    return await _problem(request, _unserved(request, error))


def _unserved(request: Request, error: HTTPException) -> BazarError:
    path = shown_path(request.scope)
    if error.status_code == 405:
        methods = _methods_at(request, request.scope["path"])
        return Unserved(
            405,
            "request.method_not_allowed",
            f"{request.method} is not served at {path}",
            hint=f"served there: {', '.join(methods)}",
            details={"methods": methods},
            headers={"Allow": ", ".join(methods)},
        )
    if error.status_code != 404:
        return Unserved(error.status_code, "request.unreadable", str(error.detail))
    other = path.rstrip("/") if path.endswith("/") else f"{path}/"
    slash = f"; `{other}` is served" if _methods_at(request, other) else ""
    return NoRoute("request.no_route", f"nothing is served at {path}", hint=f"see /docs for all routes{slash}")


def _methods_at(request: Request, path: str) -> list[str]:
    """Return the methods that are served at a path; of a path that fits several, those with the fewest names."""
    fitting = [
        (len(route.param_convertors), route.path)
        for route in request.app.router.routes
        if isinstance(route, Route) and route.path_regex.match(path)
    ]
    served: dict[str, list[str]] = request.app.state.methods
    return served.get(min(fitting)[1], ["GET"]) if fitting else []
