"""The operator's own account through the API; the session is stored on this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bazar_cli.domain.auth import (
    LOGIN,
    LOGOUT,
    PASSWORD,
    REFRESH,
    STATUS,
    TOKEN,
    AccessToken,
    ChangePassword,
    KnownSession,
    LoggedOut,
    Login,
    Logout,
    WhoAmI,
)
from bazar_cli.domain.errors import BackendUnavailable, NotSignedIn
from bazar_cli.domain.target import IdentitySource, Session
from bazar_cli.domain.users.values import checked_password, normalized_email, refuse_nul
from bazar_cli.services.auth import end_stored, nothing_to_refresh, password_empty, store
from bazar_cli.services.remote.credentials import Credential
from bazar_cli.services.remote.requests import asked_for, result_of

if TYPE_CHECKING:
    from bazar_cli.adapters.remote.client import ApiClient
    from bazar_cli.domain.authz.spec import Spec
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import RemoteTarget
    from bazar_cli.services.remote.credentials import Credentials


class RemoteAccount:
    """The account on a remote target. Its parts do and raise as those of `services/auth.py`."""

    server = "the API"

    def __init__(self, target: RemoteTarget, credentials: Credentials, client: ApiClient) -> None:
        self._target = target
        self._credentials = credentials
        self._client = client

    @property
    def url(self) -> str:
        """The URL of the API."""
        return self._target.api_url

    def login(self, request: Login) -> WhoAmI:
        """Sign in, and keep the session for this target."""
        normalized_email(request.email)  # before the password is sent
        if not request.password.reveal():
            raise password_empty()
        refuse_nul(request.password)
        begun = self._ask(LOGIN, request)
        session, sessions = self._credentials.started(begun), self._credentials.sessions
        store(sessions, session, self._end)
        return self._who(begun.session, Credential(session.access_token, session))

    def logout(self, request: Logout) -> LoggedOut:
        """Forget the stored session and end it, or with `everywhere` all of the user's sessions."""
        sessions = self._credentials.sessions
        if request.everywhere:
            user_id = self._known().user_id  # renews a session whose token is refused, which needs the lock
            # The lock keeps a refresh from storing the session again.
            with sessions.lock():
                ended = self._ask(LOGOUT, request, self._credentials.current().token)
                stored = None
                with suppress(NotSignedIn, BackendUnavailable):
                    stored = sessions.load()
                if stored is not None and stored.user_id == user_id:
                    sessions.forget()
            return ended
        return end_stored(sessions, self._end)

    def status(self) -> WhoAmI:
        """Return the signed-in user and the session, as the server confirms it."""
        known = self._known()
        return self._who(known, self._credentials.current())

    def refresh(self) -> WhoAmI:
        """Renew the stored session now."""
        self._allowed(REFRESH)
        current = self._credentials.current()
        if current.session is None:
            raise nothing_to_refresh(current.source)
        self._credentials.renew(current.session)
        return self.status()

    def token(self) -> AccessToken:
        """Return the access token, renewed when it had less than a minute left."""
        known = self._allowed(TOKEN)
        current = self._credentials.current()
        return AccessToken(current.token, current.session.expires_at if current.session else known.expires_at)

    def change_password(self, read: Callable[[], Secret], *, dry_run: bool) -> str:
        """Change the password; return the address of the user. The server also says who may not."""
        email = self._known().email
        request = ChangePassword(checked_password(read()))
        self._credentials.call(
            lambda token: result_of(PASSWORD, self._client, asked_for(PASSWORD, request, token=token, dry_run=dry_run))
        )
        return email

    def forget_ended(self) -> None:
        """Forget the stored session of this command, which the command has ended."""
        if self._credentials.current().source is IdentitySource.SESSION:
            with self._credentials.sessions.lock():
                self._credentials.sessions.forget()

    def _allowed(self, spec: Spec) -> KnownSession:
        """Ask the server whether the operator may run a command that only this machine carries out."""
        return self._credentials.call(lambda token: self._ask(spec, None, token))

    def _known(self) -> KnownSession:
        return self._credentials.call(lambda token: self._ask(STATUS, None, token))

    def _ask(self, spec: Spec, request: object, token: Secret | None = None) -> Any:
        return result_of(spec, self._client, asked_for(spec, request, token=token))

    def _end(self, session: Session) -> bool | None:
        """End one session, or find it ended; None when Supabase or the server did not answer."""
        try:
            try:
                return self._ask(LOGOUT, Logout(), session.access_token).at_supabase
            except NotSignedIn:
                # An expired token is refused even for signing out, but the refresh token may still be valid.
                renewed = self._credentials.refreshed(session.refresh_token)
                return self._ask(LOGOUT, Logout(), renewed.access_token).at_supabase
        except NotSignedIn:
            return True
        except BackendUnavailable:
            return None

    def _who(self, known: KnownSession, credential: Credential) -> WhoAmI:
        session, target = credential.session, self._target
        stored_in = self._credentials.sessions.where if session else None
        known = replace(known, expires_at=session.expires_at) if session else known
        return known.on_this_machine(target.source, credential.source, stored_in, api_url=target.api_url)
