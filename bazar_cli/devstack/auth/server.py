"""Run the service on a socket that is already bound."""

from __future__ import annotations

import socket
from collections.abc import Callable

import psycopg
import uvicorn

from bazar_cli.devstack.auth.app import create_app
from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.schema import ensure_schema
from bazar_cli.domain.errors import BackendUnavailable


class _Server(uvicorn.Server):
    """A uvicorn server that calls `on_ready` when it accepts requests."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()


def serve(config: AuthConfig, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `on_ready` is called once when requests are accepted.

    Raises: BackendUnavailable `auth_service.database` when the database cannot be used.
    """
    try:
        with psycopg.connect(config.database_url, connect_timeout=10, autocommit=True) as connection:
            ensure_schema(connection)
    except psycopg.Error as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendUnavailable(
            "auth_service.database",
            f"the Auth service cannot use its database: {first}",
            hint="check GOTRUE_DB_DATABASE_URL",
        ) from error
    # An answer is two writes, head and body. With Nagle's algorithm the body waits 40 ms for an acknowledgement.
    # Accepted connections inherit the option. asyncio sets it only where a socket names its protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    settings = uvicorn.Config(
        create_app(config),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    _Server(settings, on_ready).run(sockets=[listener])
