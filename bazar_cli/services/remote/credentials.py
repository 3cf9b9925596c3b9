"""The access token of a remote target: BAZAR_TOKEN, else the stored session. SUPERUSER_* never sign in to a server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeVar

from bazar_cli.domain.errors import NotSignedIn
from bazar_cli.domain.target import IdentitySource, Session, TargetKind
from bazar_cli.services.gate.identities import (
    RENEWABLE,
    SignInSettings,
    not_signed_in,
    of_bazar_token,
    refuse_surplus,
    renewed,
    valid_for_a_command,
)

if TYPE_CHECKING:
    from bazar_cli.adapters.config.sessions import Sessions
    from bazar_cli.adapters.remote.client import ApiClient
    from bazar_cli.domain.auth import StartedSession
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import RemoteTarget

R = TypeVar("R")


@dataclass(frozen=True)
class Credential:
    """An access token, and the stored session that it comes from; None for BAZAR_TOKEN."""

    token: Secret
    session: Session | None = None

    @property
    def source(self) -> IdentitySource:
        """Where it comes from."""
        return IdentitySource.TOKEN if self.session is None else IdentitySource.SESSION


class Credentials:
    """Finds the access token of one command, and renews a stored session."""

    def __init__(self, target: RemoteTarget, settings: SignInSettings, client: ApiClient) -> None:
        self._target = target
        self._settings = settings
        self._client = client
        self._known: Credential | None = None
        self._renewed = False

    @property
    def known(self) -> Credential | None:
        """The token, if the command has asked for it."""
        return self._known

    @property
    def sessions(self) -> Sessions:
        """The stored session of the target."""
        from bazar_cli.adapters.config.sessions import Sessions

        return Sessions.of(self._target, self._settings.environ)

    def current(self) -> Credential:
        """Return the token of this command; a session that ends within a minute is renewed first.

        Raises: NotSignedIn `auth.not_signed_in`, `auth.token_invalid`, `auth.session_expired`,
        `auth.session_unreadable`; BackendUnavailable.
        """
        if self._known is None:
            token = self._settings.token
            self._known = self._of_store() if token is None else Credential(self._checked(token))
        return self._known

    def call(self, act: Callable[[Secret], R]) -> R:
        """Call the API with the token. A session whose token the server refuses is renewed, and `act` called again.

        Raises: as `current` and `act`.
        """
        found = self.current()
        try:
            return act(found.token)
        except NotSignedIn as refusal:
            if found.session is None:
                raise of_bazar_token(refusal) from refusal
            if refusal.code not in RENEWABLE:
                raise
            session = self.renew(found.session)
            if session.user_id != found.session.user_id:
                # Another user signed in meanwhile, who did not start this command.
                raise
        return act(session.access_token)

    def renew(self, seen: Session) -> Session:
        """Refresh the stored session under its lock, but only once in a command.

        Raises: NotSignedIn `auth.not_signed_in`, `auth.session_expired`; BackendUnavailable.
        """
        if self._renewed and self._known is not None and self._known.session is not None:
            return self._known.session
        session = renewed(self.sessions, seen, self.refreshed, not_signed_in(self._target.api_url))
        self._known, self._renewed = Credential(session.access_token, session), True
        return session

    def started(self, begun: StartedSession) -> Session:
        """Return a session that the server hands out. It ends by this machine's clock, as far as the server's is known.

        The header Date of the answer is the server's clock.
        """
        from email.utils import parsedate_to_datetime

        ends, now = begun.session.expires_at, datetime.now(timezone.utc)
        with suppress(ValueError, TypeError):  # no date, or one without a zone: the server's clock counts
            ends = now + (ends - parsedate_to_datetime(self._client.server_date))
        return Session(begun.session.user_id, begun.session.email, begun.access_token, begun.refresh_token, ends)

    def refreshed(self, token: Secret) -> Session:
        """Exchange a refresh token for a session. Raises: NotSignedIn `auth.session_expired`; BackendUnavailable."""
        from bazar_cli.domain.auth import RENEW, RenewSession
        from bazar_cli.services.remote.requests import asked_for, result_of

        return self.started(result_of(RENEW, self._client, asked_for(RENEW, RenewSession(token))))

    def _of_store(self) -> Credential:
        stored = self.sessions.load()
        if stored is None:
            raise not_signed_in(self._target.api_url)
        stored = valid_for_a_command(stored, self.renew, datetime.now(timezone.utc))
        return Credential(stored.access_token, stored)

    def _checked(self, token: Secret) -> Secret:
        refuse_surplus(token)
        text, source = token.reveal(), self._target.source
        reason = ""
        if source.kind is TargetKind.ENV_FILE and not source.explicit:
            # A file that was only found in the folder may name a stranger's server, which must not see this token.
            reason = f"{source} was not named, so it is not sent to {self._target.api_url}"
        elif not text.isascii() or not text.isprintable() or " " in text:
            reason = "the access token is not valid: it is not a JSON Web Token"
        if reason:
            raise of_bazar_token(NotSignedIn("auth.token_invalid", reason))
        return token
