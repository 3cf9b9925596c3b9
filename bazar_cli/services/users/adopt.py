"""`users adopt`: an identity that lives only at Supabase becomes a user, with the id it has (`two_systems`).

The row is committed with `pending create` and the origin `adopted`. Then the identity is stamped. Then the row is
settled. The identity was there before and is never deleted.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, User, UserState
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, NotFound
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import AdoptedUser, AdoptUser, CreateUser
from bazar_cli.domain.users.identities import ADOPTED, BAN, CREATED, Failure, IdentityRefused, StoredIdentity
from bazar_cli.domain.users.values import checked_name, normalized_email
from bazar_cli.services.users import intent, leases, new_user, suspend, two_systems
from bazar_cli.services.users.errors import refused_by_supabase, same_address, user_pending
from bazar_cli.services.users.new_user import NewUser, Wanted
from bazar_cli.services.users.operation import Claim, Operation, Systems

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends


def adopt(backends: Backends, grant: Grant, request: AdoptUser) -> AdoptedUser:
    """Take in the identity with an address, or finish what an earlier run of the same command began.

    An identity that is banned becomes a suspended user, and its ban lasts as that of `users suspend` does: a ban that
    ended by itself would let in at Supabase a user who is suspended here. A user with the values given, who has this
    identity already, is not changed.
    Raises: UsageError for a value that breaks a rule; NotFound `users.identity_not_found`, `orgs.not_found`;
    Conflict `users.other_deployment`, `users.identity_deleted`, `users.identity_differs`, `users.identity_missing`,
    `users.email_differs`, `users.differs`, `users.pending`, `users.taken_over`; BackendUnavailable
    `users.adopt_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.ADOPT)
    wanted = Wanted(normalized_email(request.email), checked_name(request.name))
    systems = Systems.opened(backends, grant)
    identity = systems.admin.find_by_email(wanted.email)

    with intent.begun(
        systems, lambda connection, lease: _begin(systems, connection, request, wanted, identity, lease)
    ) as adoption:
        if isinstance(adoption, User):
            return AdoptedUser(adoption, adopted=False, confirmed=identity is None or identity.is_confirmed)
        if grant.dry_run:
            two_systems.foresee(adoption)
            user = replace(adoption.user, state=adoption.state)
        else:
            user = two_systems.complete(adoption)
        assert adoption.identity is not None, "an identity that is gone cannot be adopted"
        confirmed = adoption.identity.is_confirmed
        return AdoptedUser(user, adopted=True, confirmed=confirmed, ban_ended=adoption.end_of_ban())


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin(
    systems: Systems,
    connection: Connection,
    request: AdoptUser,
    wanted: Wanted,
    identity: StoredIdentity | None,
    lease: uuid.UUID,
) -> _Adoption | User:
    """Commit the intent, take over an unfinished one, or find the same user there."""
    from bazar_cli.adapters.postgres.users import users

    organization = new_user.organization_of(connection, systems.grant, request.organization)
    row_rules.may_create_user(systems.grant, organization, wanted.role)
    held = users.lock_by_email(connection, wanted.email)
    if held is not None:
        if held.leased:
            raise leases.Busy(held.user.email)
        asked = CreateUser(wanted.email, name=request.name, organization=request.organization)
        different = new_user.differences(asked, wanted, organization, held.user)
        if not held.adopted or held.user.pending is not Pending.CREATE:
            return _existing_user(held, identity, different)
        if different:
            raise new_user.differs(wanted.email, different, "an unfinished user with the email {email}")
        claim = intent.take(connection, held, Pending.CREATE, lease)
        return _Adoption(systems=systems, claim=claim, user=replace(held.user, pending=None))
    if identity is None:
        raise _not_found(wanted.email)
    unfit = _unfit(identity, wanted.email, users.deployment(connection))
    if unfit is not None:
        raise unfit
    other = users.lock_by_id(connection, identity.id)
    if other is not None:
        raise (
            leases.Busy(other.user.email)
            if other.leased
            else _another_address(identity, other.user.email, same_address(other.user.email))
        )
    claim, user = new_user.insert(
        systems, connection, wanted, organization, identity.id, lease, adopted_as=_state_of(identity)
    )
    return _Adoption(systems=systems, claim=claim, user=user)


def _existing_user(held: LockedUser, identity: StoredIdentity | None, different: list[str]) -> User:
    """Return the user with this email, if it is the identity's and has the values given."""
    user = held.user
    if user.pending is not None:
        raise user_pending(user.email, user.pending)
    if identity is None:
        raise Conflict(
            "users.identity_missing",
            f"{user.email} is a user of this Bazar, and no identity at Supabase has the address",
            hint="compare both systems with `bazar doctor`",
            details={"user_id": str(user.id), "email": user.email},
        )
    if identity.id != user.id:
        raise Conflict(
            "users.identity_differs",
            f"{user.email} is a user of this Bazar with another id than the identity at Supabase has",
            hint="compare both systems with `bazar doctor`, then delete the one that is not wanted",
            details={"user_id": str(user.id), "identity_id": str(identity.id), "email": user.email},
        )
    if different:
        raise new_user.differs(user.email, different, "a user with the email {email}")
    return user


# -- at Supabase ------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Adoption(NewUser):
    """The identity gets the stamp of this deployment, and a ban that would end lasts."""

    banned: datetime | None = None
    """The old end of a ban that this command made permanent."""

    def impossible(self, _owner: StoredIdentity | None, /) -> BazarError | None:
        if self.identity is None:
            return _vanished(self.claim.email)
        return _unfit(self.identity, self.claim.email, self.claim.deployment)

    def as_wanted(self) -> bool:
        identity = self.identity
        return identity is not None and self.is_stamped and identity.origin == self.origin and _ends(identity) is None

    def call(self) -> StoredIdentity:
        """Stamp the identity, and with the same request ban it for good if it is banned."""
        identity, claim = self.identity, self.claim
        assert identity is not None, "an identity that is gone cannot be adopted"
        self.banned = _ends(identity)
        ban = self.banned is not None
        self.systems.admin.stamp(claim.id, claim.deployment, self.origin, ban=ban)
        until = _now() + BAN if ban else identity.banned_until
        return replace(identity, deployment=claim.deployment, origin=self.origin, banned_until=until)

    def refused(self, refusal: IdentityRefused) -> BazarError:
        return _vanished(self.claim.email) if refusal.not_found else refused_by_supabase(self.claim.email, refusal)

    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        message = f"Supabase Auth did not say whether it wrote the stamp of this Bazar on {self.claim.email}"
        return self.outcome_unknown("users.adopt_unfinished", message, unknown)

    def settle(self, connection: Connection) -> bool:
        """Write the state and the origin too: the ban at Supabase may have changed meanwhile."""
        from bazar_cli.adapters.postgres.users import changes

        changes.write_adopted(connection, self.claim.id, self.claim.lease, self.state, self.origin)
        return super().settle(connection)

    def lost(self, row: User | None, /) -> None:
        """Lift the ban again that this command made last, if the user was restored by then."""
        super().lost(row)
        if self.banned is not None:
            two_systems.set_right(self, suspend.state_again)

    def withdraw(self) -> None:
        self.systems.admin.unstamp(self.claim.id)

    def note(self) -> str:
        ended = self.end_of_ban()
        return "" if ended is None else f"banned for good, where the ban would have ended at {ended.isoformat()}"

    @property
    def origin(self) -> str:
        """Return the origin to stamp: an identity that this deployment created keeps it, as after `db reset`."""
        created = self.identity is not None and self.is_stamped and self.identity.origin == CREATED
        return CREATED if created else ADOPTED

    @property
    def state(self) -> UserState:
        return UserState.ACTIVE if self.identity is None else _state_of(self.identity)

    def end_of_ban(self) -> datetime | None:
        """Return when a ban would have ended, or in a dry run would end, that lasts by this adoption."""
        return self.banned or (None if self.identity is None else _ends(self.identity))


def take_up(systems: Systems, _connection: Connection, held: LockedUser, claim: Claim) -> Operation:
    """Continue an unfinished adoption."""
    return _Adoption(systems=systems, claim=claim, user=held.user)


def _unfit(identity: StoredIdentity, email: str, deployment: uuid.UUID) -> Conflict | None:
    """Return why an identity cannot be adopted as the user with this address; None where it can."""
    if identity.is_deleted:
        return Conflict(
            "users.identity_deleted",
            f"the identity of {email} was deleted at Supabase, which keeps the id; it can never sign in again",
            hint="delete it there for good, then create the user",
            details={"identity_id": str(identity.id), "email": email},
        )
    if identity.deployment not in {None, deployment}:
        return Conflict(
            "users.other_deployment",
            f"{email} belongs to another Bazar, the deployment {identity.deployment}",
            hint="delete the user from that Bazar first, or check your target with `bazar config show`",
            details={"identity_id": str(identity.id), "email": email, "deployment": str(identity.deployment)},
        )
    if identity.email != email:
        there = (
            f"`{command_line('users adopt', identity.email)}`" if identity.email else "one by which it can be adopted"
        )
        hint = f"change it back there and run the command again, or take it in as {there}"
        return _another_address(identity, email, hint)
    return None


def _state_of(identity: StoredIdentity) -> UserState:
    return UserState.SUSPENDED if identity.is_banned(_now()) else UserState.ACTIVE


def _ends(identity: StoredIdentity) -> datetime | None:
    """Return when the ban of the identity ends; None without a ban, and for one that lasts."""
    now = _now()
    return identity.banned_until if identity.is_banned(now) and not identity.is_banned_for_good(now) else None


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _not_found(email: str) -> NotFound:
    return NotFound(
        "users.identity_not_found",
        f"no identity at Supabase has the address {email}",
        hint="check the address, or create the user with `bazar users create`",
        details={"email": email},
    )


def _vanished(email: str) -> NotFound:
    return NotFound(
        "users.identity_not_found",
        f"the identity of {email} is no longer at Supabase",
        hint="create the user with `bazar users create`; adopt again if another identity has the address by now",
        details={"email": email},
    )


def _another_address(identity: StoredIdentity, email: str, hint: str) -> Conflict:
    return Conflict(
        "users.email_differs",
        f"the identity of {email} has the address {identity.email} at Supabase",
        hint=hint,
        details={"user_id": str(identity.id), "email": email, "supabase_email": identity.email},
    )
