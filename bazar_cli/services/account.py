"""The operator's own account: signing in and out, the stored session, and the password."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bazar_cli.domain.auth import PASSWORD, REFRESH, TOKEN, ChangePassword
from bazar_cli.services import auth

if TYPE_CHECKING:
    from bazar_cli.domain.auth import AccessToken, LoggedOut, Login, Logout, WhoAmI
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate
    from bazar_cli.services.gate.identities import Identities


class Account(Protocol):
    """The account of the operator on one target; `services/auth.py` says what each part does and raises."""

    @property
    def url(self) -> str:
        """The URL of the server that receives a password."""
        ...

    @property
    def server(self) -> str:
        """The name of that server, for messages."""
        ...

    def login(self, request: Login) -> WhoAmI:
        """Sign in, and store the session."""
        ...

    def logout(self, request: Logout) -> LoggedOut:
        """Forget the stored session and end it."""
        ...

    def status(self) -> WhoAmI:
        """Return the signed-in user and the session."""
        ...

    def refresh(self) -> WhoAmI:
        """Renew the stored session now."""
        ...

    def token(self) -> AccessToken:
        """Return the access token."""
        ...

    def change_password(self, read: Callable[[], Secret], *, dry_run: bool) -> str:
        """Change the password; return the address of the user. `read` asks for it after the operator is known."""
        ...

    def forget_ended(self) -> None:
        """Forget the stored session of this command, which the command has ended."""
        ...


@dataclass(frozen=True)
class DirectAccount:
    """The account at the Supabase Auth of a direct target."""

    backends: Backends
    identities: Identities
    gate: Gate
    environ: Mapping[str, str]

    server = "Supabase Auth"

    @property
    def url(self) -> str:
        """The URL of the project."""
        return self.backends.target.supabase_url

    def login(self, request: Login) -> WhoAmI:
        """As `auth.login`."""
        return auth.login(self.backends, self.environ, request)

    def logout(self, request: Logout) -> LoggedOut:
        """As `auth.logout`."""
        return auth.logout(self.backends, self.environ, self.identities, request)

    def status(self) -> WhoAmI:
        """As `auth.status`."""
        return auth.status(self.backends, self.identities)

    def refresh(self) -> WhoAmI:
        """As `auth.refresh`."""
        return auth.refresh(self.backends, self.gate.authorize(REFRESH, None), self.identities)

    def token(self) -> AccessToken:
        """As `auth.token`."""
        return auth.token(self.gate.authorize(TOKEN, None), self.identities)

    def change_password(self, read: Callable[[], Secret], *, dry_run: bool) -> str:
        """As `auth.change_password`."""
        grant = self.gate.authorize(PASSWORD, None, dry_run)
        auth.change_password(self.backends, grant, ChangePassword(read()))
        return grant.operator.email

    def forget_ended(self) -> None:
        """As `auth.forget_ended`."""
        auth.forget_ended(self.backends, self.environ, self.identities)
