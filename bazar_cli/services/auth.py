"""Signing in and out, and what a session says."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bazar_cli.domain import auth as use_cases
from bazar_cli.domain.auth import AccessToken, ChangePassword, KnownSession, LoggedOut, Login, Logout, WhoAmI
from bazar_cli.domain.errors import BackendUnavailable, Conflict, NotSignedIn, StoreUnusable, UsageError
from bazar_cli.domain.target import Identity, IdentitySource, Session
from bazar_cli.domain.users.values import check_superuser, checked_password, normalized_email
from bazar_cli.services.gate.first_superuser import claim_by
from bazar_cli.services.gate.gate import Gate, describe_operator, has_active_superuser, id_of_address
from bazar_cli.services.gate.identities import end_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bazar_cli.adapters.config.sessions import Sessions
    from bazar_cli.domain.authz.spec import Grant, Operator
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.identities import Identities


def login(backends: Backends, environ: Mapping[str, str], request: Login) -> WhoAmI:
    """Sign in with email and password and keep the session for this target.

    While the system has no superuser, a sign-in as SUPERUSER_EMAIL makes that user the first one. If Supabase does not
    know the identity yet, it is created with SUPERUSER_PASSWORD.
    Raises: UsageError `users.email_invalid`, `auth.password_empty`; NotSignedIn when Supabase refuses; Conflict
    `db.no_database`, before an identity is created, `users.email_differs`, `users.email_exists`; BackendUnavailable.
    """
    from bazar_cli.adapters.config.sessions import Sessions

    email = normalized_email(request.email)
    if not request.password.reveal():
        raise password_empty()
    session = _session_of(backends, email, request)
    sessions = Sessions.of(backends.target, environ)
    store(sessions, session, partial(end_session, backends.target))
    identity = _identity(session, sessions)
    try:
        claimed = _claim(backends, environ, identity)
        return replace(_who(backends, identity, describe_operator(backends, identity)), claimed=claimed)
    except BackendUnavailable as error:
        # The sign-in is done and kept; later commands ask Postgres again.
        return replace(_who(backends, identity, None), note=error.message)
    except (Conflict, UsageError):
        # A sign-in that ends with an error keeps no session.
        with sessions.lock():
            sessions.forget()
            end_session(backends.target, session)
        raise


def _session_of(backends: Backends, email: str, request: Login) -> Session:
    """Sign in; create the identity of a first superuser whom Supabase does not know."""
    with backends.auth() as client:
        try:
            return client.sign_in(email, request.password)
        except NotSignedIn as refusal:
            if refusal.code != "auth.invalid_credentials" or not _is_first_superuser(backends, email, request):
                raise
            check_superuser(None, request.password)
            client.create_confirmed(email, request.password, id_of_address(backends, email))
            return client.sign_in(email, request.password)


def logout(backends: Backends, environ: Mapping[str, str], identities: Identities, request: Logout) -> LoggedOut:
    """Forget the stored session and end it at Supabase; `everywhere` ends all of the user's sessions.

    With `everywhere`, BAZAR_TOKEN names the user if it is set, and a stored session of another user is kept.
    Without `everywhere`, it is not an error if Supabase Auth does not answer: the session is forgotten in any case.
    Raises: with `everywhere` NotSignedIn, BackendUnavailable.
    """
    from bazar_cli.adapters.config.sessions import Sessions
    from bazar_cli.adapters.supabase.auth_client import AuthClient

    sessions = Sessions.of(backends.target, environ)
    if request.everywhere:
        identity = identities.current()
        # The lock keeps a refresh from storing the session again.
        with sessions.lock():
            with AuthClient(backends.target) as client:
                client.sign_out(identity.access_token, "global")
            if _is_of(sessions, identity):
                sessions.forget()
        return LoggedOut(was_signed_in=True, at_supabase=True, everywhere=True)
    return end_stored(sessions, partial(end_session, backends.target))


def store(sessions: Sessions, session: Session, end: Callable[[Session], object]) -> None:
    """Store a new session. One that cannot be stored here must not live on: `end` ends it.

    Raises: BackendUnavailable, StoreUnusable.
    """
    try:
        with sessions.lock():
            sessions.save(session)
    except (BackendUnavailable, StoreUnusable):
        end(session)
        raise


def end_stored(sessions: Sessions, end: Callable[[Session], bool | None]) -> LoggedOut:
    """Forget the stored session, and end it. Parameters: `end` returns None if nobody answered."""
    try:
        if sessions.load() is None:
            return LoggedOut(was_signed_in=False, at_supabase=False, everywhere=False)
        with sessions.lock():
            # Read again under the lock: a refresh or a sign-in may have stored another one.
            stored = sessions.load()
            sessions.forget()
            ended = stored is not None and end(stored)
    except NotSignedIn:
        # A session that cannot be read cannot be ended, only removed.
        sessions.forget()
        return LoggedOut(was_signed_in=True, at_supabase=None, everywhere=False)
    return LoggedOut(was_signed_in=stored is not None, at_supabase=ended, everywhere=False)


def forget_ended(backends: Backends, environ: Mapping[str, str], identities: Identities) -> None:
    """Forget the stored session of this command, which the command has ended at Supabase.

    Raises: BackendUnavailable, StoreUnusable when the store cannot be written.
    """
    from bazar_cli.adapters.config.sessions import Sessions

    if identities.current().source is not IdentitySource.SESSION:
        return
    sessions = Sessions.of(backends.target, environ)
    with sessions.lock():
        sessions.forget()


def _is_of(sessions: Sessions, identity: Identity) -> bool:
    """Whether the stored session belongs to this user: BAZAR_TOKEN may belong to another one."""
    try:
        stored = sessions.load()
    except (NotSignedIn, BackendUnavailable):
        # The owner of a session that cannot be read is known only if this command used it.
        return identity.source is IdentitySource.SESSION
    return stored is not None and stored.user_id == identity.user_id


def status(backends: Backends, identities: Identities) -> WhoAmI:
    """Return the signed-in user, the source and end of the session, and what Postgres has about the user.

    Supabase confirms the session as for a command that writes. If it does not answer or refuses the key, `note` says
    why.
    Raises: NotSignedIn, also for a revoked session; BackendUnavailable if Postgres does not answer, or if Supabase
    does not and the token cannot be verified without it.
    """
    identity, note = identities.current(), None
    try:
        identity = identities.confirm(identity)
    except (BackendUnavailable, Conflict) as error:
        note = error.message
    return _who(backends, identity, describe_operator(backends, identity), note)


def refresh(backends: Backends, grant: Grant, identities: Identities) -> WhoAmI:
    """Renew the stored session now.

    Raises: UsageError `auth.nothing_to_refresh` if the identity is not from a stored session; NotSignedIn.
    """
    grant.demand(use_cases.REFRESH)
    source = identities.current().source
    if source is not IdentitySource.SESSION:
        raise nothing_to_refresh(source)
    return _who(backends, identities.refresh(), grant.operator)


def token(grant: Grant, identities: Identities) -> AccessToken:
    """Return the access token of this command's identity, renewed when it had less than a minute left."""
    grant.demand(use_cases.TOKEN)
    identity = identities.handed_out()
    return AccessToken(identity.access_token, identity.expires_at)


def change_password(backends: Backends, grant: Grant, request: ChangePassword) -> None:
    """Change the operator's own password; Supabase keeps this session and ends the user's others.

    Raises: UsageError `users.password_invalid`, `auth.password_refused`; NotSignedIn; BackendUnavailable.
    """
    from bazar_cli.adapters.postgres.audit import events

    grant.demand(use_cases.PASSWORD)
    password = checked_password(request.password)
    if grant.dry_run:
        return
    assert grant.identity is not None, "only a dry run has no identity"
    change = events.Change("user", grant.operator.id, reason="own password")
    with backends.database().transaction(grant) as connection:
        events.record(connection, grant, change)
    try:
        with backends.auth() as client:
            client.set_password(grant.identity.access_token, password)
    except (UsageError, NotSignedIn):
        # A refusal did nothing. After an unknown outcome only the event of the intent is kept.
        with backends.database().transaction(grant, finishing=True) as connection:
            events.record(connection, grant, replace(change, outcome="undone"))
        raise


def password_empty() -> UsageError:
    """Return the error for an empty password."""
    return UsageError("auth.password_empty", "the password is empty", hint="give it by prompt or --password-stdin")


def nothing_to_refresh(source: IdentitySource) -> UsageError:
    """Return the error for an identity without a stored session."""
    return UsageError(
        "auth.nothing_to_refresh",
        f"the identity of this command comes from {source}, which keeps no session",
        hint="sign in with `bazar auth login` for a session that can be renewed",
    )


def _claim(backends: Backends, environ: Mapping[str, str], identity: Identity) -> bool:
    named = backends.target.superuser_email
    if named is None or named.lower() != identity.email or has_active_superuser(backends) is not False:
        return False
    from bazar_cli.services.gate.identities import Identities, SignInSettings

    # Only the session that was just stored counts here, not BAZAR_TOKEN.
    with closing(Identities(backends.target, SignInSettings(environ))) as identities:
        return claim_by(backends, Gate(backends, identities).authorize(use_cases.CLAIM, None))


def _is_first_superuser(backends: Backends, email: str, request: Login) -> bool:
    """Whether these are the credentials of a first superuser who is still to be created."""
    target = backends.target
    given = (email, request.password) == ((target.superuser_email or "").lower(), target.superuser_password)
    return given and not has_active_superuser(backends, before=use_cases.CLAIM)


def _identity(session: Session, sessions: Sessions) -> Identity:
    return Identity(
        user_id=session.user_id,
        email=session.email,
        session_id=None,
        access_token=session.access_token,
        expires_at=session.expires_at,
        source=IdentitySource.SESSION,
        stored_in=sessions.where,
    )


def _who(backends: Backends, identity: Identity, operator: Operator | None, note: str | None = None) -> WhoAmI:
    target = backends.target
    known = KnownSession.of(identity, operator, note)
    return known.on_this_machine(target.source, identity.source, identity.stored_in, supabase_url=target.supabase_url)
