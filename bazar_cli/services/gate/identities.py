"""The operator's identity: BAZAR_TOKEN, else the stored session, else SUPERUSER_* (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.errors import BackendUnavailable, BazarError, NotSignedIn, StoreUnusable
from bazar_cli.domain.surplus import surplus
from bazar_cli.domain.target import Identity, IdentitySource, Session, TargetKind

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from bazar_cli.adapters.config.sessions import Sessions
    from bazar_cli.adapters.supabase.auth_client import AuthClient
    from bazar_cli.adapters.supabase.tokens import Claims, TokenVerifier
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

REFRESH_BEFORE = timedelta(seconds=60)
"""A token that ends sooner than this is renewed first, so that it does not end during a command."""
RENEWABLE = frozenset({"auth.token_invalid", "auth.token_expired"})
"""Codes that leave the session valid: the signing key was rotated, or the clocks differ."""
_WITHOUT_SESSION = frozenset({"auth.session_expired", "auth.session_unreadable", "keyring.unavailable"})
"""Codes that, like StoreUnusable, do not stop a command that has credentials in its environment."""


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class SignInSettings:
    """The settings for signing in, from the environment of the process."""

    environ: Mapping[str, str]
    """Names the folder and the keyring of the session store."""
    token: Secret | None = None
    """BAZAR_TOKEN."""
    prompt_possible: bool = False


class Identities:
    """Finds and proves the identity of one command."""

    may_bootstrap = True

    def __init__(self, target: Target, settings: SignInSettings, clock: Callable[[], datetime] = _now) -> None:
        self._target = target
        self._settings = settings
        self._clock = clock
        self._known: Identity | None = None
        self._begun: list[Session] = []
        self._asked_auth = False
        self._renewed = False
        self._verifier: TokenVerifier | None = None
        self._client: AuthClient | None = None
        """Confirms sessions, on one connection for all commands."""

    def begin_command(self, hide: Callable[[str], None]) -> None:
        """Find and prove the identity once more for the next command; a sign-in by SUPERUSER_PASSWORD is kept.

        Parameters: `hide` is called with the tokens of that sign-in.
        """
        for session in self._begun:
            hide(session.access_token.reveal())
            hide(session.refresh_token.reveal())
        known = self._known
        if (
            known is None
            or known.source is not IdentitySource.SUPERUSER
            or known.expires_at - self._clock() < REFRESH_BEFORE
        ):
            self._known = None
        self._asked_auth = self._renewed = False
        self._verifier = None

    def current(self) -> Identity:
        """Return the verified identity of this command.

        Raises: NotSignedIn `auth.not_signed_in`, `auth.token_invalid`, `auth.token_expired`,
        `auth.session_expired`, `auth.session_unreadable` and those of a sign-in; BackendUnavailable.
        """
        if self._known is None:
            self._known = self._find()
        return self._known

    @property
    def known(self) -> Identity | None:
        """The identity, if the command has asked for it."""
        return self._known

    def confirm(self, identity: Identity) -> Identity:
        """Ask Supabase Auth whether the session is still valid; return the identity with its present email.

        If only the token of a stored session is refused, the session is renewed and asked about once more.
        Raises: NotSignedIn `auth.session_revoked`, `auth.token_invalid`; BackendUnavailable.
        """
        if self._asked_auth:
            return identity
        try:
            return self._confirmed(identity)
        except NotSignedIn as refusal:
            if identity.source is IdentitySource.TOKEN:
                raise of_bazar_token(refusal) from refusal
            if identity.source is not IdentitySource.SESSION or refusal.code not in RENEWABLE:
                raise
            renewed = self._of_session(self._renew(identity))
            if renewed.user_id != identity.user_id:
                # Another user signed in meanwhile, who did not start this command.
                raise
        return renewed if self._asked_auth else self._confirmed(renewed)

    def handed_out(self) -> Identity:
        """Return the identity as `current`; its session is not ended with the command, because its token is printed."""
        identity = self.current()
        self._begun.clear()
        return identity

    def close(self) -> None:
        """Close the connection, and end the sessions that SUPERUSER_PASSWORD began; a failure is only logged."""
        if self._client is not None:
            self._client.close()
            self._client = None
        while self._begun:
            try:
                ended = end_session(self._target, self._begun.pop())
            except BazarError:
                ended = None
            if ended is None:
                import logging

                logging.getLogger(__name__).debug("the session of this command could not be ended at Supabase Auth")

    def superuser(self, *, create: bool, user_id: UUID | None = None) -> Identity | None:
        """Sign in as SUPERUSER_EMAIL for bootstrap; `create` makes the identity if Supabase does not know it.

        Nothing is written to disk, and an existing password is never changed. The caller has proven that no
        superuser exists. Without `create`, returns None for an address that Supabase does not know.
        Parameters: `user_id` is the id of the address in Postgres; a new identity gets it too.
        Raises: UsageError for credentials that Supabase could not take; NotSignedIn `auth.not_signed_in`,
        `auth.invalid_credentials`; Conflict `users.email_differs`.
        """
        from bazar_cli.adapters.supabase.auth_client import AuthClient
        from bazar_cli.domain.users.values import check_superuser

        email, password = self._target.superuser_email, self._target.superuser_password
        if email is None or password is None:
            raise not_signed_in(self._target.supabase_url)
        check_superuser(email, None)
        with AuthClient(self._target) as client:
            try:
                session = client.sign_in(email, password)
            except NotSignedIn as refusal:
                if refusal.code != "auth.invalid_credentials":
                    raise
                check_superuser(None, password)
                if create:
                    client.create_confirmed(email, password, user_id)
                elif not client.knows(email, user_id):
                    return None
                # Another run may have created it meanwhile.
                try:
                    session = client.sign_in(email, password)
                except NotSignedIn as second:
                    raise NotSignedIn(
                        second.code,
                        f"Supabase Auth knows {email} with another password than SUPERUSER_PASSWORD",
                        hint="correct SUPERUSER_PASSWORD; bazar never changes the password of an existing identity",
                    ) from second
        self._known = self._of_sign_in(session)
        return self._known

    def refresh(self) -> Identity:
        """Renew the stored session now, however long it is valid, but only once in a command.

        Raises: NotSignedIn `auth.not_signed_in`, `auth.session_expired`; BackendUnavailable.
        """
        from bazar_cli.adapters.config.sessions import Sessions

        if self._renewed and self._known is not None:
            return self._known
        stored = Sessions.of(self._target, self._settings.environ).load()
        if stored is None:
            raise not_signed_in(self._target.supabase_url)
        self._known = self._of_session(self._renew(stored))
        return self._known

    # -- the three sources --------------------------------------------------------------------------------

    def _find(self) -> Identity:
        if self._settings.token is not None:
            return self._of_token(self._settings.token)
        credentials = self._superuser_of_environment()
        try:
            identity = self._of_store()
        except (NotSignedIn, BackendUnavailable, StoreUnusable) as ended:
            # With credentials, a session that has ended or cannot be read does not matter.
            if credentials is None or not (isinstance(ended, StoreUnusable) or ended.code in _WITHOUT_SESSION):
                raise
            identity = None
        if identity is not None:
            return identity
        if credentials is not None:
            return self._of_credentials(*credentials)
        raise not_signed_in(self._target.supabase_url)

    def _of_token(self, token: Secret) -> Identity:
        # An env file that was only found in the folder may name a stranger's server, which must not see this token.
        source = self._target.source
        found = source.kind is TargetKind.ENV_FILE and not source.explicit
        refuse_surplus(token)
        try:
            claims = self._verify(token, of_this_issuer=found)
        except NotSignedIn as refusal:
            raise of_bazar_token(refusal) from refusal
        return _identity(claims, token, IdentitySource.TOKEN, None)

    def _of_store(self) -> Identity | None:
        from bazar_cli.adapters.config.sessions import Sessions

        sessions = Sessions.of(self._target, self._settings.environ)
        stored = sessions.load()
        if stored is None:
            return None
        stored = valid_for_a_command(stored, self._renew, self._clock())
        try:
            return self._of_session(stored)
        except NotSignedIn as refusal:
            if refusal.code not in RENEWABLE:
                raise
            return self._of_session(self._renew(stored))

    def _of_credentials(self, email: str, password: Secret) -> Identity:
        from bazar_cli.adapters.supabase.auth_client import AuthClient

        try:
            with AuthClient(self._target) as client:
                return self._of_sign_in(client.sign_in(email, password))
        except NotSignedIn as refusal:
            too_much = surplus("SUPERUSER_PASSWORD", password.reveal(), any_character=True)
            if refusal.code != "auth.invalid_credentials" or too_much is None:
                raise
            raise NotSignedIn(
                refusal.code, f"{refusal.message}; of SUPERUSER_PASSWORD, {too_much.what}", hint=too_much.remedy
            ) from refusal

    def _superuser_of_environment(self) -> tuple[str, Secret] | None:
        """Return SUPERUSER_* if the target is the process environment and no prompt is possible.

        An `.env` file never signs anybody in.
        """
        email, password = self._target.superuser_email, self._target.superuser_password
        alone = self._target.source.kind is TargetKind.ENVIRONMENT and not self._settings.prompt_possible
        return (email, password) if alone and email is not None and password is not None else None

    # -- proofs -------------------------------------------------------------------------------------------

    def _confirmed(self, identity: Identity) -> Identity:
        if self._client is None:
            from bazar_cli.adapters.supabase.auth_client import AuthClient

            self._client = AuthClient(self._target)
        user_id, email = self._client.get_user(identity.access_token)
        if user_id != identity.user_id:
            raise NotSignedIn("auth.session_revoked", "Supabase Auth says that the session is another user's")
        self._asked_auth = True
        self._known = replace(identity, email=email)
        return self._known

    def _renew(self, seen: Session | Identity) -> Session:
        from bazar_cli.adapters.config.sessions import Sessions
        from bazar_cli.adapters.supabase.auth_client import AuthClient

        def refresh(token: Secret) -> Session:
            with AuthClient(self._target) as client:
                return client.refresh(token)

        sessions = Sessions.of(self._target, self._settings.environ)
        stored = renewed(sessions, seen, refresh, not_signed_in(self._target.supabase_url))
        self._renewed = True
        return stored

    def _of_session(self, session: Session) -> Identity:
        from bazar_cli.adapters.config.sessions import Sessions

        where = Sessions.of(self._target, self._settings.environ).where
        claims = self._verify(session.access_token, ends=session.expires_at)
        found = _identity(claims, session.access_token, IdentitySource.SESSION, where)
        return replace(found, expires_at=session.expires_at)

    def _of_sign_in(self, session: Session) -> Identity:
        self._begun.append(session)
        claims = self._verify(session.access_token, ends=session.expires_at)
        self._asked_auth = True
        return _identity(claims, session.access_token, IdentitySource.SUPERUSER, None)

    def _clock_seconds(self) -> float:
        return self._clock().timestamp()

    def _verify(self, token: Secret, *, of_this_issuer: bool = False, ends: datetime | None = None) -> Claims:
        if self._verifier is None:
            from bazar_cli.adapters.config.folders import data_dir
            from bazar_cli.adapters.supabase.tokens import TokenVerifier

            self._verifier = TokenVerifier(self._target, data_dir(self._settings.environ), self._clock_seconds)
        claims = self._verifier.verify(token, of_this_issuer=of_this_issuer, ends=ends)
        self._asked_auth = self._asked_auth or claims.asked_auth
        return claims


def renewed(
    sessions: Sessions, seen: Session | Identity, refresh: Callable[[Secret], Session], missing: NotSignedIn
) -> Session:
    """Refresh a stored session under its lock, or take the one that another process has stored meanwhile.

    Parameters: `seen` is the session to replace. Access token and end together identify it. The refresh token does not:
    a project may have its rotation switched off, or hand out the same one again within the reuse interval. The access
    token alone does not either: two that are signed with a secret in one second are equal. `refresh` gets the refresh
    token; `missing` is raised where no session is stored.
    Raises: as `refresh`; BackendUnavailable, StoreUnusable.
    """
    with sessions.lock():
        stored = sessions.load()
        if stored is None:
            raise missing
        if (stored.access_token, stored.expires_at) == (seen.access_token, seen.expires_at):
            stored = refresh(stored.refresh_token)
            sessions.save(stored)
        return stored


def end_session(target: Target, session: Session) -> bool | None:
    """End one session at Supabase, or find it ended; None when Supabase did not answer."""
    from bazar_cli.adapters.supabase.auth_client import AuthClient

    try:
        with AuthClient(target) as client:
            try:
                client.sign_out(session.access_token, "local")
            except NotSignedIn:
                # Supabase refuses an expired token even for signing out, but the refresh token may still be valid.
                client.sign_out(client.refresh(session.refresh_token).access_token, "local")
    except NotSignedIn:
        return True
    except BackendUnavailable:
        return None
    return True


def _identity(claims: Claims, token: Secret, source: IdentitySource, where: Path | str | None) -> Identity:
    return Identity(
        claims.user_id, claims.email, claims.session_id, token, claims.expires_at, source, where, claims.lifetime
    )


def valid_for_a_command(stored: Session, renew: Callable[[Session], Session], now: datetime) -> Session:
    """Return a stored session, renewed if it ends within a minute. Raises: as `renew`, for a session that has ended."""
    if stored.expires_at - now >= REFRESH_BEFORE:
        return stored
    try:
        return renew(stored)
    except (BackendUnavailable, StoreUnusable):
        # A token that is valid for some seconds is enough for a read.
        if stored.expires_at <= now:
            raise
        return stored


def refuse_surplus(token: Secret) -> None:
    """Refuse a BAZAR_TOKEN with quotes or spaces around it. Raises: NotSignedIn `auth.token_invalid`."""
    if too_much := surplus("BAZAR_TOKEN", token.reveal()):
        raise NotSignedIn("auth.token_invalid", f"BAZAR_TOKEN is refused: {too_much.what}", hint=too_much.remedy)


def of_bazar_token(refusal: NotSignedIn) -> NotSignedIn:
    """Return the refusal of a token as that of BAZAR_TOKEN."""
    # Signing in would not help: BAZAR_TOKEN has precedence over a stored session.
    return NotSignedIn(
        refusal.code,
        f"BAZAR_TOKEN is refused: {refusal.message}",
        hint="unset it to use the stored session, or set it to what `bazar auth token` prints without it",
        details=refusal.details,
    )


def not_signed_in(url: str) -> NotSignedIn:
    """Return the error for a target without a token and a session."""
    return NotSignedIn(
        "auth.not_signed_in",
        f"you are not signed in to {url}",
        hint="sign in with `bazar auth login`, or set BAZAR_TOKEN",
    )
