"""A server's limits of refused sign-ins: for each account and for each client address, before Auth is asked.

Auth sees all sign-ins of a server at one address, so its limit by address would be shared by all clients.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from math import ceil
from time import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from bazar_cli.adapters.supabase.bearer_tokens import client_of
from bazar_cli.domain.errors import BackendUnavailable, NotSignedIn
from bazar_cli.domain.limits import RateLimit

_OF_ACCOUNT = RateLimitItemPerMinute(10, 5)
_OF_ADDRESS = RateLimitItemPerMinute(50, 5)


class SignInLimits:
    """Counts the refused sign-ins of one server process. Safe to use by several threads."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    @contextmanager
    def counting(self, address: str, account: str) -> Generator[None]:
        """Allow the block to sign in, and count a refusal. Raises: BackendUnavailable `auth.too_many_sign_ins`."""
        counted: tuple[tuple[RateLimitItem, str, str], ...] = (
            (_OF_ACCOUNT, "account", account),
            (_OF_ADDRESS, "address", client_of(address)),
        )
        for limit, kind, name in counted:
            if not self._limiter.test(limit, kind, name):
                reset = self._limiter.get_window_stats(limit, kind, name).reset_time
                raise _limited(kind, max(1, ceil(reset - time())))
        try:
            yield
        except NotSignedIn:
            for limit, kind, name in counted:
                self._limiter.hit(limit, kind, name)
            raise


def _limited(kind: str, seconds: int) -> BackendUnavailable:
    limit = RateLimit(seconds)
    return BackendUnavailable(
        "auth.too_many_sign_ins",
        f"too many sign-ins of this {kind} were refused",
        hint=limit.advice,
        details={"of": kind},
        limit=limit,
    )
