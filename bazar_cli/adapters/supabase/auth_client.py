"""Supabase Auth on behalf of a user: sign-in, refresh, confirmation, password, sign-out."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx

from bazar_cli.adapters.supabase.answers import Request, translated
from bazar_cli.adapters.supabase.http import auth_url, key_headers, open_http, public_key, user_headers
from bazar_cli.adapters.supabase.listing import find_user, get_user
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Session
from bazar_cli.domain.users.identities import IdentityRefused, OutcomeUnknown
from bazar_cli.domain.users.values import refuse_nul

if TYPE_CHECKING:
    from supabase_auth import SyncGoTrueClient
    from supabase_auth.types import AdminUserAttributes, AuthResponse

    from bazar_cli.domain.target import Target


class AuthClient:
    """Requests to Supabase Auth on behalf of a user.

    Parameters: `http` are the connections of a server process, which `close` keeps open; a command has its own.
    """

    def __init__(self, target: Target, http: httpx.Client | None = None) -> None:
        self._target = target
        self._kept = http is not None
        self._http = http or open_http(target)

    def __enter__(self) -> AuthClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, unless it is kept."""
        if not self._kept:
            self._http.close()

    def sign_in(self, email: str, password: Secret) -> Session:
        """Sign in with email and password.

        Raises: NotSignedIn `auth.invalid_credentials`, `auth.user_banned`, `auth.email_not_confirmed`;
        BackendUnavailable `supabase.unavailable`, `supabase.rate_limited`; Conflict `supabase.key_refused`; UsageError
        `users.password_invalid` for a password with a NUL character.
        """
        refuse_nul(password)
        with self._by_library("signing in", Request.SIGN_IN):
            credentials: Any = {"email": email, "password": password.reveal()}
            asked = _now()
            return _session(self._library().sign_in_with_password(credentials), asked)

    def refresh(self, refresh_token: Secret) -> Session:
        """Exchange a refresh token for a new session; the token cannot be used again.

        Raises: NotSignedIn `auth.session_expired` when Supabase Auth ended the session; as `sign_in`.
        """
        with self._by_library("refreshing", Request.REFRESH):
            asked = _now()
            return _session(self._library().refresh_session(refresh_token.reveal()), asked)

    def create_confirmed(self, email: str, password: Secret, user_id: uuid.UUID | None) -> None:
        """Create the identity of the first superuser if the address is free; an existing one is not changed.

        For a taken address the server answers 422 or, in a race, 500; the sign-in that follows shows which it was.
        Parameters: `user_id` is the id of the user with this address in Postgres, if there is one.
        Raises: BackendUnavailable; Conflict `supabase.key_refused`, `users.email_differs`.
        """
        self._check_address(user_id, email)
        from supabase_auth import SyncGoTrueAdminAPI

        api = SyncGoTrueAdminAPI(url=auth_url(self._target), headers=key_headers(self._target), http_client=self._http)
        attributes: dict[str, object] = {"email": email, "password": password.reveal(), "email_confirm": True}
        if user_id is not None:
            attributes["id"] = str(user_id)
        with self._by_library("creating the first superuser", Request.BY_USER):
            try:
                api.create_user(cast("AdminUserAttributes", attributes))
            except IdentityRefused as refusal:
                if refusal.code != "email_exists":
                    raise
            except OutcomeUnknown as unknown:
                if unknown.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise

    def knows(self, email: str, user_id: uuid.UUID | None) -> bool:
        """Say whether an identity has the address of the first superuser.

        Raises: as `create_confirmed`, for an identity that could not be created.
        """
        self._check_address(user_id, email)
        return find_user(self._http, self._target, email.lower()) is not None

    def get_user(self, access_token: Secret) -> tuple[uuid.UUID, str]:
        """Return the current id and email of the token's identity.

        Raises: NotSignedIn `auth.session_revoked`, or `auth.token_invalid` when only the token is refused;
        BackendUnavailable `supabase.unavailable`.
        """
        with translated(self._target, "its answer to confirming the session", Request.BY_USER):
            body = self._as_user("GET", "user", access_token).json()
            return uuid.UUID(body["id"]), str(body.get("email") or "").lower()

    def set_password(self, access_token: Secret, password: Secret) -> None:
        """Change the password of the token's user; Supabase keeps this session and ends the others.

        Raises: UsageError `auth.password_refused` with Supabase's reason; as `get_user`.
        """
        with translated(self._target, "its answer to setting the password", Request.BY_USER):
            self._as_user("PUT", "user", access_token, json={"password": password.reveal()})

    def sign_out(self, access_token: Secret, scope: str) -> None:
        """End the token's session (`local`), or all sessions of its user (`global`).

        Raises: NotSignedIn `auth.session_revoked` when it has ended already; BackendUnavailable.
        """
        with translated(self._target, "its answer to signing out", Request.BY_USER):
            self._as_user("POST", "logout", access_token, params={"scope": scope})

    def _check_address(self, user_id: uuid.UUID | None, email: str) -> None:
        """Refuse an id that an identity with another address has."""
        email = email.lower()
        found = None if user_id is None else get_user(self._http, self._target, user_id)
        if found is None or str(found.get("email") or "").lower() == email:
            return
        other = "was deleted" if found.get("deleted_at") else f"has the address {found.get('email')}"
        raise Conflict(
            "users.email_differs",
            f"the user {email} in Postgres has the id {user_id}, but the identity with this id at Supabase {other};"
            " nothing was written",
            hint=f"set its address to {email} in the Supabase dashboard, or set another SUPERUSER_EMAIL; run it again",
            details={"user_id": str(user_id), "supabase_email": found.get("email")},
        )

    def _library(self) -> SyncGoTrueClient:
        from supabase_auth import SyncGoTrueClient

        key = public_key(self._target)
        return SyncGoTrueClient(
            url=auth_url(self._target),
            headers={"apikey": key, "Authorization": f"Bearer {key}"},
            auto_refresh_token=False,
            persist_session=False,
            http_client=self._http,
        )

    def _as_user(self, method: str, path: str, access_token: Secret, **request: Any) -> httpx.Response:
        headers = user_headers(self._target, access_token.reveal())
        return self._http.request(method, f"{auth_url(self._target)}/{path}", headers=headers, **request)

    @contextmanager
    def _by_library(self, doing: str, request: Request) -> Generator[None]:
        from supabase_auth.errors import AuthError

        # The library makes an AuthError of an error of httpx, and of an answer without a session.
        with translated(self._target, f"its answer to {doing}", request, AuthError):
            yield


def _now() -> datetime:
    # Whole seconds, like the times in a token.
    return datetime.now(timezone.utc).replace(microsecond=0)


def _session(answer: AuthResponse, asked: datetime) -> Session:
    """Return the session of an answer, with its end by this machine's clock, which may differ from that of Auth."""
    session = answer.session
    if session is None or session.user.email is None:
        raise ValueError("no session in the answer")
    return Session(
        user_id=uuid.UUID(session.user.id),
        email=session.user.email.lower(),
        access_token=Secret(session.access_token),
        refresh_token=Secret(session.refresh_token),
        expires_at=asked + timedelta(seconds=session.expires_in),
    )
