"""`users create`: one user in both systems (`two_systems`).

The row is committed with `pending create`, or `pending invite`. Then the identity is created with the row's id, and the
invitation is mailed. Then the row is settled.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Organization, Pending, Plan, Role, User
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, UsageError
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.identities import CREATED, Failure, IdentityRefused, NewIdentity, StoredIdentity
from bazar_cli.domain.users.users import (
    CreatedUser,
    CreateUser,
    checked_hash,
    checked_name,
    checked_password,
    normalized_email,
)
from bazar_cli.services.users import leases, new_user, two_systems
from bazar_cli.services.users.errors import refused_by_supabase, same_address, user_pending
from bazar_cli.services.users.ids import time_ordered_uuid
from bazar_cli.services.users.invite import Invitation
from bazar_cli.services.users.new_user import NewUser, Wanted
from bazar_cli.services.users.passwords import generated_password, hash_of_no_password
from bazar_cli.services.users.two_systems import Claim, Operation, Systems

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends

_NO_PASSWORD = "no password was set here; let the user set one: `bazar users reset-password EMAIL`"  # noqa: S105


def create(backends: Backends, grant: Grant, request: CreateUser, *, chosen_id: uuid.UUID | None = None) -> CreatedUser:
    """Create a user in both systems, or finish what an earlier run of the same command began.

    Parameters: `chosen_id` is for a new user; an identity with it that bears this deployment's stamp and the address
    becomes theirs again.
    Raises: UsageError for a value that breaks a rule; NotFound for an unknown organization; Denied by the
    row rules; Conflict `users.email_exists`, `users.differs`, `users.email_at_supabase`, `users.email_differs`,
    `users.pending`, `users.taken_over` when it was held up for so long that another command went on with it;
    BackendUnavailable `users.create_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.CREATE)
    if chosen_id is not None:
        row_rules.may_choose_id(grant)
    wanted = _checked(request)
    systems = Systems.opened(backends, grant)

    with two_systems.begun(
        systems, lambda connection, lease: _begin(systems, connection, request, wanted, lease, chosen_id)
    ) as creation:
        if isinstance(creation, User):
            return CreatedUser(creation, created=False)
        if grant.dry_run:
            two_systems.foresee(creation)
            provisional = not creation.claim.resumed
            return CreatedUser(creation.user, created=True, id_is_provisional=provisional, planned=True)
        user = two_systems.complete(creation)
    shown = wanted.plain if wanted.generated and creation.password_set else None
    kept = not creation.password_set and (wanted.plain or wanted.bcrypt_hash) is not None
    return CreatedUser(user, created=True, password=shown, invited=creation.invited, password_kept=kept)


def _checked(request: CreateUser) -> Wanted:
    password = request.password
    plain = bcrypt_hash = None
    generated = False
    if password is not None and password.generate:
        plain, generated = generated_password(), True
    elif password is not None and password.plain is not None:
        plain = checked_password(password.plain)
    elif password is not None and password.bcrypt_hash is not None:
        bcrypt_hash = checked_hash(password.bcrypt_hash)
    if request.role is not None and request.organization is None:
        raise UsageError(
            "users.role_without_org",
            f"--role {request.role} needs an organization",
            hint="add --org ORG, or leave --role out",
        )
    return Wanted(
        email=normalized_email(request.email),
        name=checked_name(request.name),
        plan=request.plan or Plan.FREE,
        role=request.role or Role.MEMBER,
        plain=plain,
        bcrypt_hash=bcrypt_hash,
        generated=generated,
        invite=request.invite,
    )


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin(
    systems: Systems,
    connection: Connection,
    request: CreateUser,
    wanted: Wanted,
    lease: uuid.UUID,
    chosen_id: uuid.UUID | None,
) -> Creation | User:
    """Commit the intent, take over an unfinished one, or find the same user there."""
    from bazar_cli.adapters.postgres.users import users

    grant = systems.grant
    organization = new_user.organization_of(connection, grant, request.organization)
    where = (organization.id, organization.slug) if organization else (None, None)
    row_rules.may_create_user(grant, *where, wanted.role)
    held = users.lock_by_email(connection, wanted.email)
    if held is None:
        user_id = chosen_id or time_ordered_uuid()
        claim, user = new_user.insert(systems, connection, wanted, organization, user_id, lease)
        return Creation(systems=systems, claim=claim, user=user, wanted=wanted)
    if held.leased:
        raise leases.Busy(held.user.email)
    seen = users.find(connection, grant.reach, str(held.user.id))
    if held.user.pending is not wanted.pending or held.adopted or seen is None:
        return _existing_user(request, wanted, organization, held, seen)
    different = new_user.differences(request, wanted, organization, held.user, unfinished=True)
    if different:
        raise new_user.differs(wanted.email, different, "an unfinished user with the email {email}")
    claim = two_systems.take(connection, held, wanted.pending, lease)
    return Creation(systems=systems, claim=claim, user=replace(seen, pending=None), wanted=wanted)


def _existing_user(
    request: CreateUser, wanted: Wanted, organization: Organization | None, held: LockedUser, seen: User | None
) -> User:
    """Return the complete user with this email, if --if-not-exists asks for nothing else.

    Parameters: `seen` is the user as the operator may see it; of one out of reach only the address is named.
    """
    from bazar_cli.adapters.postgres.users import changes

    existing = held.user
    begun = existing.pending if existing.pending in {Pending.CREATE, Pending.INVITE} else None
    if seen is not None and begun is not None:
        # This command would go on with it in another way than it was begun.
        raise user_pending(existing.email, begun, adopted=held.adopted)
    if not request.if_not_exists or seen is None:
        raise changes.email_taken(wanted.email)
    if existing.pending is not None:
        raise user_pending(existing.email, existing.pending, adopted=held.adopted)
    different = new_user.differences(request, wanted, organization, existing)
    if different:
        raise new_user.differs(wanted.email, different, "a user with the email {email}")
    return seen


# -- at Supabase ------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Creation(NewUser):
    """The identity is created with the row's id; one that an earlier run created gets the password, if any."""

    claims_address = True

    wanted: Wanted
    created: bool = False
    """The identity was not there before this command."""
    answered: bool = False
    """Supabase said that the identity has the password of this command."""
    invited: bool = False

    @property
    def looks_first(self) -> bool:
        """Look for what an earlier run made."""
        return self.claim.resumed

    @property
    def password_set(self) -> bool:
        """Whether the identity has the password of this command: also if only the answer of Supabase was lost."""
        return self.answered or not self.claim.resumed

    def impossible(self, owner: StoredIdentity | None, /) -> Conflict | None:
        """Return an error for an address that is taken, and for an identity with the id that is not the user's."""
        email, identity = self.claim.email, self.identity
        if identity is None:
            return None if owner is None else self.address_taken(owner)
        if not self.is_stamped or identity.is_deleted:
            return Conflict(
                "users.id_taken",
                f"another identity at Supabase has the id that was chosen for {email}",
                hint="run the command again: it chooses a new id",
                details={"user_id": str(self.claim.id)},
            )
        if identity.email != email:
            return Conflict(
                "users.email_differs",
                f"the identity of {email} has the address {identity.email} at Supabase",
                hint=f"change it back there, or delete both: `{command_line('users delete', email, confirm=email)}`",
                details={"user_id": str(self.claim.id), "email": email, "supabase_email": identity.email},
            )
        return None

    def as_wanted(self) -> bool:
        """Say whether the identity is there, with the password if it may still get one.

        A hash stays as the first run sent it, because Supabase ignores one in an update.
        """
        identity = self.identity
        return identity is not None and (self.password_set or self.wanted.plain is None or identity.has_signed_in)

    def call(self) -> StoredIdentity:
        """Create the identity, or set the password of one that is there."""
        claim, wanted, admin = self.claim, self.wanted, self.systems.admin
        if self.identity is not None and wanted.plain is not None:
            admin.set_password(claim.id, wanted.plain)
            self.answered = True
            return self.identity
        self.created = True
        new = NewIdentity(
            id=claim.id,
            email=claim.email,
            deployment=claim.deployment,
            origin=CREATED,
            password=wanted.plain,
            password_hash=None if wanted.plain else wanted.bcrypt_hash or hash_of_no_password(),
            confirmed=not wanted.invite,
        )
        admin.create(new)
        self.answered = True
        return StoredIdentity(
            new.id, new.email, new.deployment, has_signed_in=False, is_confirmed=new.confirmed, origin=new.origin
        )

    def refused(self, refusal: IdentityRefused) -> BazarError:
        """Return the error for an address or a password that Supabase does not take."""
        if refusal.code == "email_exists":
            return self.address_taken(None)
        return refused_by_supabase(self.claim.email, refusal)

    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        """Return the error for an identity that may be there or not."""
        unsaid = "has"
        if self.asked:
            unsaid = "created" if self.identity is None else "set the password of"
        return self.create_unfinished(f"{unsaid} {self.claim.email}", unknown)

    def create_unfinished(self, unsaid: str, unknown: Failure) -> BackendUnavailable:
        """Return the error for a step of the creation; `unsaid` is what Supabase may have done."""
        message = f"Supabase Auth did not say whether it {unsaid}"
        return self.outcome_unknown("users.create_unfinished", message, unknown)

    def undo(self, why: BazarError, /) -> None:
        """Remove the row. Others than this operator may read the event, so it names no other user."""
        super().undo(self.address_taken(None) if "user_email" in why.details else why)

    def lost(self, row: User | None, /) -> None:
        """Show no password that another command may have replaced."""
        super().lost(row)
        if self.wanted.plain is not None or self.wanted.bcrypt_hash is not None:
            raise two_systems.taken_over(self.claim.email, "finished the user, perhaps with another password")

    def withdraw(self) -> None:
        """Delete the identity that this command made."""
        if self.password_set:
            self.systems.admin.delete(self.claim.id)

    def note(self) -> str:
        """Return that nobody has a password of an identity which the doctor made."""
        made = self.created or self.identity is None
        return _NO_PASSWORD if made and not self.wanted.invite else ""

    def steps(self) -> Iterator[Operation]:
        """Yield the creation, then the invitation."""
        yield self
        if self.wanted.invite:
            invitation = Invitation(
                systems=self.systems, claim=self.claim, user=self.user, identity=self.identity, creation=self
            )
            yield invitation
            self.invited = invitation.sent

    def address_taken(self, owner: StoredIdentity | None) -> Conflict:
        """Return the error for an address that an identity at Supabase has.

        A user whom the operator cannot see is not named.
        """
        from bazar_cli.adapters.postgres.users import users

        grant, email = self.systems.grant, self.claim.email
        message, details = f"{email} is taken at Supabase", {"email": email}
        hint = "use another address, or let a superuser compare both systems with `bazar doctor`"
        if owner is not None:
            with self.systems.backends.database().read(grant) as connection:
                is_user = users.is_there(connection, owner.id)
                user = users.find(connection, grant.reach, str(owner.id)) if is_user else None
            if not is_user:
                message = f"{email} has an identity at Supabase that is no user of this Bazar"
                adopt = command_line("users adopt", email)
                hint = f"use another address, or let a superuser take the identity in: `{adopt}`"
            elif user is not None:
                message = f"{email} is the address at Supabase of {user.email}, who is a user of this Bazar"
                hint = same_address(user.email)
                if not grant.operator.is_superuser:
                    hint = f"use another address, or let a superuser {hint}"
                details |= {"user_id": str(user.id), "user_email": user.email}
        return Conflict("users.email_at_supabase", message, hint=hint, details={**details})


def take_up(systems: Systems, _connection: Connection, held: LockedUser, claim: Claim) -> Creation:
    """Go on with a creation that nobody finished, without a password: nobody could be told of one."""
    wanted = Wanted(claim.email, held.user.name, held.user.plan, invite=claim.pending is Pending.INVITE)
    return Creation(systems=systems, claim=claim, user=held.user, wanted=wanted)
