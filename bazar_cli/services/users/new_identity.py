"""The identity of a user who is created, and the invitation, as `two_systems` makes them.

Supabase mails an invitation to an unconfirmed identity and writes `invited_at`; the identity keeps its id and stamp
(Supabase Auth v2.196).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, User
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.domain.users.identities import (
    CREATED,
    Failure,
    IdentityRefused,
    NewIdentity,
    OutcomeUnknown,
    StoredIdentity,
)
from bazar_cli.services.users.errors import refused_by_supabase, same_address, taken_over
from bazar_cli.services.users.new_user import NewUser, Wanted
from bazar_cli.services.users.operation import Claim, Operation, Systems
from bazar_cli.services.users.passwords import hash_of_no_password

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser

_NO_PASSWORD = "no password was set here; let the user set one: `bazar users reset-password EMAIL`"  # noqa: S105


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
        return not_theirs(self.claim.id, email, self.claim.deployment, identity)

    def as_wanted(self) -> bool:
        """Say whether the identity is there, with the password if it may still get one.

        The hash of the first run is kept, because Supabase ignores one in an update.
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
        outcome = "has"
        if self.asked:
            outcome = "created" if self.identity is None else "set the password of"
        message = f"Supabase Auth did not say whether it {outcome} {self.claim.email}"
        return self.outcome_unknown("users.create_unfinished", message, unknown)

    def undo(self, why: BazarError, /) -> None:
        """Remove the row. Others than this operator may read the event, so it names no other user."""
        super().undo(self.address_taken(None) if "user_email" in why.details else why)

    def lost(self, row: User | None, /) -> None:
        """Show no password that another command may have replaced."""
        super().lost(row)
        if self.wanted.plain is not None or self.wanted.bcrypt_hash is not None:
            raise taken_over(self.claim.email, "finished the user, perhaps with another password")

    def withdraw(self) -> None:
        """Delete the identity that this command made."""
        if self.password_set:
            self.systems.admin.delete(self.claim.id)

    def note(self) -> str:
        """Return a note that an identity which the doctor made has no password."""
        made = self.created or self.identity is None
        return _NO_PASSWORD if made and not self.wanted.invite else ""

    def steps(self) -> Iterator[Operation]:
        """Yield the creation, then the invitation."""
        yield self
        if self.wanted.invite:
            invitation = _Invitation(
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
        taken = taken_at_supabase(email)
        message, hint, details = taken.message, taken.hint, {"email": email}
        if owner is not None:
            with self.systems.backends.database().read(grant) as connection:
                is_user = users.is_there(connection, owner.id)
                user = users.find(connection, grant.reach, str(owner.id)) if is_user else None
            if not is_user:
                message = f"{email} has an identity at Supabase that is not a user of this Bazar"
                adopt = command_line("users adopt", email)
                hint = f"use another address, or let a superuser take the identity in: `{adopt}`"
            elif user is not None:
                message = f"{email} is the address at Supabase of {user.email}, who is a user of this Bazar"
                hint = same_address(user.email)
                if not grant.operator.is_superuser:
                    hint = f"use another address, or let a superuser {hint}"
                details |= {"user_id": str(user.id), "user_email": user.email}
        return Conflict("users.email_at_supabase", message, hint=hint, details={**details})


@dataclass(kw_only=True)
class _Invitation(Operation):
    """The mail is sent, unless Supabase sent it before or the address is confirmed. The creation settles the row."""

    claims_address = True

    creation: Creation
    sent: bool = False
    """The mail is of this command."""
    strayed: bool = False
    """The identity was gone, and Supabase made another one for the address and invited that."""

    @property
    def looks_first(self) -> bool:
        return not self.creation.password_set

    def as_wanted(self) -> bool:
        return self.identity is not None and (self.identity.invited_at is not None or self.identity.is_confirmed)

    def impossible(self, owner: StoredIdentity | None, /) -> Conflict | None:
        if self.identity is not None or (owner is None and not self.strayed):
            return None
        return self.creation.address_taken(owner or self.systems.admin.find_by_email(self.claim.email))

    def call(self) -> StoredIdentity | None:
        self.sent = True
        try:
            invited = self.systems.admin.invite(self.claim.email)
        except IdentityRefused:
            self.sent = False
            raise
        self.strayed = invited != self.claim.id
        return None if self.strayed else self.identity

    def refused(self, refusal: IdentityRefused) -> BazarError:
        if refusal.code == "email_exists" and self.identity is None:
            return self.creation.address_taken(None)
        hint = "correct the cause, often the mail settings of the project, then run it again; or delete the user"
        return self.call_refused("users.invite_refused", "invite", refusal, hint)

    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        email = self.claim.email
        if isinstance(unknown, OutcomeUnknown) and unknown.limit is not None and self.silent is None:
            from bazar_cli.adapters.supabase.answers import mails_limited

            details = {"user_id": str(self.claim.id), "email": email}
            return mails_limited(f"the invitation of {email}", unknown.limit, details)
        message = f"Supabase Auth did not say whether it invited {email}"
        return self.outcome_unknown("users.create_unfinished", message, unknown)

    def undo(self, why: BazarError, /) -> None:
        self.creation.identity = self.identity
        self.creation.undo(why)


def not_theirs(user_id: uuid.UUID, email: str, deployment: uuid.UUID, identity: StoredIdentity) -> Conflict | None:
    """Return the error for an identity that has the id of a new user and cannot be theirs."""
    if identity.deployment != deployment or identity.is_deleted:
        return Conflict(
            "users.id_taken",
            f"another identity at Supabase has the id that was chosen for {email}",
            hint="run the command again: it chooses a new id",
            details={"user_id": str(user_id)},
        )
    if identity.email != email:
        return Conflict(
            "users.email_differs",
            f"the identity of {email} has the address {identity.email} at Supabase",
            hint=f"change it back there, or delete both: `{command_line('users delete', email, confirm=email)}`",
            details={"user_id": str(user_id), "email": email, "supabase_email": identity.email},
        )
    return None


def taken_at_supabase(email: str) -> Conflict:
    """Return the error for an address that an identity at Supabase has, of whom nothing is said."""
    return Conflict(
        "users.email_at_supabase",
        f"{email} is taken at Supabase",
        hint="use another address, or let a superuser compare both systems with `bazar doctor`",
        details={"email": email},
    )


def take_up(systems: Systems, _connection: Connection, held: LockedUser, claim: Claim) -> Creation:
    """Continue an unfinished creation, without a password: the user could not learn it."""
    wanted = Wanted(claim.email, held.user.name, held.user.plan, invite=claim.pending is Pending.INVITE)
    return Creation(systems=systems, claim=claim, user=held.user, wanted=wanted)
