"""Verification of the access tokens that a server gets with requests, from anybody.

A command verifies one token of its own user, and may ask Auth about it. A server gets tokens by the thousand, so asking
is limited: the key set is asked for once in 30 s (`KeptKeySet`), and Auth about a token that only it can verify after
the limit of the client's address (`RefusedAddresses`). Proofs and refusals are remembered by the token's hash.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.adapters.supabase.jwks import KeptKeySet, again
from bazar_cli.adapters.supabase.tokens import (
    ASYMMETRIC,
    SKEW_SECONDS,
    Claims,
    check_signature,
    claims_of,
    expired,
    invalid,
    is_time,
    read,
)
from bazar_cli.domain.errors import BackendUnavailable, NotSignedIn
from bazar_cli.domain.limits import RateLimit

if TYPE_CHECKING:
    import httpx

    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

K = TypeVar("K")
T = TypeVar("T")

PROVEN_SECONDS = 60.0
"""How long a proof counts for reads: a signature by a key that Auth gave up, or Auth's own answer."""
REFUSED_SECONDS = 30.0
"""How long a refusal is remembered, and an address waits after Auth refused a token that it sent."""
LONGEST_TOKEN = 16 * 1024
"""More than the headers of common proxies hold."""
_MOST_REMEMBERED = 10_000
_TURN_SECONDS = 2.0


class BearerTokens:
    """Verifies the tokens of all requests of a server process. Safe to use by several threads.

    Parameters: `issuer` is the `iss` of this target's tokens; `http` are the connections of the process.
    """

    def __init__(self, target: Target, issuer: str, http: httpx.Client, clock: Callable[[], float] = time.time) -> None:
        self._target = target
        self._issuer = issuer
        self._clock = clock
        self._auth = AuthClient(target, http)
        self._keys = KeptKeySet(target, http)
        self._proven: _Remembered[bytes, Claims] = _Remembered(PROVEN_SECONDS)
        self._refused: _Remembered[bytes, NotSignedIn] = _Remembered(REFUSED_SECONDS)
        self._addresses = RefusedAddresses()

    def prove(self, token: Secret, address: str) -> Claims:
        """Return the claims of a token that is valid now; `asked_auth` where Auth said so just now.

        Parameters: `address` is that of the client, "" where it is not known.
        Raises: NotSignedIn `auth.token_invalid`, `auth.token_expired`, `auth.session_revoked`; BackendUnavailable
        `auth.too_many_refusals`, `supabase.unavailable`.
        """
        if len(token.reveal()) > LONGEST_TOKEN:
            raise invalid(f"it is longer than {LONGEST_TOKEN} characters")
        digest = hashlib.sha256(token.reveal().encode(errors="surrogatepass")).digest()
        refusal = self._refused.get(digest)
        if refusal is not None:
            raise again(refusal)
        claims = self._proven.get(digest)
        if claims is not None:
            if claims.expires_at.timestamp() <= self._clock():
                raise expired()
            return replace(claims, asked_auth=False)
        try:
            claims = self._prove(token, address)
        except _UnknownKey:
            # Auth may publish the key any moment.
            raise
        except NotSignedIn as refused:
            self._refused.put(digest, again(refused))
            raise
        self._proven.put(digest, claims)
        return claims

    def confirm(self, token: Secret, claims: Claims) -> str:
        """Ask Auth whether the session of a proven token is still valid; return the user's present email.

        Raises: NotSignedIn `auth.session_revoked`, `auth.token_invalid`; BackendUnavailable.
        """
        user_id, email = self._auth.get_user(token)
        if user_id != claims.user_id:
            raise NotSignedIn("auth.session_revoked", "Supabase Auth says that the session is another user's")
        return email

    def _prove(self, token: Secret, address: str) -> Claims:
        text, algorithm, kid, unproven = read(token)
        self._check(unproven)
        if algorithm in ASYMMETRIC:
            key = self._keys.find(kid) if kid is not None else None
            if key is None:
                unknown = invalid("Supabase Auth publishes no key with its kid")
                raise _UnknownKey(unknown.code, unknown.message, hint=unknown.hint)
            if key.get("alg", algorithm) != algorithm:
                raise invalid("its key is of another algorithm")
            check_signature(text, algorithm, key)
            return claims_of(unproven, asked_auth=False)
        # Only Auth can verify a token that is signed with its secret.
        claims = claims_of(unproven, asked_auth=True)
        with self._addresses.turn(address):
            return replace(claims, email=self.confirm(token, claims))

    def _check(self, unproven: dict[str, Any]) -> None:
        """Refuse what no proof would make an access token of a user of this target."""
        expires, issued = unproven.get("exp"), unproven.get("iat", 0)
        if not is_time(expires) or not is_time(issued):
            raise invalid("it does not say when it expires")
        if issued > self._clock() + SKEW_SECONDS:
            raise invalid("it was issued in the future; check the clock of the server")
        if expires <= self._clock():
            raise expired()
        if unproven.get("iss") != self._issuer:
            raise invalid(f"it was not issued by {self._issuer}")
        if unproven.get("role") != "authenticated":
            raise invalid("it is no user's: its role is not authenticated")
        if unproven.get("is_anonymous"):
            raise invalid("it is of an anonymous user")


class _UnknownKey(NotSignedIn):
    """The token is signed with a key that is not in the key set."""


class RefusedAddresses:
    """Lets one request of each client address ask Auth about a token at a time, and after a refusal none for 30 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turns: _Remembered[str, _Turn] = _Remembered(float("inf"))

    @contextmanager
    def turn(self, address: str) -> Generator[None]:
        """Allow the block, which raises NotSignedIn for a refusal.

        Raises: BackendUnavailable `auth.too_many_refusals`.
        """
        turn = self._turns.get_or_put(client_of(address), _Turn)
        if not turn.lock.acquire(timeout=_TURN_SECONDS):
            raise _limited(address, 1)
        try:
            left = turn.ends - self._clock()
            if left > 0:
                raise _limited(address, int(left) + 1)
            try:
                yield
            except NotSignedIn:
                turn.ends = self._clock() + REFUSED_SECONDS
                raise
        finally:
            turn.lock.release()


@dataclass
class _Turn:
    lock: threading.Lock = field(default_factory=threading.Lock)
    ends: float = -float("inf")
    """When the next request may ask, on the monotonic clock."""


class _Remembered(Generic[K, T]):
    """The last values that were put, each for some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._values: OrderedDict[K, tuple[T, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: K) -> T | None:
        """Return the value, None where it is not known or too old."""
        with self._lock:
            found = self._values.get(name)
        return None if found is None or found[1] <= time.monotonic() else found[0]

    def put(self, name: K, value: T) -> None:
        """Remember a value, and forget the oldest of too many."""
        with self._lock:
            self._put(name, value)

    def get_or_put(self, name: K, make: Callable[[], T]) -> T:
        """Return the value, which is made first where it is not known."""
        with self._lock:
            found = self._values.get(name)
            if found is not None:
                self._values.move_to_end(name)
                return found[0]
            return self._put(name, make())

    def _put(self, name: K, value: T) -> T:
        self._values[name] = value, time.monotonic() + self._seconds
        self._values.move_to_end(name)
        if len(self._values) > _MOST_REMEMBERED:
            self._values.popitem(last=False)
        return value


def client_of(address: str) -> str:
    """Return what stands for one client: an IPv4 address, or the 64 bits that an IPv6 client has for itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(IPv6Address(int(parsed) >> 64 << 64)) if isinstance(parsed, IPv6Address) else address


def _limited(address: str, seconds: int) -> BackendUnavailable:
    limit = RateLimit(seconds)
    return BackendUnavailable(
        "auth.too_many_refusals",
        f"an access token of {address or 'this client'} was refused, and no other is verified yet",
        hint=limit.advice,
        limit=limit,
    )
