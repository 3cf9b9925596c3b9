"""The invitation of a user who is being created: mailed by Supabase, once.

Supabase mails it to an unconfirmed identity and writes `invited_at`; the identity keeps its id and stamp (Supabase
Auth v2.196).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.domain.users.identities import Failure, IdentityRefused, OutcomeUnknown, StoredIdentity
from bazar_cli.services.users.two_systems import Operation

if TYPE_CHECKING:
    from bazar_cli.services.users.create import Creation


@dataclass(kw_only=True)
class Invitation(Operation):
    """The mail is sent, unless Supabase sent it before or the address is confirmed. The creation settles the row."""

    claims_address = True

    creation: Creation
    sent: bool = False
    """The mail is of this command."""
    strayed: bool = False
    """The identity was gone, and Supabase made another one for the address and invited that."""

    @property
    def looks_first(self) -> bool:
        """Look, unless nobody can have invited the identity yet."""
        return not self.creation.password_set

    def as_wanted(self) -> bool:
        """Say whether no mail is needed."""
        return self.identity is not None and (self.identity.invited_at is not None or self.identity.is_confirmed)

    def impossible(self, owner: StoredIdentity | None, /) -> Conflict | None:
        """Return an error where the identity is gone and another one has the address."""
        if self.identity is not None or (owner is None and not self.strayed):
            return None
        return self.creation.address_taken(owner or self.systems.admin.find_by_email(self.claim.email))

    def call(self) -> StoredIdentity | None:
        """Let Supabase mail the invitation."""
        self.sent = True
        try:
            invited = self.systems.admin.invite(self.claim.email)
        except IdentityRefused:
            self.sent = False
            raise
        self.strayed = invited != self.claim.id
        return None if self.strayed else self.identity

    def refused(self, refusal: IdentityRefused) -> BazarError:
        """Return the error for a mail that Supabase does not send."""
        if refusal.code == "email_exists" and self.identity is None:
            return self.creation.address_taken(None)
        hint = "mend the cause, often the project's mail settings, and run the same command again, or delete the user"
        return self.call_refused("users.invite_refused", "invite", refusal, hint)

    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        """Return the error for a mail that may be sent or not."""
        email = self.claim.email
        if isinstance(unknown, OutcomeUnknown) and unknown.limit is not None:
            from bazar_cli.adapters.supabase.answers import mails_limited

            details = {"user_id": str(self.claim.id), "email": email}
            return mails_limited(f"the invitation of {email}", unknown.limit, details)
        return self.creation.create_unfinished(f"invited {email}", unknown)

    def undo(self, why: BazarError, /) -> None:
        """Take the creation back, where the identity is gone."""
        self.creation.identity = self.identity
        self.creation.undo(why)
