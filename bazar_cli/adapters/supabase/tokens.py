"""Verification of access tokens by the public keys of Supabase Auth, else by a request to it.

No claim is used before the signature, or Supabase Auth itself, has confirmed the token.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.supabase.jwks import Key, KeySet
from bazar_cli.domain.errors import NotSignedIn
from bazar_cli.domain.secrets import Secret

if TYPE_CHECKING:
    from typing import TypeGuard

    from bazar_cli.domain.target import Target

ASYMMETRIC = frozenset({"ES256", "ES512", "RS256", "RS512", "EdDSA"})
"""The algorithms that Supabase signs with and publishes keys for (Supabase Auth v2.196)."""
SKEW_SECONDS = 300
"""How far the clocks of this machine and of Auth may differ, either way, before a token's times are refused."""

_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Further errors of PyJWT, for a key with other types and for deeply nested JSON."""
_NO_TIME = 253_402_300_800
"""The first second of the year 10000."""


@dataclass(frozen=True)
class Claims:
    """The claims of a verified access token."""

    user_id: uuid.UUID
    email: str
    session_id: str | None
    expires_at: datetime
    asked_auth: bool
    """Supabase Auth itself confirmed the token and its session."""
    lifetime: timedelta | None = None
    """How long the project's access tokens live, from issue to end; None if the token does not say."""


class TokenVerifier:
    """Verifies access tokens of one target."""

    def __init__(self, target: Target, data_dir: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._target = target
        self._keys = KeySet(target, data_dir, clock)
        self._clock = clock

    def verify(self, token: Secret, *, of_this_issuer: bool = False, ends: datetime | None = None) -> Claims:
        """Return the claims of a token that is valid now.

        Parameters: `of_this_issuer` first refuses a token whose issuer is not this target; Supabase's issuer is its
        public URL. `ends` is the end of the token by this machine's clock, if it was noted when the token was issued;
        its own `exp` is by the clock of Auth.

        Raises: NotSignedIn `auth.token_invalid`, `auth.token_expired`, `auth.session_revoked`;
        BackendUnavailable `supabase.unavailable`.
        """
        text, algorithm, kid, unproven = read(token)
        if of_this_issuer and unproven.get("iss") != f"{self._target.supabase_url}/auth/v1":
            raise invalid(f"it was not issued by {self._target.supabase_url}")
        if self._is_over(unproven, ends):
            return self._asked_late(token, unproven)
        key = self._keys.find(kid) if algorithm in ASYMMETRIC and kid is not None else None
        if key is None:
            # Only Auth can verify a token that is signed with its secret, or with a key that it does not publish.
            return self._asked(token, unproven)
        check_signature(text, algorithm, key)
        return claims_of(unproven, asked_auth=False)

    def _is_over(self, unproven: dict[str, Any], ends: datetime | None) -> bool:
        """Whether the token has expired by this clock, but perhaps not by that of Auth.

        Raises: NotSignedIn `auth.token_expired` if it has expired by both, `auth.token_invalid` if it was issued later.
        """
        expires, issued = unproven.get("exp"), unproven.get("iat", 0)
        if not is_time(expires) or not is_time(issued):
            raise invalid("it does not say when it expires")
        now = self._clock()
        if issued > now + SKEW_SECONDS:
            raise invalid("it was issued in the future; check this machine's clock")
        measured = ends.timestamp() if ends is not None else expires
        if expires <= now - SKEW_SECONDS:
            raise expired(ahead=measured > now)
        # A clock that was set meanwhile, or is far off, cannot be used to measure.
        return (measured if abs(measured - expires) <= SKEW_SECONDS else expires) <= now

    def _asked_late(self, token: Secret, unproven: dict[str, Any]) -> Claims:
        try:
            return self._asked(token, unproven)
        except NotSignedIn as refusal:
            if refusal.code != "auth.token_invalid":
                raise
            raise expired() from refusal

    def _asked(self, token: Secret, unproven: dict[str, Any]) -> Claims:
        from bazar_cli.adapters.supabase.auth_client import AuthClient

        claims = claims_of(unproven, asked_auth=True)
        with AuthClient(self._target) as client:
            user_id, email = client.get_user(token)
        if user_id != claims.user_id:
            raise invalid("Supabase Auth says that it belongs to another user")
        return replace(claims, email=email)


def read(token: Secret) -> tuple[str, str, str | None, dict[str, Any]]:
    """Return a token's text, algorithm, key id and claims, of which none is proven.

    Raises: NotSignedIn `auth.token_invalid`.
    """
    import jwt

    text = token.reveal()
    if not text.isascii() or not text.isprintable() or " " in text:  # a header cannot hold it
        raise invalid("it is not a JSON Web Token")
    try:
        header = jwt.get_unverified_header(text)
        unproven: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    except (jwt.PyJWTError, *_UNREADABLE) as error:
        raise invalid("it is not a JSON Web Token") from error
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm.lower() == "none":
        raise invalid("it is not signed")
    return text, algorithm, kid if isinstance(kid, str) else None, unproven


def is_time(value: object) -> TypeGuard[float]:
    """Whether a claim is a time: not NaN, and not after the year 9999."""
    return isinstance(value, int | float) and 0 <= value < _NO_TIME


def check_signature(text: str, algorithm: str, key: Key) -> None:
    """Check a signature by a public key. Raises: NotSignedIn `auth.token_invalid`."""
    import jwt

    # `_is_over` checked the times, with the difference of the clocks; `aud` names a role.
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
    try:
        jwt.decode(text, jwt.PyJWK(dict(key), algorithm=algorithm).key, algorithms=[algorithm], options=options)
    except (jwt.PyJWTError, *_UNREADABLE) as error:
        raise invalid("its signature is wrong") from error


def claims_of(proven: dict[str, Any], *, asked_auth: bool) -> Claims:
    """Return the claims of a token with proven claims. Raises: NotSignedIn `auth.token_invalid` without a user."""
    try:
        user_id = uuid.UUID(str(proven["sub"]))
        expires_at = datetime.fromtimestamp(float(proven["exp"]), tz=timezone.utc)
    except (KeyError, ValueError, OverflowError) as error:
        # A service key is a valid token without a user.
        raise invalid("it does not name a user; a service key is not an access token") from error
    session_id = proven.get("session_id")
    return Claims(
        user_id=user_id,
        email=str(proven.get("email") or "").lower(),
        session_id=session_id if isinstance(session_id, str) and session_id else None,
        expires_at=expires_at,
        asked_auth=asked_auth,
        lifetime=_lifetime(proven),
    )


def _lifetime(proven: dict[str, Any]) -> timedelta | None:
    issued, expires = proven.get("iat"), proven["exp"]
    if not is_time(issued) or expires <= issued:
        return None
    return timedelta(seconds=expires - issued)


def expired(*, ahead: bool = False) -> NotSignedIn:
    """Return the error for an expired token. Parameters: `ahead` says that this machine's clock is far ahead."""
    if not ahead:
        return NotSignedIn("auth.token_expired", "the access token has expired", hint="sign in: `bazar auth login`")
    return NotSignedIn(
        "auth.token_expired",
        "the access token has expired by this machine's clock, which is far ahead of Supabase Auth's",
        hint="set the clock of this machine (NTP); `bazar doctor` compares both",
    )


def invalid(reason: str) -> NotSignedIn:
    """Return the error for a token that proves nothing."""
    return NotSignedIn(
        "auth.token_invalid", f"the access token is not valid: {reason}", hint="sign in again: `bazar auth login`"
    )
