"""Sessions of a server's clients: the client keeps its tokens, and the server stores nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bazar_cli.domain import auth as use_cases
from bazar_cli.domain.auth import KnownSession, LoggedOut, Login, Logout, RenewSession, StartedSession
from bazar_cli.domain.errors import BackendUnavailable, Conflict, NotSignedIn, UsageError
from bazar_cli.domain.target import Identity, IdentitySource, Session
from bazar_cli.domain.users.values import normalized_email
from bazar_cli.services.gate.gate import describe_operator

if TYPE_CHECKING:
    from bazar_cli.domain.authz.spec import Grant
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.bearer import Bearer
    from bazar_cli.services.gate.gate import Prover


def login(backends: Backends, prover: Bearer, request: Login) -> StartedSession:
    """Sign in with email and password, and hand out the session. It makes nobody the first superuser.

    Raises: UsageError `users.email_invalid`, `auth.password_empty`; NotSignedIn when Supabase refuses;
    BackendUnavailable if Supabase does not answer, `auth.too_many_sign_ins` after many refusals.
    """
    email = normalized_email(request.email)
    if not request.password.reveal():
        raise UsageError("auth.password_empty", "the password is empty", hint="give the password of the user")
    with prover.counting_sign_in(email), backends.auth() as client:
        session = client.sign_in(email, request.password)
    return _started(backends, session)


def renew(backends: Backends, _prover: Prover, request: RenewSession) -> StartedSession:
    """Exchange a refresh token for new tokens; the old refresh token ends.

    Raises: NotSignedIn `auth.session_expired`; BackendUnavailable.
    """
    if not request.refresh_token.reveal().strip() or "\0" in request.refresh_token.reveal():
        # Supabase Auth answers 500 to a NUL (recorded).
        raise NotSignedIn("auth.session_expired", "the refresh token is not one of Supabase Auth", hint="sign in again")
    with backends.auth() as client:
        return _started(backends, client.refresh(request.refresh_token))


def logout(backends: Backends, prover: Prover, request: Logout) -> LoggedOut:
    """End the session of the request's token, or with `everywhere` all sessions of its user.

    Raises: NotSignedIn without a valid token; with `everywhere` BackendUnavailable.
    """
    identity = prover.current()
    ended: bool | None = True
    try:
        with backends.auth() as client:
            client.sign_out(identity.access_token, "global" if request.everywhere else "local")
    except NotSignedIn:
        ended = True  # Supabase has ended it before.
    except BackendUnavailable:
        if request.everywhere:
            raise
        ended = None
    return LoggedOut(was_signed_in=True, at_supabase=ended, everywhere=request.everywhere)


def status(backends: Backends, prover: Prover, _request: None = None) -> KnownSession:
    """Return the user of the request's token, as Supabase confirms it now; `note` says why it does not.

    Raises: NotSignedIn, also for a revoked session; BackendUnavailable if Postgres does not answer.
    """
    identity, note = prover.current(), None
    try:
        identity = prover.confirm(identity)
    except (BackendUnavailable, Conflict) as error:
        note = error.message
    return KnownSession.of(identity, describe_operator(backends, identity), note)


def may_renew(_backends: Backends, grant: Grant, _request: None = None) -> KnownSession:
    """Return the session of the request's token, which the operator may renew."""
    grant.demand(use_cases.REFRESH)
    return _granted(grant)


def may_use_token(_backends: Backends, grant: Grant, _request: None = None) -> KnownSession:
    """Return the session of the request's token, which the operator may hand to scripts."""
    grant.demand(use_cases.TOKEN)
    return _granted(grant)


def _granted(grant: Grant) -> KnownSession:
    assert grant.identity is not None, "only a dry run has no identity"
    return KnownSession.of(grant.identity, grant.operator)


def _started(backends: Backends, session: Session) -> StartedSession:
    identity = Identity(
        user_id=session.user_id,
        email=session.email,
        session_id=None,
        access_token=session.access_token,
        expires_at=session.expires_at,
        source=IdentitySource.BEARER,
    )
    try:
        operator, note = describe_operator(backends, identity), None
    except BackendUnavailable as error:
        # The sign-in is done; later requests ask Postgres again.
        operator, note = None, error.message
    known = KnownSession.of(identity, operator, note)
    return StartedSession(replace(known, confirmed=True), session.access_token, session.refresh_token)
