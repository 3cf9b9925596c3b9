"""One request to an endpoint, and the check of its token."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bazar_cli.devstack.auth import users
from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.errors import Fault, validation_failed
from bazar_cli.devstack.auth.pool import Pool, Rows, one
from bazar_cli.devstack.auth.sessions import is_banned
from bazar_cli.devstack.auth.tokens import Tokens


@dataclass(frozen=True)
class Service:
    """The settings, keys and connections that all endpoints share."""

    config: AuthConfig
    tokens: Tokens
    pool: Pool


@dataclass(frozen=True)
class Call:
    """A request with its whole body."""

    service: Service
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    client: Mapping[str, str]
    """`ip` and `user_agent`, which a session stores."""

    def bearer(self) -> str:
        """Return the bearer token. API keys are translated as by Supabase's gateway (Supabase Auth v2.196).

        Raises: Fault 401 `no_authorization`.
        """
        given = self.headers.get("authorization", "")
        if given and not given.startswith("Bearer sb_"):
            kind, _, token = given.partition(" ")
            if kind.lower() == "bearer" and token:
                return token
            raise _no_authorization()
        key = self.headers.get("apikey") or given.removeprefix("Bearer ")
        config = self.service.config
        if key and key == config.secret_key:
            return config.service_key
        if key and key == config.publishable_key:
            return config.anon_key
        if key:
            return key
        raise _no_authorization()

    def require_admin(self) -> None:
        """Check that the token has an admin role.

        Raises: Fault 403 `not_admin`, `bad_jwt`; 401 `no_authorization`.
        """
        claims = self.service.tokens.verify(self.bearer())
        if claims.get("role") not in self.service.config.admin_roles:
            raise Fault(403, "not_admin", "User not allowed")

    def require_user(self, connection: Rows) -> tuple[dict[str, Any], uuid.UUID | None]:
        """Return the row of the signed-in user and the session of the token.

        Raises: Fault 403 with the server's codes.
        """
        claims = self.service.tokens.verify(self.bearer())
        if not claims.get("sub"):
            raise Fault(403, "bad_jwt", "invalid claim: missing sub claim")
        try:
            user_id = uuid.UUID(str(claims["sub"]))
            session_id = uuid.UUID(str(claims["session_id"])) if claims.get("session_id") else None
        except ValueError as error:
            raise Fault(403, "bad_jwt", "invalid claim: sub claim must be a UUID") from error
        user = users.by_id(connection, user_id)
        if user is None:
            raise Fault(403, "user_not_found", "User from sub claim in JWT does not exist")
        if session_id is not None:
            found = one(connection, "SELECT 1 FROM auth.sessions WHERE id = %s AND user_id = %s", session_id, user_id)
            if found is None:
                raise Fault(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        if is_banned(user):
            raise Fault(403, "user_banned", "User is banned")
        return user, session_id

    def target_id(self) -> uuid.UUID:
        """Return the user id of the path. Raises: Fault 404 `validation_failed`."""
        try:
            return uuid.UUID(self.path["user_id"])
        except ValueError as error:
            raise validation_failed("user_id must be an UUID", 404) from error


def _no_authorization() -> Fault:
    return Fault(401, "no_authorization", "This endpoint requires a valid Bearer token")
