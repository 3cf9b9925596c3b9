"""The Auth service called without HTTP: what a test arranges by it then takes a third of the time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from starlette.responses import Response

from bazar_cli.devstack.auth import admin, public
from bazar_cli.devstack.auth.call import Call, Service
from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.pool import Pool
from bazar_cli.devstack.auth.tokens import Tokens


class AuthInProcess:
    """The functions behind three endpoints of a service that runs, with its keys and its database.

    Parameters: `url` is where the service answers, without `/auth/v1`: its tokens name it.
    """

    def __init__(self, settings: Mapping[str, str], url: str) -> None:
        config = AuthConfig.from_environ({**settings, "API_EXTERNAL_URL": f"{url}/auth/v1"})
        self._service = Service(config, Tokens(config), Pool(config.database_url))
        self._headers = {"apikey": settings["BAZAR_AUTH_SECRET_KEY"]}

    def create_user(self, body: Mapping[str, object]) -> None:
        """Create an identity. Raises: Fault."""
        self._ask(admin.create_user, body=body)

    def users(self, part: str) -> list[dict[str, Any]]:
        """Return the identities with this in their address or name, a thousand at most. Raises: Fault."""
        return self._ask(admin.list_users, per_page="1000", filter=part)["users"]

    def access_token(self, email: str, password: str) -> str:
        """Sign in, and return the access token. Raises: Fault."""
        return self._ask(public.token, body={"email": email, "password": password}, grant_type="password")[
            "access_token"
        ]

    def close(self) -> None:
        """Close its connections."""
        self._service.pool.close()

    def _ask(
        self, endpoint: Callable[[Call], Response], *, body: Mapping[str, object] | None = None, **query: str
    ) -> dict[str, Any]:
        text = b"" if body is None else json.dumps(body).encode()
        client = {"ip": "127.0.0.1", "user_agent": "a test"}
        call = Call(self._service, path={}, query=query, headers=self._headers, body=text, client=client)
        return json.loads(cast("bytes", endpoint(call).body))
