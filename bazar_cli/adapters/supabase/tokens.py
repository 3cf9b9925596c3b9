"""Verification of access tokens: by the service's public keys, else by asking the service.

Nothing in a token is believed before its signature, or the service itself, proved it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.supabase.jwks import KeySet
from bazar_cli.domain.errors import NotSignedIn
from bazar_cli.domain.secrets import Secret

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

_ASYMMETRIC = frozenset({"ES256", "ES512", "RS256", "RS512", "EdDSA"})
"""The algorithms that Supabase signs with and publishes keys for (facts, section b)."""
_SKEW_SECONDS = 300
"""How far in the future a token may say that it was issued: the clocks of two machines differ."""


@dataclass(frozen=True)
class Claims:
    """What a verified access token says."""

    user_id: uuid.UUID
    email: str
    session_id: str | None
    expires_at: datetime
    asked_auth: bool
    """Supabase Auth itself confirmed the session while verifying."""


class TokenVerifier:
    """Verifies access tokens of one target."""

    def __init__(self, target: Target, data_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self._target = target
        self._keys = KeySet(target, data_dir, clock)
        self._clock = clock

    def verify(self, token: Secret, *, of_this_issuer: bool = False) -> Claims:
        """Return the claims of a token that is valid now.

        Parameters: `of_this_issuer` also refuses, before the token goes anywhere, one that does not name this
        target as its issuer; Supabase names itself by its public URL.

        Raises: NotSignedIn `auth.token_invalid`, `auth.token_expired`, `auth.session_revoked`;
        BackendUnavailable `supabase.unavailable`.
        """
        import jwt

        text = token.reveal()
        if not text.isascii():
            raise _invalid("it is no JSON Web Token")
        try:
            header = jwt.get_unverified_header(text)
            unproven: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise _invalid("it is no JSON Web Token") from error
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm.lower() == "none":
            raise _invalid("it is not signed")
        if of_this_issuer and unproven.get("iss") != f"{self._target.supabase_url}/auth/v1":
            raise _invalid(f"it was not issued by {self._target.supabase_url}")
        self._refuse_expired(unproven)
        if algorithm in _ASYMMETRIC and isinstance(kid, str):
            self._check_signature(text, algorithm, kid)
            return _claims(unproven, asked_auth=False)
        # A symmetric key is the service's own secret: only the service can tell.
        return self._asked(token, unproven)

    def _check_signature(self, text: str, algorithm: str, kid: str) -> None:
        import jwt

        key = self._keys.find(kid)
        if key is None:
            raise _invalid("Supabase Auth does not have the key that it names")
        # Expiry and issue time were looked at with this machine's clock in mind; `aud` names a role, not bazar.
        options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
        try:
            jwt.decode(text, jwt.PyJWK(dict(key), algorithm=algorithm).key, algorithms=[algorithm], options=options)
        except jwt.PyJWTError as error:
            raise _invalid("its signature is wrong") from error

    def _refuse_expired(self, unproven: dict[str, Any]) -> None:
        expires, issued = unproven.get("exp"), unproven.get("iat", 0)
        if not isinstance(expires, int | float) or not isinstance(issued, int | float):
            raise _invalid("it does not say until when it holds")
        now = self._clock()
        if expires <= now:
            raise NotSignedIn("auth.token_expired", "the access token has expired", hint="sign in: `bazar auth login`")
        if issued > now + _SKEW_SECONDS:
            raise _invalid("it says that it was issued in the future; check this machine's clock")

    def _asked(self, token: Secret, unproven: dict[str, Any]) -> Claims:
        from bazar_cli.adapters.supabase.auth_client import AuthClient

        claims = _claims(unproven, asked_auth=True)
        with AuthClient(self._target) as client:
            user_id, email = client.get_user(token)
        if user_id != claims.user_id:
            raise _invalid("Supabase Auth says that it is somebody else's")
        return Claims(user_id, email, claims.session_id, claims.expires_at, asked_auth=True)


def _claims(proven: dict[str, Any], *, asked_auth: bool) -> Claims:
    try:
        user_id = uuid.UUID(str(proven["sub"]))
        expires_at = datetime.fromtimestamp(float(proven["exp"]), tz=timezone.utc)
    except (KeyError, ValueError, OverflowError) as error:
        # A service key is a valid token too, of nobody.
        raise _invalid("it does not name a user; a service key is no access token") from error
    session_id = proven.get("session_id")
    return Claims(
        user_id=user_id,
        email=str(proven.get("email") or "").lower(),
        session_id=session_id if isinstance(session_id, str) and session_id else None,
        expires_at=expires_at,
        asked_auth=asked_auth,
    )


def _invalid(reason: str) -> NotSignedIn:
    return NotSignedIn(
        "auth.token_invalid", f"the access token is not valid: {reason}", hint="sign in again: `bazar auth login`"
    )
