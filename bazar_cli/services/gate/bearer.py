"""The identity of one request to a server: its bearer token, and nothing else.

SUPERUSER_*, profiles and stored sessions belong to the people who run the server. None of them identifies a client.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Sealed
from bazar_cli.domain.errors import NotSignedIn
from bazar_cli.domain.target import Identity, IdentitySource

if TYPE_CHECKING:
    from uuid import UUID

    from bazar_cli.adapters.supabase.bearer_tokens import BearerTokens
    from bazar_cli.adapters.supabase.sign_in_limits import SignInLimits
    from bazar_cli.adapters.supabase.tokens import Claims
    from bazar_cli.domain.secrets import Secret


class Bearer:
    """Proves the identity of one request by its access token.

    Parameters: `tokens` verifies the tokens of the process, and `sign_ins` counts its refused sign-ins; `address` is
    that of the client, for limits.
    """

    may_bootstrap = False

    def __init__(self, token: Secret | None, tokens: BearerTokens, sign_ins: SignInLimits, address: str) -> None:
        self._token = token
        self._sign_ins = sign_ins
        self._tokens = tokens
        self._address = address
        self._known: tuple[Claims, Identity] | None = None

    @property
    def known(self) -> Identity | None:
        """The identity, if the request has asked for it."""
        return self._known[1] if self._known else None

    def begin_command(self, hide: Callable[[str], None]) -> None:  # noqa: ARG002 - of the protocol
        """Prove the token once more."""
        self._known = None

    def current(self) -> Identity:
        """Return the verified identity of the request.

        Raises: NotSignedIn `auth.not_signed_in` without a token, `auth.token_invalid`, `auth.token_expired`,
        `auth.session_revoked`; BackendUnavailable `auth.too_many_refusals`, `supabase.unavailable`.
        """
        return self._proven()[1]

    def confirm(self, identity: Identity) -> Identity:
        """Ask Supabase Auth whether the session is still valid, once a request; return the present email with it.

        Raises: NotSignedIn `auth.session_revoked`, `auth.token_invalid`; BackendUnavailable.
        """
        claims, _ = self._proven()
        if claims.asked_auth:
            return identity
        email = self._tokens.confirm(identity.access_token, claims)
        self._known = replace(claims, asked_auth=True), replace(identity, email=email)
        return self._known[1]

    def counting_sign_in(self, account: str) -> AbstractContextManager[None]:
        """Allow the block to sign in, and count a refusal. Raises: BackendUnavailable `auth.too_many_sign_ins`."""
        return self._sign_ins.counting(self._address, account)

    def superuser(self, *, create: bool, user_id: UUID | None = None) -> Identity | None:  # noqa: ARG002 - as above
        """Refuse: no request makes the first superuser. Raises: Sealed."""
        raise Sealed("a server was asked for the first superuser")

    def _proven(self) -> tuple[Claims, Identity]:
        if self._known is None:
            if self._token is None:
                raise NotSignedIn(
                    "auth.not_signed_in",
                    "the request has no access token",
                    hint="send the header `Authorization: Bearer TOKEN`",
                )
            claims = self._tokens.prove(self._token, self._address)
            identity = Identity(
                claims.user_id,
                claims.email,
                claims.session_id,
                self._token,
                claims.expires_at,
                IdentitySource.BEARER,
                token_lifetime=claims.lifetime,
            )
            self._known = claims, identity
        return self._known
