"""Changes of users: what the commands that write ask for, their results, and what they require."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import FieldRule, Scope, requires
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Consent, Impact
from bazar_cli.domain.entities import Plan, Role, User
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.route import Route
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.versions import Version


@dataclass(frozen=True)
class NewPassword:
    """The password of a user to be created: a plain one, a bcrypt hash, or one to generate."""

    plain: Secret | None = None
    bcrypt_hash: Secret | None = None
    generate: bool = False


@dataclass(frozen=True)
class CreateUser:
    """The request of `users create`."""

    email: str
    name: str | None = None
    organization: str | None = None
    role: Role | None = None
    plan: Plan | None = None
    password: NewPassword | None = None
    """None: the user has no password yet."""
    if_not_exists: bool = False
    invite: bool = False
    """Supabase mails an invitation, by which the user confirms the address and sets a password."""


@dataclass(frozen=True)
class CreatedUser:
    """The user, whether this run created it, the password that was generated, and whether an invitation was mailed."""

    user: User
    created: bool
    password: Secret | None = None
    invited: bool = False
    password_kept: bool = False
    """The identity was there already and keeps its password; the given one is not set."""
    id_is_provisional: bool = False
    """In a dry run of a new user: the real run chooses another id."""
    planned: bool = False
    """In a dry run: `created` is what the real run would do."""


@dataclass(frozen=True)
class UpdateUser:
    """The request of `users update`. None does not change a field, an empty name removes it."""

    user: str
    name: str | None = None
    if_unchanged_since: datetime | None = None
    email: str | None = None
    version: frozenset[Version] | None = None
    """The versions of the user that may be changed; None for any."""


@dataclass(frozen=True)
class ChangedUser:
    """The user after a change of one system or both, and whether that changed anything."""

    user: User
    changed: bool


@dataclass(frozen=True)
class SuspendUser:
    """The request of `users suspend`, and the impact that was agreed to."""

    user: str
    reason: str
    agreed: Impact | None = None


@dataclass(frozen=True)
class SuspendedUser:
    """A user who is suspended, and what that ended at Supabase."""

    user: User
    changed: bool
    """False: the user was suspended already, and nothing was written."""
    has_identity: bool = True
    sessions_ended: int | None = None
    """None where sessions could not be ended: `auth.sessions` is not proven to be the project's, or the database user
    may not delete there."""
    tokens_issued: bool = True
    """False: Supabase has never issued an access token to this user."""
    tokens_valid_until: datetime | None = None
    """The latest end of an access token issued before the ban; None without one, or with an unknown end."""
    resumed: bool = False
    """Another run began it: its reason is on record, and not the reason of this run."""

    @property
    def keeps_sessions(self) -> bool:
        """Whether sessions from before are still at Supabase, where the ban alone stops them."""
        return self.changed and self.has_identity and self.tokens_issued and self.sessions_ended is None


@dataclass(frozen=True)
class RestoreUser:
    """The request of `users restore`."""

    user: str


@dataclass(frozen=True)
class RestoredUser:
    """A user who is active again."""

    user: User
    changed: bool
    has_identity: bool = True


@dataclass(frozen=True)
class DeleteUser:
    """The request of `users delete`; `confirm` must be the user's email, and may be left out of a dry run."""

    user: str
    confirm: Consent
    version: frozenset[Version] | None = None
    """The versions of the user that may be deleted; None for any."""


@dataclass(frozen=True)
class AdoptUser:
    """The request of `users adopt`."""

    email: str
    name: str | None = None
    organization: str | None = None


@dataclass(frozen=True)
class AdoptedUser:
    """The user, whether this run adopted the identity, and whether the address is confirmed at Supabase."""

    user: User
    adopted: bool
    confirmed: bool
    ban_ended: datetime | None = None
    """The old end of a ban that has no end now; None without a ban, and for one that had no end before."""


@dataclass(frozen=True)
class ResetPassword:
    """The request of `users reset-password`: a mail by Supabase, or with `print_link` the link itself and no mail."""

    user: str
    print_link: bool = False


@dataclass(frozen=True)
class PasswordReset:
    """The user, and the link to set a new password; None if it was mailed."""

    user: User
    mailed: bool
    link: Secret | None = None


@dataclass(frozen=True)
class ChangeSuperuser:
    """The request of `users promote` or `users demote`; `confirm` as in DeleteUser."""

    user: str
    confirm: Consent


def password_lost(user: User) -> BackendUnavailable:
    """Return the error for a generated password that could not be written to standard output."""
    delete = command_line("users delete", user.email, confirm=user.email)
    return BackendUnavailable(
        "output.unwritable",
        f"{user.email} was created, but the generated password is lost: it could not be written to standard output",
        hint=f"delete the user and create it again: `{delete}`; or let"
        " the user set a password by the sign-in page's password recovery",
        details={"user_id": str(user.id), "email": user.email},
    )


CREATE = requires(
    "users.create",
    Permission.USERS_CREATE,
    scope=Scope.ROW,
    writes=True,
    fields={
        "plan": FieldRule(Permission.PLANS_ASSIGN, platform=True, free=(None, Plan.FREE)),
        "role": FieldRule(Permission.MEMBERS_MANAGE, free=(None, Role.MEMBER)),
    },
    route=Route("POST", "/users/", CreateUser, CreatedUser, creates=True),
)
UPDATE = requires(
    "users.update",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    fields={"email": FieldRule(platform=True)},
    route=Route("PATCH", "/users/{user}", UpdateUser, ChangedUser, replaced=("name",)),
)
SUSPEND = requires(
    "users.suspend",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    route=Route("POST", "/users/{user}/suspend", SuspendUser, SuspendedUser),
)
RESTORE = requires(
    "users.restore",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    route=Route("POST", "/users/{user}/restore", RestoreUser, RestoredUser),
)
DELETE = requires(
    "users.delete",
    Permission.USERS_DELETE,
    scope=Scope.ROW,
    writes=True,
    route=Route("DELETE", "/users/{user}", DeleteUser, User),
)
PROMOTE = requires(
    "users.promote",
    Permission.USERS_UPDATE,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("POST", "/users/{user}/promote", ChangeSuperuser, ChangedUser),
)
RESET_PASSWORD = requires(
    "users.reset-password",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    fields={"print_link": FieldRule(platform=True, free=(False,))},
    route=Route("POST", "/users/{user}/reset-password", ResetPassword, PasswordReset),
)
ADOPT = requires(
    "users.adopt",
    Permission.USERS_CREATE,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("POST", "/users/adopt", AdoptUser, AdoptedUser, creates=True),
)
DEMOTE = requires(
    "users.demote",
    Permission.USERS_UPDATE,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("POST", "/users/{user}/demote", ChangeSuperuser, ChangedUser),
)
