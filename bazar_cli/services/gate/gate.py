"""The gate: from a verified token to a Grant, or an explained denial (docs/permissions.md).

Every command passes it before it acts. Only the gate mints Grants, reads operators without a Grant, and records the
one event of a denial.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar
from uuid import UUID

from bazar_cli.domain.authz.policy import command_of, decide, decide_bootstrap
from bazar_cli.domain.authz.spec import Access, Denial, Grant, Operator, Spec
from bazar_cli.domain.errors import (
    BackendUnavailable,
    Conflict,
    Denied,
    NotSignedIn,
    OutOfReach,
    RightsChanged,
    SessionNotFound,
    StoreUnusable,
)
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.gate.performer import UseCase

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.gate import OperatorLookup
    from bazar_cli.domain.target import Identity


Request = TypeVar("Request")
Result = TypeVar("Result")


class Prover(Protocol):
    """Finds and proves the identity of an operator: `Identities` for a command, `Bearer` for a request to a server."""

    @property
    def may_bootstrap(self) -> bool:
        """Whether the first superuser may come in."""
        ...

    def begin_command(self, hide: Callable[[str], None]) -> None:
        """Find and prove the identity once more."""
        ...

    def current(self) -> Identity:
        """Return the verified identity. Raises: NotSignedIn; BackendUnavailable."""
        ...

    def confirm(self, identity: Identity) -> Identity:
        """Ask Supabase Auth whether the session is still valid. Raises: NotSignedIn; BackendUnavailable."""
        ...

    def superuser(self, *, create: bool, user_id: UUID | None = None) -> Identity | None:
        """Sign in as the first superuser, for bootstrap."""
        ...


class Gate:
    """Decides what an operator may do on one target."""

    def __init__(self, backends: Backends, identities: Prover) -> None:
        self._backends = backends
        self._identities = identities

    def authorize(self, spec: Spec, request: object, dry_run: bool = False) -> Grant:
        """Return the Grant for `spec` with `request`.

        For a command that writes, Supabase confirms the session, so that a revoked token stops writing at once.

        Raises: NotSignedIn; Denied with the reason, after recording it; Conflict `db.not_migrated` where Postgres has
        no operators yet; BackendUnavailable.
        """
        if spec.access is Access.PUBLIC:
            raise ValueError(f"{spec.name} is public and needs no decision")
        identity = self._find_identity(spec, create=spec.writes and not dry_run)
        if identity is None:
            return self._grant_without_identity(spec)
        if spec.writes:
            identity = self._identities.confirm(identity)
        lookup = _look_up(self._backends, identity, spec)
        decision = self._decide(identity, lookup, spec, request, dry_run=dry_run)
        if isinstance(decision, Grant):
            return decision
        if not lookup.superuser_exists and self._is_open(spec):
            # The address in a token may be out of date: the address that Supabase has now decides.
            identity = self._identities.confirm(identity)
            grant = decide_bootstrap(
                identity.user_id, identity.email, spec, self._backends.request_id, dry_run=dry_run, identity=identity
            )
            if grant is not None and self._is_first_superuser(identity):
                return grant
        note = self._deny(identity, spec, request, lookup, decision, dry_run=dry_run)
        raise Denied(decision.code, decision.message, hint=decision.hint + note, details=decision.details)

    def offer(self, spec: Spec, request: object) -> Grant | Denial:
        """Return the Grant or the denial for a part of a command; a denial is not recorded.

        Raises: NotSignedIn; Conflict `db.not_migrated`, `db.no_database`; BackendUnavailable.
        """
        if spec.writes:
            raise ValueError(f"{spec.name} writes and must be authorized, which records a denial")
        identity = self._identities.current()
        return self._decide(identity, _look_up(self._backends, identity, spec), spec, request, dry_run=False)

    def foresee(self, operator: Operator, spec: Spec, request: object) -> Denial | None:
        """Return the denial that an operator with planned rights would get; it is not recorded, and no Grant is made.

        Parameters: `operator` has the plan, permissions and memberships that earlier changes leave them.
        """
        request_id = self._backends.request_id
        decision = decide(operator, spec, request, request_id, dry_run=True, identity=None)
        return decision if isinstance(decision, Denial) else None

    def perform(
        self, use_case: UseCase[Request, Result], spec: Spec, request: Request, *, dry_run: bool = False
    ) -> Result:
        """Authorize, then run the use case with the Grant; a denial by the row rules is recorded too.

        If the operator's rights changed before anything was written, both steps are repeated once. If the database
        does not have the operator's session, Supabase says whether it has ended.
        Raises: as `authorize` and the use case; RightsChanged when the new rights do not allow it.
        """
        grant = self.authorize(spec, request, dry_run)
        database = self._backends.database()
        commits = database.commits
        try:
            try:
                return use_case(self._backends, grant, request)
            except RightsChanged:
                if database.commits > commits:
                    raise
            return self._repeat(use_case, spec, request, dry_run=dry_run)
        except Denied as denied:
            if not dry_run:
                denial = Denial(denied.code, denied.message, denied.hint, denied.details)
                denied.hint += self._record(self._identities.current(), spec, request, denial)
            raise
        except SessionNotFound:
            self._identities.confirm(self._identities.current())
            raise

    def prepared(self, use_case: UseCase[Request, Result], spec: Spec, request: Request) -> Callable[[Request], Result]:
        """Authorize once, and return the use case for several requests, such as the pages of a list.

        Raises: as `authorize`.
        """
        grant = self.authorize(spec, request)
        return lambda asked: use_case(self._backends, grant, asked)

    def _repeat(self, use_case: UseCase[Request, Result], spec: Spec, request: Request, *, dry_run: bool) -> Result:
        """Decide with the present rights, and run the use case if they allow it.

        Raises: RightsChanged when they do not allow it or changed again; as the use case.
        """
        identity = self._identities.current()
        decision = self._decide(identity, _look_up(self._backends, identity, spec), spec, request, dry_run=dry_run)
        if isinstance(decision, Denial):
            refusal = Denied(decision.code, decision.message, hint=decision.hint, details=decision.details)
            raise RightsChanged(refusal)
        try:
            return use_case(self._backends, decision, request)
        except (Denied, OutOfReach) as refusal:
            raise RightsChanged(refusal) from refusal

    def prove(self) -> UUID:
        """Prove the identity before a request is read; return the user's id. Raises: as `Prover.current`."""
        return self._identities.current().user_id

    def perform_public(self, use_case: Callable[[Backends, Prover, Request], Result], request: Request) -> Result:
        """Run a public use case of a server, which needs no Grant. Raises: as the use case."""
        return use_case(self._backends, self._identities, request)

    def prove_again(self) -> None:
        """Find and prove the operator's identity once more at the next decision, as another command would.

        A long command calls it each minute, while none of its threads uses this gate.
        """
        self._identities.begin_command(lambda _token: None)

    @contextmanager
    def with_own_connections(self) -> Generator[Gate]:
        """Lend a gate of the same operator and target with separate connections, for another thread.

        The caller has confirmed the identity: this gate does not ask Supabase again.
        """
        with Backends(self._backends.target, self._backends.request_id, self._backends.kept) as backends:
            yield Gate(backends, self._identities)

    def _decide(
        self, identity: Identity, lookup: OperatorLookup, spec: Spec, request: object, *, dry_run: bool
    ) -> Grant | Denial:
        if lookup.operator is not None:
            return decide(lookup.operator, spec, request, self._backends.request_id, dry_run=dry_run, identity=identity)
        return self._unknown_operator(identity, spec, lookup)

    def _find_identity(self, spec: Spec, *, create: bool) -> Identity | None:
        """Return the signed-in identity, or for a bootstrap command the first superuser of a system without one.

        Without `create`, None when Supabase does not have that first superuser yet.
        """
        target = self._backends.target
        try:
            return self._identities.current()
        except (NotSignedIn, BackendUnavailable, StoreUnusable) as error:
            signed_out = isinstance(error, NotSignedIn)
            unusable = isinstance(error, StoreUnusable) or error.code == "keyring.unavailable"
            if not self._is_open(spec) or not (signed_out or unusable):
                raise
            if _look_up(self._backends, None, spec).superuser_exists:
                raise
            if target.superuser_email is None or target.superuser_password is None:
                if signed_out:
                    raise _no_first_superuser(error) from error
                raise
        user_id = id_of_address(self._backends, target.superuser_email)
        if create:
            _refuse_where_read_only(self._backends)
        return self._identities.superuser(create=create, user_id=user_id)

    def _grant_without_identity(self, spec: Spec) -> Grant:
        """Return a dry-run Grant for a first superuser who is still to be created.

        An operator with SUPERUSER_* and the service key could create that superuser with `bazar db migrate`, so they
        may look before they do. No user has the nil UUID.
        """
        email = (self._backends.target.superuser_email or "").lower()
        user_id = id_of_address(self._backends, email) or UUID(int=0)
        grant = decide_bootstrap(user_id, email, spec, self._backends.request_id, dry_run=True, identity=None)
        assert grant is not None, f"{spec.name} is not a bootstrap command"
        return grant

    def _is_open(self, spec: Spec) -> bool:
        """Whether the first superuser may run a command before there is one."""
        return spec.bootstrap and self._identities.may_bootstrap

    def _is_first_superuser(self, identity: Identity) -> bool:
        named = self._backends.target.superuser_email
        return named is not None and named.lower() == identity.email.lower()

    def _unknown_operator(self, identity: Identity, spec: Spec, lookup: OperatorLookup) -> Denial:
        from bazar_cli.adapters.postgres.gate import SchemaState

        if lookup.schema_state is not SchemaState.READY and not (
            self._is_open(spec) and self._is_first_superuser(identity)
        ):
            raise _no_database(self._backends) if lookup.schema_state is SchemaState.NO_DATABASE else _not_migrated()
        return Denial(
            code="access.unknown_operator",
            message=f"{identity.email} is signed in, but is not a user of this Bazar; {command_of(spec)} is denied",
            hint="ask a superuser to add you, or check which target you use with `bazar config show`",
            details={"email": identity.email},
        )

    def _deny(
        self, identity: Identity, spec: Spec, request: object, lookup: OperatorLookup, denial: Denial, *, dry_run: bool
    ) -> str:
        from bazar_cli.adapters.postgres.gate import SchemaState

        return (
            self._record(identity, spec, request, denial)
            if lookup.schema_state is SchemaState.READY and not dry_run
            else ""
        )

    def _record(self, identity: Identity, spec: Spec, request: object, denial: Denial) -> str:
        """Append the event of a denial; return an addition to its hint where a read-only database has no event."""
        from bazar_cli.adapters.postgres.gate import append_denial

        try:
            append_denial(self._backends.database(), identity, spec, request, denial, self._backends.request_id)
        except BackendUnavailable as error:
            if error.code != "postgres.read_only":
                raise
            return f"; {error.message}, so the audit log does not have this denial"
        return ""


def describe_operator(backends: Backends, identity: Identity) -> Operator | None:
    """Return what Postgres has about the signed-in identity, for `auth status`.

    Raises: BackendUnavailable.
    """
    return _load_operator(backends, identity).operator


def id_of_address(backends: Backends, email: str) -> UUID | None:
    """Return the id of the user with the first superuser's address in Postgres, if there is one.

    The caller has proven that no superuser exists. Raises: BackendUnavailable.
    """
    from bazar_cli.adapters.postgres.gate import find_id

    return find_id(backends.database(), backends.target, email.lower())


def has_active_superuser(backends: Backends, before: Spec | None = None) -> bool | None:
    """Say whether an active superuser on Premium exists; None where there are no tables to look in.

    Parameters: `before` is a bootstrap command that a caller prepares.
    Raises: BackendUnavailable; with `before` Conflict `db.no_database`, `db.urls_differ` as that command would.
    """
    from bazar_cli.adapters.postgres.gate import SchemaState

    lookup = _load_operator(backends, None) if before is None else _look_up(backends, None, before)
    return lookup.superuser_exists if lookup.schema_state is SchemaState.READY else None


def _look_up(backends: Backends, identity: Identity | None, spec: Spec) -> OperatorLookup:
    """Read what Postgres has for a command, before an identity is created for it.

    Raises: Conflict `db.no_database`, `db.urls_differ`; BackendUnavailable.
    """
    from bazar_cli.adapters.postgres.gate import SchemaState

    lookup = _load_operator(backends, identity)
    if lookup.schema_state is SchemaState.NO_DATABASE and not spec.without_database:
        raise _no_database(backends)
    if spec.bootstrap and not lookup.superuser_exists:
        _check_migration_url(backends)
    return lookup


def _refuse_where_read_only(backends: Backends) -> None:
    from bazar_cli.adapters.postgres.gate import refuse_where_read_only

    refuse_where_read_only(backends.database(), backends.target)


def _load_operator(backends: Backends, identity: Identity | None) -> OperatorLookup:
    from bazar_cli.adapters.postgres.gate import load_operator

    return load_operator(backends.database(), backends.target, identity.user_id if identity else None)


def _check_migration_url(backends: Backends) -> None:
    """Check that DATABASE_MIGRATION_URL, which may name another database, has no superuser either.

    Raises: Conflict `db.urls_differ`; BackendUnavailable.
    """
    if backends.target.migration_url is None:
        return
    with Backends(backends.target.to_migrate, backends.request_id) as migrated:
        if _load_operator(migrated, None).superuser_exists:
            from bazar_cli.domain.db.marker import urls_differ

            raise urls_differ()


def _no_first_superuser(error: NotSignedIn) -> NotSignedIn:
    return NotSignedIn(
        error.code,
        f"{error.message}, and this Bazar has no superuser yet",
        hint="name the first superuser by SUPERUSER_EMAIL and SUPERUSER_PASSWORD, both where the target is set, and"
        " run the command again",
        details=error.details,
    )


def _no_database(backends: Backends) -> Conflict:
    from bazar_cli.adapters.postgres.errors import absent

    return absent(backends.target)


def _not_migrated() -> Conflict:
    from bazar_cli.domain.db.migrations import CHANGED_BY_HAND

    return Conflict(
        "db.not_migrated",
        "the database has no bazar tables yet, or its view bazar.operators is gone",
        hint=f"run `bazar db migrate` as SUPERUSER_EMAIL; {CHANGED_BY_HAND}",
    )
