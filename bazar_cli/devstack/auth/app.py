"""The routes, and what every request passes: the body limit, a worker thread, the shape of errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import psycopg
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bazar_cli.devstack.auth import admin, public
from bazar_cli.devstack.auth.call import Call, Service
from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.errors import VERSION_HEADER, Fault, wants_dated
from bazar_cli.devstack.auth.pool import Pool
from bazar_cli.devstack.auth.tokens import Tokens

Endpoint = Callable[[Call], Response]
_ALL = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MAX_BODY = 1024 * 1024
_log = logging.getLogger("bazar.auth")

_ROUTES: tuple[tuple[str, dict[str, Endpoint]], ...] = (
    ("/health", {"GET": public.health}),
    ("/.well-known/jwks.json", {"GET": public.jwks}),
    ("/token", {"POST": public.token}),
    ("/user", {"GET": public.get_user, "PUT": public.put_user}),
    ("/logout", {"POST": public.logout}),
    ("/verify", {"POST": public.verify, "GET": public.verify_link}),
    ("/recover", {"POST": public.recover}),
    ("/invite", {"POST": admin.invite}),
    ("/admin/users", {"POST": admin.create_user, "GET": admin.list_users}),
    ("/admin/users/{user_id}", {"GET": admin.get_user, "PUT": admin.update_user, "DELETE": admin.delete_user}),
    ("/admin/generate_link", {"POST": admin.generate_link}),
)
_WITH_SLASH = {"/user", "/verify", "/admin/users", "/admin/users/{user_id}"}
"""Paths that the real server also serves with a slash at the end, because its router mounts them."""


def create_app(config: AuthConfig) -> Starlette:
    """Return the service for one configuration. It opens no connection before the first request."""
    service = Service(config, Tokens(config), Pool(config.database_url))
    routes = [
        Route(config.prefix + path + slash, _handler(service, methods), methods=_ALL)
        for path, methods in _ROUTES
        for slash in (("", "/") if path in _WITH_SLASH else ("",))
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return app


def _handler(service: Service, methods: dict[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        endpoint = methods.get(request.method)
        if endpoint is None:
            return Response(status_code=405, headers={"Allow": ", ".join(methods)})
        dated = wants_dated(request.headers.get(VERSION_HEADER, ""))
        try:
            body = await _body(request)
            return await run_in_threadpool(endpoint, _call(service, request, body))
        except Fault as fault:
            return fault.response(dated=dated)
        except ClientDisconnect:
            return Response(status_code=499)
        except psycopg.Error as error:
            _log.error("database: %s %s", type(error).__name__, error.sqlstate)
            return Fault(500, "unexpected_failure", "Database error", with_id=True).response(dated=dated)

    return handle


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > _MAX_BODY:
            raise Fault(413, "request_too_large", "Request body exceeded 1MB")
        parts.append(part)
    return b"".join(parts)


def _call(service: Service, request: Request, body: bytes) -> Call:
    client = {"ip": request.client.host if request.client else "127.0.0.1"}
    agent = request.headers.get("user-agent")
    if agent:
        client["user_agent"] = agent
    return Call(
        service=service,
        path={name: str(value) for name, value in request.path_params.items()},
        # Go takes the first of two parameters with the same name.
        query=dict(reversed(request.query_params.multi_items())),
        headers=request.headers,
        body=body,
        client=client,
    )
